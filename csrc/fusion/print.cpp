#include <sstream>

#include "fusion/group.h"
#include "graph/text.h"

namespace ourjit {
namespace {

std::string shape(const std::vector<Sym>& dims) {
  std::string out = "[";
  for (size_t i = 0; i < dims.size(); ++i) out += (i ? ", " : "") + dims[i].str();
  return out + "]";
}

}  // namespace

std::string print(const Graph& g, const Fusion& f) {
  std::ostringstream out;
  int number = 0;
  for (const FusedStep& s : f.steps) {
    if (!s.group) {
      out << "barrier " << print(g, g.node(s.node)) << "\n";
      continue;
    }
    const Group& group = *s.group;
    out << "group " << number++ << " over " << shape(group.dims);
    if (!group.reduced.empty()) {
      out << " reducing";
      for (size_t i = 0; i < group.reduced.size(); ++i)
        if (group.reduced[i]) out << " d" << i;
    }
    if (!group.sinks.empty()) out << " with " << group.sinks.size() << " two-phase reductions";
    out << "\n";
    for (const NodeId n : group.members) out << "  " << print(g, g.node(n)) << "\n";
    out << "  stores";
    for (const ValueId v : group.stores) out << " %" << g.values[static_cast<size_t>(v)].name;
    out << "\n";
  }
  for (const NotFused& r : f.not_fused)
    out << "not fused: %" << g.values[static_cast<size_t>(g.node(r.consumer).results[0])].name
        << " (" << op_name(g.node(r.consumer).op) << ") with the group of %"
        << g.values[static_cast<size_t>(g.node(r.producer).results[0])].name << ": " << r.reason
        << "\n";
  return out.str();
}

}  // namespace ourjit
