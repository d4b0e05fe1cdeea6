// How compiled kernels are called. Shared by code generation, backend and runtime; no LLVM here.
#pragma once

#include <cstdint>

namespace ourjit {

/// One argument block a task. The function runs iterations begin .. end - 1 of the kernel's
/// parallel loop (which always counts from its own `begin`; a kernel without one has a single
/// iteration 0). It records the first error in *status (0 is ok, else loop::Status).
struct KernelArgs {
  void* const* buffers;
  const int64_t* sizes;
  int64_t begin;
  int64_t end;
  int32_t* status;
};

/// Arguments of a launch, row by row.
struct LaunchTable {
  int64_t rows;
  const int64_t* starts;  // of each row, its first iteration among those of all; then their number
  void* const* pointers;  // row_pointers for each row: the values of the buffer parameters
  int64_t row_pointers;
  const int64_t* sizes;  // row_sizes for each row: the values of the size parameters
  int64_t row_sizes;
  int64_t silent = 0;  // the first so many rows leave out the kernel's epilogue (loop/loop_ir.h)
};

using KernelFunction = void (*)(const KernelArgs*);

}  // namespace ourjit
