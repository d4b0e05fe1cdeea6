// Piecewise loops instead of selects: a concat, slice or pad compares loop variables with
// constants.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Cuts serial loops where comparisons of their variables with constants change, and drops what a
/// piece never does: selects, masks, loads that are masked off.
void partition_loops(Kernel& k);

}  // namespace ourjit::loop
