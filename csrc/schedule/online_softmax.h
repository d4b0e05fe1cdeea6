// Softmax of rows that threads do not keep: one pass over memory for maximum and sum.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Where one loop reduces the maximum m of a row and a later one over the same range does nothing
/// but sum exp(x - m) of the same x, read from memory again, the first one finds the sum as well
/// (exp_sum) and the second one goes. m may be replaced by 0 where it is infinite, as logsumexp
/// does. For kernels whose thread loops are chosen.
void merge_softmax_passes(Kernel& k);

}  // namespace ourjit::loop
