#include "backend/cuda_driver.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "codegen/cuda_table.h"

namespace ourjit {

namespace {

using namespace cuda;

constexpr const char* kAdvice =
    "kernels for NVIDIA GPUs run through the driver: install NVIDIA's driver for this machine's "
    "GPU, "
    "or compile with options={\"target\": \"cpu\"}";
constexpr size_t kStatusWords = 64;  // of a block

bool is_aligned(const LaunchTable& table, size_t alignment) {
  uintptr_t bits = 0;
  const int64_t count = table.rows * table.row_pointers;
  for (int64_t i = 0; i < count; ++i) bits |= reinterpret_cast<uintptr_t>(table.pointers[i]);
  return (bits & (alignment - 1)) == 0;
}

}  // namespace

CudaDriver::CudaDriver(const std::string& library) : library_(library, kAdvice) {
#define X(name, result, parameters) library_.resolve(#name, functions_.name);
  OURJIT_CUDA_FUNCTIONS(X)
#undef X
  emulator_message_ = reinterpret_cast<const char* (*)()>(library_.find("ourjit_emulator_message"));
  check(functions_.cuInit(0), "the CUDA driver does not start");
  check(functions_.cuDriverGetVersion(&version_), "the CUDA driver does not tell its version");
}

void CudaDriver::check(CUresult result, std::string_view what) const {
  if (result == CUDA_SUCCESS) return;
  const char* name = nullptr;
  const char* text = nullptr;
  functions_.cuGetErrorName(result, &name);
  functions_.cuGetErrorString(result, &text);
  OURJIT_RAISE(BackendError) << what << ": " << (text ? text : "unknown error") << " ("
                             << (name ? name : "error") << ", " << static_cast<int>(result) << ")";
}

void CudaDriver::check_launch(CUresult result, const std::string& kernel) const {
  if (result == CUDA_SUCCESS) return;
  const std::string message = emulator_message_ ? emulator_message_() : "";
  check(result, "launching kernel " + kernel + " failed" + (message.empty() ? "" : ", " + message));
}

CudaDevice::CudaDevice(std::shared_ptr<const CudaDriver> driver, int ordinal, bool synchronous)
    : driver_(std::move(driver)),
      synchronous_(synchronous),
      tickets_(std::make_unique<Tickets>(*driver_)) {
  const DriverTable& f = driver_->functions();
  int count = 0;
  driver_->check(f.cuDeviceGetCount(&count), "the GPUs of this machine cannot be counted");
  if (ordinal < 0 || ordinal >= count)
    OURJIT_RAISE(BackendError) << "there is no GPU " << ordinal << ": this machine has " << count;
  driver_->check(f.cuDeviceGet(&device_, ordinal), "the GPU cannot be opened");
  architecture_ = "sm_" + std::to_string(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)) +
                  std::to_string(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
  multiprocessors_ = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  driver_->check(f.cuDevicePrimaryCtxRetain(&context_, device_), "the GPU has no context");
}

CudaDevice::~CudaDevice() {
  // At the end of the process the driver may be gone already: errors are nobody's.
  const DriverTable& f = driver_->functions();
  CUcontext before = nullptr;
  f.cuCtxGetCurrent(&before);
  f.cuCtxSetCurrent(context_);
  tickets_.reset();
  f.cuCtxSetCurrent(before);
  for (void* block : blocks_) f.cuMemFreeHost(block);
  f.cuDevicePrimaryCtxRelease_v2(device_);
}

int CudaDevice::attribute(CUdevice_attribute which) const {
  int value = 0;
  driver_->check(driver_->functions().cuDeviceGetAttribute(&value, which, device_),
                 "the GPU does not tell its properties");
  return value;
}

void* CudaDevice::enter() {
  const DriverTable& f = driver_->functions();
  CUcontext before = nullptr;
  driver_->check(f.cuCtxGetCurrent(&before), "the thread's GPU is unknown");
  if (before != context_)
    driver_->check(f.cuCtxSetCurrent(context_), "the GPU cannot be made current");
  return before;
}

void CudaDevice::leave(void* before) {
  if (before != context_) driver_->functions().cuCtxSetCurrent(static_cast<CUcontext>(before));
}

std::shared_ptr<int32_t> CudaDevice::new_status() {
  int32_t* word = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) {
      void* block = nullptr;
      driver_->check(
          driver_->functions().cuMemHostAlloc(&block, kStatusWords * sizeof(int32_t),
                                              CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
          "no memory for the status of kernels");
      blocks_.push_back(block);
      for (size_t i = 0; i < kStatusWords; ++i) idle_.push_back(static_cast<int32_t*>(block) + i);
    }
    word = idle_.back();
    idle_.pop_back();
  }
  *word = 0;
  return {word, [self = shared_from_this()](int32_t* w) {
            const std::lock_guard lock(self->mutex_);
            self->idle_.push_back(w);
          }};
}

CudaLibrary::CudaLibrary(std::shared_ptr<CudaDevice> device, const std::string& image,
                         const std::string& what)
    : device_(std::move(device)) {
  const CudaDriver& driver = device_->driver();
  driver.check(driver.functions().cuLibraryLoadData(&library_, image.c_str(), nullptr, nullptr, 0,
                                                    nullptr, nullptr, 0),
               "cannot load " + what);
}

CudaLibrary::~CudaLibrary() { device_->driver().functions().cuLibraryUnload(library_); }

