// What a kernel reports besides its results.
#pragma once

#include <cstdint>

namespace ourjit {

/// The first error that a kernel met; the values are part of the calling convention
/// (codegen/kernel_abi.h).
enum class KernelStatus : int32_t {
  Ok = 0,
  IndexError = 1,         // a gather or scatter index was out of range
  ZeroDivisionError = 2,  // an integer was divided by zero
};

}  // namespace ourjit
