// What reports tell of the nodes of a compiled graph.
#pragma once

#include <string>
#include <vector>

#include "build_plan.h"
#include "fusion/group.h"
#include "graph/graph.h"

namespace ourjit {

struct ReportNode {
  std::string op;    // or the target of a call
  std::string text;  // as in the text of the graph
  std::string loc;
  std::vector<std::string> reads, defines;  // names of values
  int step = -1;  // of the plan; -1: index arithmetic of those that read it, or a view
};

/// One entry for each node. `planned` must hold the steps of the plan in order.
std::vector<ReportNode> report_nodes(const Graph& g, const Fusion& f,
                                     const PlannedKernels& planned);

}  // namespace ourjit
