// Horizontal batches: launches of one kernel over many sets of tensors become one launch over a
// table.
#pragma once

#include <vector>

#include "lower/in_place.h"
#include "lower/lower.h"

namespace ourjit {

/// Steps of a fusion that are launched together: one, or several of the same kernel, independent of
/// each other.
struct Batch {
  std::vector<size_t> steps;
  size_t silent = 0;  // the first so many leave out the kernel's epilogue
};

/// All steps that do something, in an order that respects their dependences. Only steps are batched
/// that touch nothing but inputs, outputs and small temporaries, since no other order can make
/// these live longer; the kernels of steps that are batched may be replaced by ones of free length
/// (lower/flat_loop.h). Without batches the order is that of `f`. Where the target has epilogues,
/// tiny kernels go to those that read their results (lower/absorb.h).
std::vector<Batch> batch_steps(const Graph& g, const Fusion& f, const InPlace& in_place,
                               const LowerOptions& options, std::vector<LoweredKernel>& kernels);

}  // namespace ourjit
