// What kernels are made for.
#pragma once

#include <cstdint>

namespace ourjit::loop {

/// What schedules and generated code depend on.
struct Target {
  int vector_bits = 512;  // 512, 256 or 128
  int64_t l1_bytes = 32 * 1024;
  int64_t l2_bytes = 1024 * 1024;
};

/// A GPU as schedules see it. The defaults are those of compute capability 9.0.
struct GpuTarget {
  int multiprocessors = 132;
  int64_t shared_bytes = 48 * 1024;  // of a block, without asking for more
  int64_t parameter_bytes = 32764;   // of a launch, from CUDA 12.1 on; 4096 before
};

}  // namespace ourjit::loop
