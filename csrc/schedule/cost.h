// Estimated work of kernels.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Nanoseconds of work in one iteration of the parallel loop (of the whole kernel if it has none), from bytes moved
/// and operator costs; symbolic extents count as 256.
double iteration_cost_ns(const Kernel& k);

}  // namespace ourjit::loop
