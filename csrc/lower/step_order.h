// Which steps of a fusion must run before which.
#pragma once

#include <vector>

#include "lower/in_place.h"
#include "lower/lower.h"

namespace ourjit {

/// For each step, steps that must run before it. All of them have smaller numbers.
using StepOrder = std::vector<std::vector<size_t>>;

/// True for library calls.
bool is_call(const Graph& g, const FusedStep& s);

/// The order that the memory of `kernels` (one for each of f.steps) and of calls demands.
StepOrder find_order(const Graph& g, const Fusion& f, const MemoryRoots& root,
                     const std::vector<LoweredKernel>& kernels);

/// The length of the longest path to each step.
std::vector<int> find_levels(const StepOrder& before);

}  // namespace ourjit
