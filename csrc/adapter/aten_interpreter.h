// Runs a graph node by node through ATen: what the passes' results are compared with.
#pragma once

#include <vector>

#include "adapter/executable.h"
#include "graph/graph.h"

namespace ourjit {

/// The outputs of `g` for these inputs. Inputs that copy_to writes to are changed. Raises UserError
/// for inputs that do not fit, Unsupported for an operator without an equivalent in ATen.
std::vector<CallValue> interpret(const Graph& g, const std::vector<CallValue>& inputs);

}  // namespace ourjit
