// From naive loop nests to loops that suit a target.
//
// Lowering produces nests of parallel and serial loops in memory order. Scheduling decides which
// loop is vectorized, how many accumulators it gets, which loops are tiled (transposes), and splits
// parallel loops of short iterations into blocks.
#pragma once

#include <string>

#include "loop/loop_ir.h"
#include "loop/target.h"

namespace ourjit::loop {

/// Schedules for the CPU; the result computes the same values (reductions in the order loop_ir.h
/// states).
Kernel schedule_cpu(Kernel k, const Target& target);

/// Schedules for GPUs: gives the kernel threads (loop_ir.h), so that neighbouring threads meet
/// neighbouring elements, and the barriers they need. The result computes the same values
/// (reductions in another order, which depends on sizes only).
Kernel schedule_gpu(Kernel k, const GpuTarget& target);

}  // namespace ourjit::loop
