// Loop IR to CUDA C++ text, for kernels scheduled for GPUs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "loop/loop_ir.h"

namespace ourjit {

/// The kernel as an extern "C" __global__ function of its name: a pointer for each buffer, an
/// oj_i64 for each size, and an int* for the status (base/kernel_status.h), which the kernel leaves
/// alone if all is well. To be launched with as many blocks of threads_x by threads_y threads as
/// the parallel loop has iterations. Deterministic.
std::string emit_cuda_kernel(const loop::Kernel& k);

/// What every translation unit begins with: the files of kernels/cuda.
std::string_view cuda_prelude();

/// The prelude and the kernels, whose names must differ: what NVRTC compiles.
std::string emit_cuda_unit(const std::vector<const loop::Kernel*>& kernels);

}  // namespace ourjit
