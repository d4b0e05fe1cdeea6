#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/text.h"
#include "passes/canonicalize_rules.h"
#include "passes/decompose_rules.h"
#include "passes/library_ops.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// The first node of kind `op`, or null.
const Node* find_node(const Graph& g, Op op) {
  for (const Node& n : g.nodes)
    if (n.op == op) return &n;
  return nullptr;
}

/// The dtype in which `lhs < rhs` is computed; operands are inputs %f (f32[4]), %h (bf16[4]), %i
/// (i32[4]), %b (bool[4]), %d (f64, 0-d), %z (f32, 0-d), %l (i64, 0-d), or numbers.
DType compared_in(const std::string& lhs, const std::string& rhs, const std::string& overload) {
  const Graph g =
      canonicalize(parse_graph("graph @g(%f: f32[4], %h: bf16[4], %i: i32[4], %b: bool[4], %d: "
                               "f64[], %z: f32[], %l: i64[]) "
                               "-> (bool[4]) {\n  %r: bool[4] = call aten.lt." +
                               overload + "(" + lhs + ", " + rhs + ")\n  return %r\n}\n"),
                   {});
  const Node* lt = find_node(g, Op::lt);
  EXPECT_NE(lt, nullptr) << print(g);
  return lt ? g.type(lt->operands[0]).dtype : DType::u16;
}

// Expected values are torch.result_type's.
TEST(Promotion, DimensionedTensorsWinWithinACategory) {
  EXPECT_EQ(compared_in("%f", "%d", "Tensor"), DType::f32);
  EXPECT_EQ(compared_in("%h", "%z", "Tensor"), DType::bf16);
  EXPECT_EQ(compared_in("%h", "%f", "Tensor"), DType::f32);
  EXPECT_EQ(compared_in("%i", "%l", "Tensor"), DType::i32);
}

TEST(Promotion, HigherCategoriesWinOverDimensions) {
  EXPECT_EQ(compared_in("%i", "%z", "Tensor"), DType::f32);
  EXPECT_EQ(compared_in("%i", "%d", "Tensor"), DType::f64);
  EXPECT_EQ(compared_in("%b", "%l", "Tensor"), DType::i64);
}

TEST(Promotion, NumbersPromoteOnlyAcrossCategories) {
  EXPECT_EQ(compared_in("%h", "2", "Scalar"), DType::bf16);
  EXPECT_EQ(compared_in("%h", "2.5", "Scalar"), DType::bf16);
  EXPECT_EQ(compared_in("%i", "2", "Scalar"), DType::i32);
  EXPECT_EQ(compared_in("%i", "2.5", "Scalar"), DType::f32);
  EXPECT_EQ(compared_in("%b", "2", "Scalar"), DType::i64);
  EXPECT_EQ(compared_in("%b", "true", "Scalar"), DType::boolean);
}

TEST(Tables, NoTargetHasTwoRules) {
  EXPECT_GT(canonicalize_rules().size(), 250u);
  EXPECT_GT(decompose_rules().size(), 70u);
  EXPECT_THROW(AtenRules({unary_rules(), unary_rules()}), InternalError);
}

TEST(LibraryOps, PacketsDecide) {
  EXPECT_TRUE(is_runtime_op("ourjit.rng_seed.default"));
  EXPECT_TRUE(is_runtime_op("aten._assert_async.msg"));
  EXPECT_TRUE(is_random_op("aten.bernoulli.p"));
  EXPECT_FALSE(is_random_op("aten.bernoulli_other.p"));
  EXPECT_FALSE(is_random_op("nonsense"));
}

std::string reason(const std::string& line, const std::string& type, bool pointwise = false) {
  const Graph g =
      parse_graph("graph @g(%x: " + type + "[4]) -> (" + type + "[4]) {\n  %r: " + type +
                  "[4] = call " + line + "\n  return %r\n}\n");
  const Graph after = decompose(canonicalize(g, {}), {});
  const Node* call = find_node(after, Op::call);
  return call ? fallback_reason(after, *call, pointwise).value_or("library") : "compiled";
}

TEST(FallbackReason, SaysWhy) {
  EXPECT_EQ(reason("aten.exp.default(%x)", "f32"), "compiled");
  EXPECT_EQ(reason("aten.mm.default(%x, %x)", "f32"), "library");
  EXPECT_EQ(reason("aten.histc.default(%x)", "f32"), "library");
  EXPECT_EQ(reason("aten.special_new.default(%x)", "f32", true), "no rule for this operator");
  EXPECT_EQ(reason("aten.exp.default(%x)", "c64"), "library");
  EXPECT_EQ(reason("aten.exp.default(%x)", "u16"), "dtype u16 is not native");
  EXPECT_EQ(reason("aten.div.Tensor_mode(%x, %x, \"up\")", "f32"), "unknown rounding mode");
  EXPECT_EQ(reason("aten.random.default(%x)", "f32"), "random operator without a rule");
}

// Types of values move in memory while a rule adds nodes: rules must not hold references to them.
TEST(Rules, SurviveGrowthOfTheGraph) {
  std::string text = "graph @g(%x: f32[5, 5]) -> (f32[5, 5]) {\n";
  std::string last = "x";
  for (int i = 0; i < 200; ++i) {
    const std::string name = "t" + std::to_string(i);
    text += "  %" + name + ": f32[5, 5] = call aten.tril.default(%" + last + ", 0)\n";
    last = name;
  }
  const Graph g = canonicalize(parse_graph(text + "  return %" + last + "\n}\n"), {});
  EXPECT_EQ(find_node(g, Op::call), nullptr);
}

}  // namespace
}  // namespace ourjit
