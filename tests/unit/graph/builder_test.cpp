#include "graph/builder.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/text.h"
#include "graph/verify.h"

namespace ourjit {
namespace {

std::string name(const Graph& g, ValueId v) { return g.values[static_cast<size_t>(v)].name; }

TEST(Builder, MakesNamesUniqueAndValid) {
  Builder b("my graph!");
  const ValueId x = b.input("x", make_type(DType::f32, {4}));
  const ValueId y = b.input("x", make_type(DType::f32, {4}));
  const ValueId z = b.emit(Op::add, {x, y}, {}, "x.1");
  const ValueId w = b.emit(Op::add, {x, y}, {}, "a b..c.");
  b.output({z});
  b.output({w});
  const Graph g = b.take();
  verify(g);
  EXPECT_EQ(name(g, x), "x");
  EXPECT_EQ(name(g, y), "x.1");
  EXPECT_EQ(name(g, z), "x.2");
  EXPECT_EQ(name(g, w), "a_b._c");
  EXPECT_EQ(print(parse_graph(print(g))), print(g));
}

TEST(Builder, BringsNumbersIntoOneForm) {
  Builder b("g");
  const ValueId c = b.emit(Op::constant, {}, {{"value", Sym(2)}, {"dtype", DType::f32}});
  EXPECT_EQ(attr<double>(*b.graph().def(c), "value"), 2.0);
  const ValueId i = b.emit(Op::constant, {}, {{"value", 3.0}, {"dtype", DType::i64}});
  EXPECT_EQ(attr<Sym>(*b.graph().def(i), "value"), Sym(3));
  const ValueId t = b.emit(Op::constant, {}, {{"value", true}, {"dtype", DType::boolean}});
  EXPECT_EQ(attr<Sym>(*b.graph().def(t), "value"), Sym(1));
  EXPECT_THROW(b.emit(Op::constant, {}, {{"value", 0.5}, {"dtype", DType::i64}}), UserError);
}

TEST(Builder, ShorthandDropsIdentities) {
  Builder b("g");
  const ValueId x = b.input("x", make_type(DType::f32, {4, 3}));
  EXPECT_EQ(b.permute(x, {0, 1}), x);
  EXPECT_EQ(b.reshape(x, {4, 3}), x);
  EXPECT_EQ(b.expand(x, {4, 3}), x);
  EXPECT_EQ(b.slice(x, 0, 0, 1, 4), x);
  EXPECT_EQ(b.cast(x, DType::f32), x);
  EXPECT_NE(b.permute(x, {1, 0}), x);
  EXPECT_EQ(b.type(b.unsqueeze(x, 2)).sizes, (std::vector<Sym>{4, 3, 1}));
}

TEST(Builder, NumbersReferencesOfCallsInOrder) {
  Builder b("g");
  const ValueId x = b.input("x", make_type(DType::f32, {4}));
  const ValueId y = b.input("y", make_type(DType::f32, {4}));
  const ArgList args = {{OperandRef{1}}, {ArgList{{OperandRef{0}}, {OperandRef{1}}}}};
  const auto r =
      b.call("aten.foo.default", {x, y}, args, {make_type(DType::f32, {4}), std::nullopt});
  ASSERT_EQ(r.size(), 2u);
  EXPECT_EQ(r[1], -1);
  const Node& n = b.graph().nodes[0];
  EXPECT_EQ(n.operands, (std::vector<ValueId>{y, x, y}));
  EXPECT_EQ(print(b.graph(), n), "%foo: f32[4], none = call aten.foo.default(%y, [%x, %y])");
  EXPECT_THROW(b.call("aten.foo.default", {x}, {{OperandRef{1}}}, {}), InternalError);
}

TEST(Builder, ErrorsNameOperatorAndShapes) {
  Builder b("g");
  const ValueId x = b.input("x", make_type(DType::f32, {4, 3}));
  const ValueId y = b.input("y", make_type(DType::f32, {5}));
  try {
    b.mul(x, y);
    FAIL();
  } catch (const UserError& e) {
    EXPECT_STREQ(e.what(), "mul(f32[4, 3], f32[5]): sizes 3 and 5 do not broadcast");
  }
  EXPECT_THROW(b.add(x, 99), InternalError);
}

Graph chain() {
  return parse_graph(R"(
    graph @g(%x: f32[4, 8], s0) -> (f32[8, 4]{1, 8}, int, none) {
      %a: f32[4, 8]{1, 4} = exp %x  # m.py:1
      %b: f32[8, 4] = permute %a {dims = [1, 0]}  # m.py:2
      %c: f32[8, 4]{1, 8}, none = call aten.foo.default(%b)
      %d = neg %a
      return %c{1, 8}, s0 + 1, none
    })");
}

TEST(Rewrite, KeepsEverything) {
  const Graph g = chain();
  const Graph h = rewrite(g, [](Rewriter& r, const Node& n) { r.keep(n); });
  EXPECT_EQ(print(h), print(g));
  verify(h);
}

TEST(Rewrite, ViewsFollowNewStridesAndComputedValuesKeepTheirs) {
  const Graph g = chain();
  const Graph h = rewrite(g, [](Rewriter& r, const Node& n) {
    r.keep(n);
    if (n.op == Op::exp) r.b.set_strides(r(n.results[0]), {8, 1});
  });
  verify(h);
  EXPECT_EQ(print(h.type(2)), "f32[8, 4]{1, 8}");
  EXPECT_EQ(print(h.type(4)), print(g.type(4)));
}

TEST(Rewrite, NewNodesGetTheLineOfTheVisitedNode) {
  const Graph h = rewrite(chain(), [](Rewriter& r, const Node& n) {
    if (n.op != Op::permute) return r.keep(n);
    r.replace(n, r.b.reshape(r(n.operands[0]), {8, 4}));
  });
  EXPECT_EQ(h.nodes[1].loc, "m.py:2");
}

TEST(Rewrite, ComplainsAboutLostValues) {
  const Graph g = chain();
  EXPECT_THROW(rewrite(g,
                       [](Rewriter& r, const Node& n) {
                         if (n.op != Op::exp) r.keep(n);
                       }),
               InternalError);
  EXPECT_THROW(rewrite(g,
                       [](Rewriter& r, const Node& n) {
                         if (n.op != Op::call) r.keep(n);
                       }),
               InternalError);
}

}  // namespace
}  // namespace ourjit
