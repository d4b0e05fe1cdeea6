#include "graph/verify.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "graph/text.h"

namespace ourjit {
namespace {

Graph good() {
  return parse_graph(R"(
    graph @g(%x: f32[4, 8], %y: f32[8, 4]) -> (f32[4, 8]) {
      %a = exp %x
      %b = permute %a {dims = [1, 0]}
      %c: f32[8, 4] = call aten.foo.default(%b, [%y, 1])
      %t = permute %x {dims = [1, 0]}
      %w = copy_to %t, %c
      return %a{8, 1}
    })");
}

struct Damage {
  const char* says;  // part of the message
  std::function<void(Graph&)> make;
};

TEST(Verify, AcceptsAGoodGraph) { EXPECT_NO_THROW(verify(good())); }

TEST(Verify, RefusesEachDamage) {
  const std::vector<Damage> all = {
      {"used before", [](Graph& g) { std::swap(g.nodes[0], g.nodes[1]); }},
      {"does not exist", [](Graph& g) { g.nodes[0].operands[0] = 99; }},
      {"does not exist", [](Graph& g) { g.nodes[0].operands[0] = -1; }},
      {"two values are named", [](Graph& g) { g.values[3].name = "x"; }},
      {"not a name", [](Graph& g) { g.values[3].name = "a b"; }},
      {"not a name", [](Graph& g) { g.values[3].name = ""; }},
      {"takes 1 operands", [](Graph& g) { g.nodes[0].operands.push_back(0); }},
      {"the result is", [](Graph& g) { g.values[2].type.sizes[0] = 5; }},
      {"the result is", [](Graph& g) { g.values[2].type.dtype = DType::f64; }},
      {"strides of its operand", [](Graph& g) { g.values[3].type.strides = {4, 1}; }},
      {"lacks strides", [](Graph& g) { g.values[2].type.strides.pop_back(); }},
      {"negative size", [](Graph& g) { g.values[0].type.sizes[0] = -4; }},
      {"name its target", [](Graph& g) { g.nodes[2].attrs.erase("target"); }},
      {"no arguments", [](Graph& g) { g.nodes[2].attrs.erase("args"); }},
      {"stands in no argument", [](Graph& g) { g.nodes[2].operands.push_back(0); }},
      {"out of order", [](Graph& g) { g.nodes[2].operands.pop_back(); }},
      {"neither an input", [](Graph& g) { g.nodes[4].operands[0] = 3; }},
      {"defined twice", [](Graph& g) { g.inputs.push_back(g.inputs[0]); }},
      {"defined elsewhere", [](Graph& g) { g.values[2].def = 1; }},
      {"never defined",
       [](Graph& g) { g.values.push_back({"z", make_type(DType::f32, {}), -1, 0}); }},
      {"an output", [](Graph& g) { g.outputs[0].value = 77; }},
      {"one stride for each dim", [](Graph& g) { g.outputs[0].strides.pop_back(); }},
      {"an input is not", [](Graph& g) { g.inputs[0].value = 2; }},
      {"dims", [](Graph& g) { g.nodes[1].attrs.clear(); }},
  };
  for (const Damage& d : all) {
    Graph g = good();
    d.make(g);
    try {
      verify(g);
      ADD_FAILURE() << "not seen: " << d.says;
    } catch (const InternalError& e) {
      EXPECT_NE(std::string_view(e.what()).find(d.says), std::string_view::npos)
          << e.what() << " lacks: " << d.says;
    }
  }
}

}  // namespace
}  // namespace ourjit
