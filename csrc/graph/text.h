// Text form of the graph IR; parse(print(g)) equals g up to value ids.
#pragma once

#include <string>
#include <string_view>

#include "graph/graph.h"

namespace ourjit {

/// No addresses, no times; equal graphs print equally.
std::string print(const Graph& g);
/// One node without its line break.
std::string print(const Graph& g, const Node& n);
std::string print(const TensorType& t);
/// Raises UserError with line and column on bad text.
Graph parse_graph(std::string_view text);

}  // namespace ourjit
