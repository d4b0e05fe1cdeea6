// Loops over blocks of another loop's range, which lowering makes for CPUs.
#pragma once

#include <vector>

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Makes one loop of a parallel loop over blocks of a loop that is all it does: `parallel p { for c
/// in p*B..min(n, p*B + B) {..} }` becomes `parallel c in 0..n {..}`.
void unblock_parallel_loop(Kernel& k);

/// Does so with serial loops in `body` and what they reduce. For loops that threads share: they
/// then combine what they found once and not once a block, and each of them still adds few numbers
/// in a row.
void unblock_serial_loops(std::vector<Node>& body);

}  // namespace ourjit::loop
