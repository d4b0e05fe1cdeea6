// CUDA text of kernels to kernels that can be launched.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/code_store.h"
#include "backend/device.h"
#include "loop/loop_ir.h"
#include "loop/target.h"

namespace ourjit {

/// Where the libraries are, and what to compile for.
struct GpuConfig {
  std::string nvrtc;   // path of libnvrtc, or empty: the one that is installed
  std::string driver;  // path or name of the driver's library; empty: none, code is only emitted
  int ordinal = 0;     // of the device
  std::string architecture;  // "sm_90"; empty: that of the device
  bool emulated = false;     // launches return when the kernel has run
  std::string save_folder;   // of sources that NVRTC refuses; empty: the temporary folder
};

class GpuBackend {
 public:
  virtual ~GpuBackend() = default;
  /// What kernels are compiled for, as in "sm_90".
  virtual const std::string& architecture() const = 0;
  virtual loop::GpuTarget target() const = 0;
  /// The device, null without a driver.
  virtual std::shared_ptr<Device> device() const = 0;
  /// Compiles kernels with different names, or finds their code in the store, and loads
  /// them, in their order; many of them share a translation unit, and the units are spread over
  /// `threads` threads. Needs a device. Thread-safe. Raises BackendError.
  virtual std::vector<std::shared_ptr<DeviceKernel>> compile(
      const std::vector<const loop::Kernel*>& kernels, int threads) = 0;
  /// Kernels that were compiled once more at a launch, because a buffer was not aligned
  /// (codegen/cuda_emitter.h).
  virtual int64_t variants() const = 0;
  /// Kernels whose code was found in the store.
  virtual int64_t loaded() const = 0;
  /// The translation unit of one kernel.
  virtual std::string source(const loop::Kernel& k) const = 0;
  /// A cubin of `source`. Needs neither a driver nor a device. Raises BackendError.
  virtual std::string compile_cubin(const std::string& source) const = 0;
  virtual std::string compile_ptx(const std::string& source) const = 0;
};

/// Raises BackendError that says what to install if a library or the device is missing.
std::shared_ptr<GpuBackend> make_gpu_backend(const GpuConfig& config, CodeStore store = {});

/// Cuts kernels of these weights into units for `threads` threads: 8 to 16 kernels in one where
/// there are many, about equal weights, each unit in ascending order.
std::vector<std::vector<size_t>> make_units(const std::vector<size_t>& weights, int threads);

}  // namespace ourjit
