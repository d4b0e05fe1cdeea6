// A GPU through the CUDA driver, or its emulation through a library with the same functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cuda_api.h"
#include "backend/device.h"
#include "backend/dynamic_library.h"
#include "backend/tickets.h"
#include "loop/loop_ir.h"

namespace ourjit {

/// The driver's functions, and its errors as exceptions.
class CudaDriver {
 public:
  /// Raises BackendError if the library or a function is missing, or the driver does not start.
  explicit CudaDriver(const std::string& library);

  const cuda::DriverTable& functions() const { return functions_; }
  /// The CUDA version it supports, as 13000 for 13.0.
  int version() const { return version_; }
  /// Raises BackendError "`what`: error" unless `result` is success.
  void check(cuda::CUresult result, std::string_view what) const;
  /// The same for a launch: an emulator tells what the kernel did wrong.
  void check_launch(cuda::CUresult result, const std::string& kernel) const;

 private:
  DynamicLibrary library_;
  cuda::DriverTable functions_;
  int version_ = 0;
  const char* (*emulator_message_)() = nullptr;  // of an emulator
};

/// One device with its primary context, which torch uses too.
class CudaDevice final : public Device, public std::enable_shared_from_this<CudaDevice> {
 public:
  /// Raises BackendError if there is no device `ordinal`.
  CudaDevice(std::shared_ptr<const CudaDriver> driver, int ordinal, bool synchronous);
  ~CudaDevice() override;

  const CudaDriver& driver() const { return *driver_; }
  cuda::CUdevice handle() const { return device_; }
  /// As in "sm_90".
  const std::string& architecture() const { return architecture_; }
  int multiprocessors() const { return multiprocessors_; }

  bool synchronous() const override { return synchronous_; }
  void* enter() override;
  void leave(void* before) override;
  std::shared_ptr<int32_t> new_status() override;
  Tickets& tickets() { return *tickets_; }

 private:
  int attribute(cuda::CUdevice_attribute which) const;

  const std::shared_ptr<const CudaDriver> driver_;
  const bool synchronous_;
  std::unique_ptr<Tickets> tickets_;
  cuda::CUdevice device_ = 0;
  cuda::CUcontext context_ = nullptr;
  std::string architecture_;
  int multiprocessors_ = 0;
  std::mutex mutex_;
  std::vector<void*> blocks_;   // host memory that kernels see
  std::vector<int32_t*> idle_;  // words in it that nobody has
};

/// The kernels of one translation unit. The device must be current at loading.
class CudaLibrary {
 public:
  /// Loads a cubin or PTX. Raises BackendError that names `what`.
  CudaLibrary(std::shared_ptr<CudaDevice> device, const std::string& image,
              const std::string& what);
  ~CudaLibrary();
  CudaLibrary(const CudaLibrary&) = delete;
  CudaLibrary& operator=(const CudaLibrary&) = delete;

  cuda::CUkernel kernel(const std::string& name) const;
  CudaDevice& device() const { return *device_; }

 private:
  const std::shared_ptr<CudaDevice> device_;
  cuda::CUlibrary library_ = nullptr;
};

/// A kernel of a library with the geometry that it was compiled for.
class CudaKernel final : public DeviceKernel {
 public:
  /// Makes a kernel that does the same for buffers of any address.
  using MakeUnaligned = std::function<std::shared_ptr<const CudaKernel>()>;

  /// `alignment`: bytes of which the addresses of buffers are multiples, else the launch goes to
  /// what `make_unaligned` returns, made when first needed.
  CudaKernel(std::shared_ptr<const CudaLibrary> library, const loop::Kernel& k,
             size_t alignment = 1, MakeUnaligned make_unaligned = nullptr);
  void launch(const LaunchTable& table, int32_t* status, void* stream) const override;

 private:
  void launch_row(const LaunchTable& table, int32_t* status, void* stream) const;
  void launch_rows(const LaunchTable& table, int64_t begin, int64_t end, int32_t* status,
                   void* stream) const;
  void check_grid(int64_t grid) const;
  /// Adds the ticket, if the kernel takes one, and the status to the parameters.
  void enqueue(int64_t grid, std::vector<void*>& parameters, int32_t* status, void* stream) const;

  const std::shared_ptr<const CudaLibrary> library_;
  const std::string name_;
  const cuda::CUkernel kernel_;
  const unsigned threads_x_, threads_y_;
  const size_t table_rows_;  // 0: no table kernel
  const bool has_epilogue_;
  const size_t alignment_;
  const MakeUnaligned make_unaligned_;
  mutable std::once_flag once_;
  mutable std::shared_ptr<const CudaKernel> unaligned_;
};

}  // namespace ourjit
