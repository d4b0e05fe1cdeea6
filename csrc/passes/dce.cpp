#include "graph/builder.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// Calls are pure but for those that return nothing, write in place or into given tensors.
bool has_effect(const Node& n) {
  if (n.op == Op::copy_to) return true;
  if (n.op != Op::call) return false;
  if (n.results.empty()) return true;
  std::string_view name = call_target(n);
  const std::string_view overload = name.substr(name.rfind('.') + 1);
  if (overload.ends_with("out")) return true;
  name = name.substr(0, name.rfind('.'));
  return name.ends_with("_") && !name.ends_with("__");
}

}  // namespace

Graph dce(const Graph& g, const PassContext&) {
  std::vector<bool> live(g.values.size(), false);
  std::vector<bool> needed(g.nodes.size(), false);
  for (const GraphOutput& o : g.outputs)
    if (o.value >= 0) live[static_cast<size_t>(o.value)] = true;
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const Node& n = g.nodes[i];
    bool need = has_effect(n);
    for (const ValueId v : n.results) need = need || (v >= 0 && live[static_cast<size_t>(v)]);
    if (!need) continue;
    needed[i] = true;
    for (const ValueId v : n.operands) live[static_cast<size_t>(v)] = true;
  }
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (n.op == Op::copy_to && n.operands[0] == n.operands[1])
      return r.replace(n, r(n.operands[0]));  // to itself
    if (needed[static_cast<size_t>(&n - g.nodes.data())]) r.keep(n);
  });
}

}  // namespace ourjit
