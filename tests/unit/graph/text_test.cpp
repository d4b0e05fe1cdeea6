#include "graph/text.h"

#include <gtest/gtest.h>

#include <random>

#include "../passes/random_graph.h"
#include "base/error.h"
#include "graph/verify.h"

namespace ourjit {
namespace {

constexpr std::string_view kEverything = R"(
graph @all(%x: f32[s0, 128], s0, %w: f32[4, 8]{1, 4}, %d: f32[2]@"cuda:0") -> (f32[s0, 128], int, none) {
  %c = constant {value = -0.0, dtype = f32}
  %n = constant {value = nan, dtype = f32}
  %h: f32[s0, 128] = mul %x, %c  # model.py:41
  %m = reduce %h {op = "sum", dims = [1], keepdim = false}
  %a: f32[4], none, %b: i64[s0 + 1, floordiv(s0, 2)] = call aten.foo.default(%x, [0, 1], none, true, 1.5, "s\"t", dtype(f32), s0*2, [%w, none, [%w]], -inf, device("cuda:0"), [], -1)
  call aten._assert.msg(%m)
  %t: f32[8, 4] = permute %w {dims = [1, 0]}
  return %h{128, 1}, s0*2 + 1, none
}
)";

TEST(GraphText, ReadsBackWhatItPrints) {
  const std::string once = print(parse_graph(kEverything));
  EXPECT_EQ(print(parse_graph(once)), once);
  for (unsigned seed = 0; seed < 100; ++seed) {
    const testing::RandomGraph r(seed, 30);
    const std::string text = print(r.graph);
    const Graph back = parse_graph(text);
    verify(back);
    ASSERT_EQ(print(back), text);
    ASSERT_EQ(back.nodes.size(), r.graph.nodes.size());
    for (size_t i = 0; i < back.values.size(); ++i)
      ASSERT_EQ(back.values[i].type, r.graph.values[i].type);
  }
}

TEST(GraphText, KeepsKindsOfArguments) {
  const Graph g = parse_graph(R"(graph @g(%x: f32[2]) -> () {
    call aten.foo.default(%x, 1, 1.0, true, "1", none, layout(strided), s0, [])
    return
  })");
  const ArgList& args = attr<ArgList>(g.nodes[0], "args");
  const ArgList want = {{OperandRef{0}},
                        {Sym(1)},
                        {1.0},
                        {true},
                        {std::string("1")},
                        {NoneArg{}},
                        {EnumArg{"layout", "strided"}},
                        {Sym::symbol("s0")},
                        {ArgList{}}};
  EXPECT_EQ(args, want);
}

/// Parses text that may be bad: it must raise UserError or give a graph that verifies or is
/// refused.
void survive(const std::string& text) {
  try {
    const Graph g = parse_graph(text);
    verify(g);
    ASSERT_EQ(print(parse_graph(print(g))), print(g));
  } catch (const UserError&) {
  } catch (const InternalError& e) {
    ASSERT_EQ(std::string_view(e.what()).substr(0, 7), "graph @") << e.what() << "\n" << text;
  }
}

TEST(GraphText, BadTextRaisesUserError) {
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return random() % n; };
  std::vector<std::string> texts = {std::string(kEverything)};
  for (unsigned seed = 0; seed < 20; ++seed)
    texts.push_back(print(testing::RandomGraph(seed, 10).graph));
  const std::vector<std::string> pieces = {"%",
                                           "(",
                                           ")",
                                           "[",
                                           "]",
                                           "{",
                                           "}",
                                           "-",
                                           "9999999999999999999",
                                           "0",
                                           "-1",
                                           "none",
                                           "s0",
                                           "1e999",
                                           "\"",
                                           "#",
                                           "f32",
                                           "=",
                                           ",",
                                           ":",
                                           "floordiv(",
                                           "\n",
                                           "@",
                                           "..",
                                           "nan",
                                           "4611686018427387904"};
  for (int round = 0; round < 20000; ++round) {
    std::string t = texts[below(texts.size())];
    for (size_t edits = 1 + below(3); edits > 0; --edits) {
      const size_t at = below(t.size());
      switch (below(4)) {
        case 0:
          t.erase(at, 1 + below(8));
          break;
        case 1:
          t.insert(at, pieces[below(pieces.size())]);
          break;
        case 2:
          t[at] = static_cast<char>(below(256));
          break;
        default:
          t.insert(at, t.substr(below(t.size()), below(40)));
      }
    }
    survive(t);
    if (HasFatalFailure()) return;
  }
}

TEST(GraphText, DeepNestingRaisesUserError) {
  const std::string deep(100000, '[');
  EXPECT_THROW(parse_graph("graph @g() -> () {\n call aten.foo.default(" + deep), UserError);
  EXPECT_THROW(parse_graph("graph @g(%x: f32[" + std::string(100000, '(')), UserError);
}

}  // namespace
}  // namespace ourjit
