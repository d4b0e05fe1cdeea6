// 16-bit floats that threads keep are kept as f32.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Turns locals of threads that hold f16 or bf16 into locals of f32: a register holds either, and
/// what is loaded from one is computed with in f32, so that a cast at each use is saved. Locals
/// that are added to stay as they are, since each sum is rounded.
void widen_half_locals(Kernel& k);

}  // namespace ourjit::loop
