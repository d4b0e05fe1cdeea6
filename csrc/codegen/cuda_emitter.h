// Loop IR to CUDA C++ text, for kernels scheduled for GPUs.
#pragma once

#include <string>
#include <vector>

#include "loop/loop_ir.h"

namespace ourjit {

/// What the address of a buffer is a multiple of, in bytes, where kernels take it to be aligned.
inline constexpr size_t kBufferAlignment = 16;

/// The kernel as an extern "C" __global__ function of its name: a pointer for each buffer, an
/// oj_i64 for each size, an unsigned* for the ticket (backend/tickets.h) if it has an epilogue, and
/// an int* for the status (base/kernel_status.h), which the kernel leaves alone if all is well. To
/// be launched with as many blocks of threads_x by threads_y threads as the parallel loop has
/// iterations. If not `aligned`, buffers may begin at any element, and each vector access asks its
/// address. Deterministic.
std::string emit_cuda_kernel(const loop::Kernel& k, bool aligned = true);

/// The kernels, whose names must differ, and what they need of the prelude: what NVRTC compiles.
std::string emit_cuda_unit(const std::vector<const loop::Kernel*>& kernels, bool aligned = true);

}  // namespace ourjit
