// Loops over blocks of another loop's range, which lowering makes for CPUs.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Makes one loop of each two of which the inner one runs a block of a range: `parallel p { for c
/// in p*B..min(n, p*B + B) {..} }` becomes `parallel c in 0..n {..}`, and so do serial loops and
/// their reductions, which threads then combine once and not once a block.
void unblock(Kernel& k);

}  // namespace ourjit::loop
