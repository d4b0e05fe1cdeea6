// What the runtime sees of a GPU: kernels that it launches, and the error word that they share.
#pragma once

#include <cstdint>
#include <memory>

#include "codegen/kernel_abi.h"

namespace ourjit {

/// A loaded kernel; its code lives as long as the object.
class DeviceKernel {
 public:
  virtual ~DeviceKernel() = default;
  /// Enqueues a block for each iteration of the table on `stream` (null: the default one), and the
  /// epilogues of rows that are not silent. The kernel's first error goes to *status. Without
  /// iterations nothing is launched. Only table kernels take more than one row. The device must be
  /// current on this thread. Raises BackendError.
  virtual void launch(const LaunchTable& table, int32_t* status, void* stream) const = 0;
};

/// A GPU or its emulation.
class Device {
 public:
  virtual ~Device() = default;
  /// True if a launch returns when the kernel has run.
  virtual bool synchronous() const = 0;
  /// Makes the device current on this thread; returns what was. Threads of autograd may have none.
  virtual void* enter() = 0;
  virtual void leave(void* before) = 0;
  /// A word, zero at first, that kernels and the host can write. Kernels that still run when it
  /// dies do no harm. The device must be current.
  virtual std::shared_ptr<int32_t> new_status() = 0;
};

/// Makes a device current for as long as it lives; null does nothing.
class DeviceScope {
 public:
  explicit DeviceScope(Device* device)
      : device_(device), before_(device ? device->enter() : nullptr) {}
  ~DeviceScope() {
    if (device_) device_->leave(before_);
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device* const device_;
  void* const before_;
};

}  // namespace ourjit
