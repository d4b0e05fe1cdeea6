// Every pass keeps what a graph computes.
#include "passes/passes.h"

#include <gtest/gtest.h>

#include <chrono>

#include "graph/text.h"
#include "graph/verify.h"
#include "random_graph.h"

namespace ourjit {
namespace {

using testing::RandomGraph;
using testing::Tensor;

struct PassCase {
  const char* name;
  double tolerance;  // 0: bit for bit
};

void PrintTo(const PassCase& c, std::ostream* out) { *out << c.name; }

class PassKeepsMeaning : public ::testing::TestWithParam<PassCase> {};

TEST_P(PassKeepsMeaning, OnRandomGraphs) {
  const Pass* pass = find_pass(GetParam().name);
  ASSERT_NE(pass, nullptr);
  for (unsigned seed = 0; seed < 400; ++seed) {
    const RandomGraph r(seed, 5 + static_cast<int>(seed % 40));
    verify(r.graph);
    const Graph after = pass->run(r.graph, {});
    verify(after);
    ASSERT_EQ(print(parse_graph(print(after))), print(after));
    const std::vector<Tensor> want = testing::evaluate(r.graph, r.inputs);
    const std::vector<Tensor> got = testing::evaluate(after, r.inputs);
    ASSERT_EQ(want.size(), got.size());
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_TRUE(testing::agree(want[i], got[i], GetParam().tolerance))
          << "seed " << seed << ", output " << i << "\n"
          << print(r.graph) << "became\n"
          << print(after);
  }
}

INSTANTIATE_TEST_SUITE_P(Passes, PassKeepsMeaning,
                         ::testing::Values(PassCase{"const_fold", 0}, PassCase{"cse", 0},
                                           PassCase{"dce", 0}, PassCase{"simplify_views", 1e-6},
                                           PassCase{"simplify_casts", 0},
                                           PassCase{"simplify_algebra", 1e-6},
                                           PassCase{"split_reductions", 1e-5},
                                           PassCase{"choose_layout", 0}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Pipeline, KeepsMeaning) {
  for (unsigned seed = 1000; seed < 1300; ++seed) {
    const RandomGraph r(seed, 10 + static_cast<int>(seed % 50));
    const Graph after = run_passes(r.graph, {});
    const std::vector<Tensor> want = testing::evaluate(r.graph, r.inputs);
    const std::vector<Tensor> got = testing::evaluate(after, r.inputs);
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_TRUE(testing::agree(want[i], got[i], 1e-5))
          << "seed " << seed << ", output " << i << "\n"
          << print(r.graph) << "became\n"
          << print(after);
  }
}

/// Outputs that computed the same memory before do so after: an output is never an input, nor are
/// two outputs one value, unless they were.
TEST(Pipeline, KeepsOutputsApart) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    const RandomGraph r(seed, 30);
    const Graph after = run_passes(r.graph, {});
    const auto root = [](const Graph& g, ValueId v) {
      for (;;) {
        const Node* n = g.def(v);
        if (!n || op_category(n->op) != OpCategory::View) return v;
        v = n->operands[0];
      }
    };
    for (size_t i = 0; i < after.outputs.size(); ++i) {
      const ValueId old_root = root(r.graph, r.graph.outputs[i].value);
      const ValueId new_root = root(after, after.outputs[i].value);
      if (!after.def(new_root)) {
        EXPECT_EQ(r.graph.def(old_root), nullptr) << "seed " << seed;
      }
      for (size_t j = 0; j < i; ++j) {
        if (root(after, after.outputs[j].value) != new_root) continue;
        const Node* n = after.def(new_root);
        const bool folds = n && n->op == Op::constant;
        EXPECT_TRUE(folds || root(r.graph, r.graph.outputs[j].value) == old_root)
            << "seed " << seed << ", outputs " << j << " and " << i << "\n"
            << print(r.graph) << "became\n"
            << print(after);
      }
    }
  }
}

TEST(Pipeline, NamesThePassThatBreaksAGraph) {
  Builder b("g");
  const ValueId x = b.input("x", make_type(DType::f32, {4}));
  b.output({b.pointwise(ScalarOp::exp, {x})});
  Graph g = b.take();
  g.values[1].type.sizes = {5};
  EXPECT_THROW(run_passes(g, {}), InternalError);
}

TEST(FindPass, KnowsThePipeline) {
  EXPECT_NE(find_pass("decompose"), nullptr);
  EXPECT_EQ(find_pass("no_such_pass"), nullptr);
}

}  // namespace
}  // namespace ourjit
