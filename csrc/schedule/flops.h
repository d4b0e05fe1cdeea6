// Counts a kernel's arithmetic for reports.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Float operations of all iterations together: each operation with a float result counts once,
/// functions such as exp too, and so does each step of a reduction; casts and selections count
/// nothing. `sizes` as in schedule/cost.h.
double kernel_flops(const Kernel& k, const SymEnv& sizes = {});

}  // namespace ourjit::loop
