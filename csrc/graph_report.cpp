#include "graph_report.h"

#include "graph/text.h"

namespace ourjit {
namespace {

std::vector<std::string> names(const Graph& g, const std::vector<ValueId>& values) {
  std::vector<std::string> out;
  for (const ValueId v : values)
    if (v >= 0) out.push_back(g.values[static_cast<size_t>(v)].name);
  return out;
}

}  // namespace

std::vector<ReportNode> report_nodes(const Graph& g, const Fusion& f,
                                     const PlannedKernels& planned) {
  std::vector<ReportNode> out;
  for (const Node& n : g.nodes)
    out.push_back({n.op == Op::call ? call_target(n) : std::string(op_name(n.op)), print(g, n),
                   n.loc, names(g, n.operands), names(g, n.results)});
  for (size_t i = 0; i < planned.steps.size(); ++i)
    for (const size_t s : planned.steps[i].steps) {
      const FusedStep& step = f.steps[s];
      const std::vector<NodeId> nodes =
          step.group ? step.group->members : std::vector<NodeId>{step.node};
      for (const NodeId n : nodes) out[static_cast<size_t>(n)].step = static_cast<int>(i);
    }
  return out;
}

}  // namespace ourjit
