// Sums of zero-padded parts, as the backward of slicing makes them.
#pragma once

#include <vector>

#include "graph/builder.h"

namespace ourjit {

/// For each value: whether it is an add of which the only reader is an add of the same shape.
std::vector<bool> inner_sums(const Graph& g);

/// If the add `n` sums zero paddings along one dim whose parts cover the result without overlap:
/// their concat in the new graph; else -1. A part's -0.0 stays -0.0, where adding zeros to it would
/// give 0.0.
ValueId concat_of_pads(Rewriter& r, const Node& n, const std::vector<bool>& inner);

}  // namespace ourjit
