// Registers with torch what its CUDA library would: allocator, device guard, streams, generators.
// The devices are those of the emulated driver, whose current context is torch's current device.
#include "torch_cuda.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "driver.h"

namespace ourjit::emulator {
namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::Stream;

Device cuda(int index) { return {c10::kCUDA, static_cast<DeviceIndex>(index)}; }

/// As the CUDA runtime: a thread without a context is on device 0.
int device_or_first() { return std::max(current_device(), 0); }

thread_local std::array<c10::StreamId, kDevices> current_streams{};

std::string place(int device, c10::StreamId stream) {
  return ", \"device\": " + std::to_string(device) + ", \"stream\": " +
         std::to_string(reinterpret_cast<uintptr_t>(stream_handle(device, stream)));
}

class CudaAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const int index = device_or_first();
    if (bytes == 0) return {nullptr, cuda(index)};
    record("allocate", place(index, current_streams[static_cast<size_t>(index)]) +
                           ", \"bytes\": " + std::to_string(bytes));
    void* p = emulator::allocate(index, bytes);
    return {p, p, &release, cuda(index)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

struct CudaGuard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  Device getDevice() const override { return cuda(device_or_first()); }
  void setDevice(Device d) const override {
    TORCH_CHECK(d.is_cuda() && d.index() < kDevices, "there is no device ", d);
    if (d.index() >= 0) set_current_device(d.index());
  }
  // A device that is current already, if only for lack of a context, gets none.
  Device exchangeDevice(Device d) const override {
    const Device before = getDevice();
    if (d != before) setDevice(d);
    return before;
  }
  void uncheckedSetDevice(Device d) const noexcept override {
    if (d != getDevice()) set_current_device(d.index());
  }
  DeviceIndex deviceCount() const noexcept override { return kDevices; }

  Stream getStream(Device d) const override {
    if (!d.has_index()) d = getDevice();
    return Stream(Stream::UNSAFE, d, current_streams[static_cast<size_t>(d.index())]);
  }
  Stream getDefaultStream(Device d) const override { return Stream(Stream::DEFAULT, d); }
  Stream getNewStream(Device d, int) const override {
    static std::atomic<c10::StreamId> last{0};
    return Stream(Stream::UNSAFE, d.has_index() ? d : getDevice(), ++last % (kStreams - 1) + 1);
  }
  Stream getStreamFromGlobalPool(Device d, bool) const override { return getNewStream(d, 0); }
  Stream exchangeStream(Stream s) const override {
    const Stream before = getStream(s.device());
    current_streams[static_cast<size_t>(s.device_index())] = s.id();
    return before;
  }
  void* getStreamNativeHandle(const Stream s) const override {
    return stream_handle(s.device_index(), s.id());
  }

  // What is enqueued has run when the call that did so returns.
  void record(void** event, const Stream& s, DeviceIndex, c10::EventFlag) const override {
    static int any = 0;
    *event = &any;
    emulator::record("event_record", place(s.device_index(), s.id()));
  }
  void block(void*, const Stream& s) const override {
    emulator::record("stream_wait", place(s.device_index(), s.id()));
  }
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream& s) const override {
    emulator::record("synchronize", place(s.device_index(), s.id()));
  }
  void synchronizeEvent(void*) const override { emulator::record("synchronize"); }
  void synchronizeDevice(DeviceIndex) const override { emulator::record("synchronize"); }
};

C10_REGISTER_GUARD_IMPL(CUDA, CudaGuard)

/// Torch's CPU generator under the name of another device.
struct CudaGenerator final : at::CPUGeneratorImpl {
  explicit CudaGenerator(DeviceIndex index) {
    device_ = cuda(index);
    key_set_ = c10::DispatchKeySet(c10::DispatchKey::CUDA);
  }

 private:
  CudaGenerator* clone_impl() const override {
    auto* copy = new CudaGenerator(device_.index());
    copy->set_state(*get_state());
    return copy;
  }
};

struct CudaHooks final : at::CUDAHooksInterface {
  explicit CudaHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return kDevices; }
  DeviceIndex deviceCount() const override { return kDevices; }
  DeviceIndex current_device() const override { return getCurrentDevice(); }
  DeviceIndex getCurrentDevice() const override {
    return static_cast<DeviceIndex>(device_or_first());
  }
  void setCurrentDevice(DeviceIndex index) const override { set_current_device(index); }
  DeviceIndex exchangeDevice(DeviceIndex index) const override {
    const DeviceIndex before = getCurrentDevice();
    set_current_device(index);
    return before;
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex index) const override {
    return exchangeDevice(index);
  }
  Device getDeviceFromPtr(void* p) const override { return cuda(device_of(p)); }
  c10::Allocator* getCUDADeviceAllocator() const override { return &cuda_allocator(); }
  const at::Generator& getDefaultGenerator(DeviceIndex index) const override {
    return cuda_generator(index < 0 ? getCurrentDevice() : index);
  }
  at::Generator getNewGenerator(DeviceIndex index) const override {
    return at::make_generator<CudaGenerator>(index < 0 ? getCurrentDevice() : index);
  }
};

const bool registered = [] {
  c10::SetAllocator(c10::kCUDA, &cuda_allocator());
  at::CUDAHooksRegistry()->Register("CUDAHooks", [](at::CUDAHooksArgs a) {
    return std::unique_ptr<at::CUDAHooksInterface>(new CudaHooks(a));
  });
  return true;
}();

}  // namespace

c10::Allocator& cuda_allocator() {
  static CudaAllocator& allocator = *new CudaAllocator;
  return allocator;
}

const at::Generator& cuda_generator(DeviceIndex index) {
  static const std::array<at::Generator, kDevices>& generators =
      *new std::array<at::Generator, kDevices>{at::make_generator<CudaGenerator>(DeviceIndex{0}),
                                               at::make_generator<CudaGenerator>(DeviceIndex{1})};
  return generators.at(static_cast<size_t>(index));
}

}  // namespace ourjit::emulator

TORCH_LIBRARY(emulated_cuda, m) {
  m.def("default_generator", [](int64_t device) {
    return ourjit::emulator::cuda_generator(static_cast<c10::DeviceIndex>(device));
  });
}
