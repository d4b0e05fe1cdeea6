// The rules every kernel obeys; run after lowering and after each schedule step.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Raises InternalError naming statement and rule: scoping of values and symbols, one definition
/// each, operand dtypes and counts by scalar_ops.def, loop nesting rules of loop_ir.h, known memory
/// names, no stores to `in` buffers, constant indices within bounds.
void verify(const Kernel& k);

}  // namespace ourjit::loop
