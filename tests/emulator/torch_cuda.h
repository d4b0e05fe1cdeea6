// A stand-in for torch's CUDA library: tensors whose device is cuda, on the devices of the emulated
// driver.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

namespace ourjit::emulator {

/// Allocates on the current device and stream, and records both.
c10::Allocator& cuda_allocator();

const at::Generator& cuda_generator(c10::DeviceIndex device);

}  // namespace ourjit::emulator