CUkernel CudaLibrary::kernel(const std::string& name) const {
  const CudaDriver& driver = device_->driver();
  CUkernel kernel = nullptr;
  driver.check(driver.functions().cuLibraryGetKernel(&kernel, library_, name.c_str()),
               "cannot find kernel " + name + " in its library");
  return kernel;
}

CudaKernel::CudaKernel(std::shared_ptr<const CudaLibrary> library, const loop::Kernel& k,
                       size_t alignment, MakeUnaligned make_unaligned)
    : library_(std::move(library)),
      name_(k.name),
      kernel_(library_->kernel(name_)),
      threads_x_(static_cast<unsigned>(k.threads_x)),
      threads_y_(static_cast<unsigned>(k.threads_y)),
      table_rows_(static_cast<size_t>(k.table_rows)),
      has_epilogue_(!k.epilogue.empty()),
      alignment_(alignment),
      make_unaligned_(std::move(make_unaligned)) {
  CudaDevice& device = library_->device();
  int most = 0;
  device.driver().check(
      device.driver().functions().cuKernelGetAttribute(
          &most, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel_, device.handle()),
      "cannot load kernel " + name_);
  if (k.threads_x * k.threads_y > most)
    OURJIT_RAISE(BackendError) << "kernel " << name_ << " was made for "
                               << k.threads_x * k.threads_y
                               << " threads, and the GPU can give it only " << most;
  if (!has_epilogue_) return;
  const DeviceScope scope(&device);
  device.tickets().prepare();
}

void CudaKernel::launch(const LaunchTable& table, int32_t* status, void* stream) const {
  if (table.starts[table.rows] <= 0) return;
  if (make_unaligned_ && !is_aligned(table, alignment_)) {
    std::call_once(once_, [this] { unaligned_ = make_unaligned_(); });
    return unaligned_->launch(table, status, stream);
  }
  if (table_rows_ == 0) {
    OURJIT_CHECK(table.rows == 1) << "kernel " << name_ << " takes one row of arguments";
    return launch_row(table, status, stream);
  }
  const auto most = static_cast<int64_t>(table_rows_);
  for (int64_t begin = 0; begin < table.rows; begin += most)
    launch_rows(table, begin, std::min(table.rows, begin + most), status, stream);
}

void CudaKernel::launch_row(const LaunchTable& table, int32_t* status, void* stream) const {
  thread_local std::vector<void*> parameters;
  parameters.clear();
  for (int64_t i = 0; i < table.row_pointers; ++i)
    parameters.push_back(const_cast<void**>(table.pointers + i));
  for (int64_t i = 0; i < table.row_sizes; ++i)
    parameters.push_back(const_cast<int64_t*>(table.sizes + i));
  enqueue(table.starts[1], parameters, status, stream);
}

/// The driver copies the parameters before it returns, so one buffer for each thread serves all.
void CudaKernel::launch_rows(const LaunchTable& table, int64_t begin, int64_t end, int32_t* status,
                             void* stream) const {
  const int64_t blocks = table.starts[end] - table.starts[begin];
  if (blocks == 0) return;
  check_grid(blocks);
  const auto pointers = static_cast<size_t>(table.row_pointers),
             sizes = static_cast<size_t>(table.row_sizes);
  const CudaTable layout = cuda_table(table_rows_, pointers, sizes);
  thread_local std::vector<char> bytes;
  bytes.resize(std::max(bytes.size(), layout.bytes()));
  const auto silent = std::clamp<int64_t>(table.silent - begin, 0, end - begin);
  const int32_t counts[] = {static_cast<int32_t>(end - begin), static_cast<int32_t>(silent)};
  std::memcpy(bytes.data(), counts, sizeof counts);
  for (int64_t r = begin; r <= end; ++r) {
    const auto first = static_cast<int32_t>(table.starts[r] - table.starts[begin]);
    const auto at = static_cast<size_t>(r - begin);
    std::memcpy(bytes.data() + layout.first + at * sizeof first, &first, sizeof first);
    if (r == end) break;
    char* row = bytes.data() + layout.begin + at * layout.row;
    std::memcpy(row, table.pointers + r * table.row_pointers, pointers * sizeof(void*));
    if (sizes > 0)
      std::memcpy(row + pointers * sizeof(void*), table.sizes + r * table.row_sizes,
                  sizes * sizeof(int64_t));
  }
  thread_local std::vector<void*> parameters;
  parameters.assign({bytes.data()});
  enqueue(blocks, parameters, status, stream);
}

void CudaKernel::check_grid(int64_t grid) const {
  if (grid > std::numeric_limits<int32_t>::max())
    OURJIT_RAISE(BackendError) << "kernel " << name_ << " would need " << grid
                               << " blocks, and a launch has at most 2147483647: use smaller "
                                  "tensors";
}

void CudaKernel::enqueue(int64_t grid, std::vector<void*>& parameters, int32_t* status,
                         void* stream) const {
  check_grid(grid);
  const CudaDriver& driver = library_->device().driver();
  CUdeviceptr ticket = 0;
  if (has_epilogue_) {
    ticket = library_->device().tickets().of(static_cast<CUstream>(stream));
    parameters.push_back(&ticket);
  }
  parameters.push_back(&status);
  const CUresult result = driver.functions().cuLaunchKernel(
      reinterpret_cast<CUfunction>(kernel_), static_cast<unsigned>(grid), 1, 1, threads_x_,
      threads_y_, 1, 0, static_cast<CUstream>(stream), parameters.data(), nullptr);
  driver.check_launch(result, name_);
}

}  // namespace ourjit
