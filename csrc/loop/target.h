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

}  // namespace ourjit::loop
