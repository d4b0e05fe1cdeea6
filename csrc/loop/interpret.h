// A scalar interpreter: slow, simple, the oracle of tests.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/kernel_status.h"
#include "loop/loop_ir.h"

namespace ourjit::loop {

using Status = KernelStatus;

/// Runs `k` over `buffers` (one pointer for each of k.buffers, in order, each holding at least the
/// buffer's size) with the size parameters in order. Every access is checked against the buffer's
/// size (InternalError). A vector loop runs each statement in all of its lanes before the next one.
/// Sums are accumulated in the reduction's dtype in serial order. Thread loops run as serial ones;
/// where a barrier is missing between two threads, or blocks meet, that is an InternalError.
Status interpret(const Kernel& k, const std::vector<void*>& buffers,
                 const std::vector<int64_t>& sizes);

}  // namespace ourjit::loop
