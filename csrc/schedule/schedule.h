// From naive loop nests to loops that suit a target.
//
// Lowering produces nests of parallel and serial loops in memory order. Scheduling decides which loop is vectorized, how many
// accumulators it gets, which loops are tiled (transposes), and splits parallel loops of short iterations into blocks.
#pragma once

#include <string>

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// What schedules depend on.
struct Target {
  int vector_bits = 512;  // 512, 256 or 128
  int64_t l1_bytes = 32 * 1024;
  int64_t l2_bytes = 1024 * 1024;
};

/// Schedules for the CPU; the result computes the same values (reductions in the order loop_ir.h states).
Kernel schedule_cpu(Kernel k, const Target& target);

}  // namespace ourjit::loop
