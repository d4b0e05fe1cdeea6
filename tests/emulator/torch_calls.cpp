// Operators on CUDA tensors, by the CPU's kernels: each sees CPU tensors in the memory of its
// operands, and its results move to memory of the device.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "driver.h"
#include "torch_cuda.h"

namespace ourjit::emulator {
namespace {

using c10::Device;
using c10::IValue;

/// Operators that take tensors of different devices.
const std::set<std::string> kMixed = {
    "aten::copy_", "aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::set_",
};

/// While it lives, the CPU's default generator is the given one, if any.
class DrawFrom {
 public:
  explicit DrawFrom(at::Generator generator) : generator_(std::move(generator)) {
    if (!generator_.defined()) return;
    lock_ = std::unique_lock(generator_.mutex());
    before_ = default_.get_state();
    default_.set_state(generator_.get_state());
  }
  ~DrawFrom() {
    if (!generator_.defined()) return;
    generator_.set_state(default_.get_state());
    default_.set_state(before_);
  }
  DrawFrom(const DrawFrom&) = delete;
  DrawFrom& operator=(const DrawFrom&) = delete;

 private:
  at::Generator generator_, default_ = at::detail::getDefaultCPUGenerator();
  std::unique_lock<std::mutex> lock_;
  at::Tensor before_;
};

/// The operands of one call as CPU tensors, and the way back.
class HostCall {
 public:
  HostCall(const c10::OperatorHandle& op, c10::Stack& stack) : op_(op), stack_(stack) {
    const size_t n = op.schema().arguments().size();
    const size_t first = stack.size() - n;
    // The device is that of the first tensor on one, or the one that is asked for.
    for (size_t i = first; i < stack.size() && !device_; ++i) find_device(stack[i]);
    originals_.assign(stack.begin() + static_cast<std::ptrdiff_t>(first), stack.end());
    guard_.reset_device(device_.value_or(Device(c10::kCUDA)));
    device_ = c10::impl::getDeviceGuardImpl(c10::kCUDA)->getDevice();
    for (size_t i = 0; i < n; ++i) {
      IValue& v = stack[first + i];
      if (op.schema().arguments()[i].name() == "generator") {
        if (!v.isNone()) generator_ = v.toGenerator();
        v = IValue();
      } else {
        v = to_host(v);
      }
    }
    if (!generator_.defined() && op.hasTag(at::Tag::nondeterministic_seeded))
      generator_ = cuda_generator(device_->index());
  }

  void run() {
    // A replay would read the host's memory as it is then: nobody wants that.
    TORCH_CHECK(!captured_graph() || !(reads_element() || is_between_host_and_device()),
                "operation not permitted when stream is capturing");
    if (reads_element() || (is_between_host_and_device() && !originals_[2].toBool()))
      record("synchronize");
    const size_t results = op_.schema().returns().size();
    if (Graph* graph = captured_graph()) {
      // The call runs now for the form of its results alone.
      const c10::Stack arguments(stack_.end() - static_cast<std::ptrdiff_t>(originals_.size()),
                                 stack_.end());
      std::vector<std::string> before;
      for (const auto& [device, host] : storages_)
        before.emplace_back(static_cast<const char*>(host.data()), host.nbytes());
      call_host(op_, generator_, stack_);
      for (size_t i = 0; i < before.size(); ++i)
        std::memcpy(storages_[i].first.mutable_data(), before[i].data(), before[i].size());
      finish(results);
      graph->steps.push_back(repetition(arguments, results));
    } else {
      call_host(op_, generator_, stack_);
      finish(results);
    }
  }

 private:
  bool reads_element() const { return op_.operator_name().name == "aten::_local_scalar_dense"; }
  bool is_between_host_and_device() const {
    return op_.operator_name().name == "aten::copy_" &&
           originals_[0].toTensor().is_cuda() != originals_[1].toTensor().is_cuda();
  }

  static void call_host(const c10::OperatorHandle& op, const at::Generator& generator,
                        c10::Stack& stack) {
    const DrawFrom draws(generator);
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
  }

  void finish(size_t results) {
    for (const auto& [tensor, host] : operands_) update(tensor, host);
    for (size_t i = stack_.size() - results; i < stack_.size(); ++i)
      stack_[i] = to_device(stack_[i]);
  }

  /// The tensors among the last values of a stack.
  static std::vector<at::Tensor> results_of(const c10::Stack& stack, size_t count) {
    std::vector<at::Tensor> found;
    for (size_t i = stack.size() - count; i < stack.size(); ++i) {
      if (stack[i].isTensor()) found.push_back(stack[i].toTensor());
      if (stack[i].isTensorList())
        for (const at::Tensor& t : stack[i].toTensorVector()) found.push_back(t);
    }
    return found;
  }

  /// Makes the call again: from the same memory, into the memory of the results on the stack.
  std::function<void()> repetition(const c10::Stack& arguments, size_t results) const {
    std::vector<void*> places;
    for (const at::Tensor& t : results_of(stack_, results))
      places.push_back(t.defined() && t.is_cuda() ? t.storage().mutable_data() : nullptr);
    return [op = op_, generator = generator_, arguments, results, places] {
      c10::Stack stack = arguments;
      call_host(op, generator, stack);
      const std::vector<at::Tensor> made = results_of(stack, results);
      for (size_t i = 0; i < made.size(); ++i)
        if (places[i] && made[i].storage().data() != places[i])
          std::memcpy(places[i], made[i].storage().data(), made[i].storage().nbytes());
    };
  }

  void find_device(const IValue& v) {
    if (v.isTensor()) {
      if (v.toTensor().defined() && v.toTensor().is_cuda()) device_ = v.toTensor().device();
    } else if (v.isDevice()) {
      if (v.toDevice().is_cuda()) device_ = v.toDevice();
    } else if (v.isList()) {
      for (const IValue& item : v.toListRef())
        if (!device_) find_device(item);
    }
  }

  IValue to_host(const IValue& v) {
    if (v.isTensor()) return host(v.toTensor());
    if (v.isStorage()) return host(v.toStorage());
    if (v.isDevice()) return v.toDevice().is_cuda() ? Device(c10::kCPU) : v.toDevice();
    if (v.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : v.toTensorVector()) list.push_back(host(t));
      return list;
    }
    if (v.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& t : v.toOptionalTensorVector())
        list.push_back(t ? std::optional(host(*t)) : std::nullopt);
      return list;
    }
    return v;
  }

  at::Tensor host(const at::Tensor& t) {
    if (!t.defined()) return t;
    const bool mixed = kMixed.contains(op_.operator_name().name);
    if (!t.is_cuda()) {
      TORCH_CHECK(mixed || t.dim() == 0 || !t.is_cpu(),
                  "Expected all tensors to be on the same device, but found at least two devices, ",
                  *device_, " and ", t.device(), "!");
      if (t.has_storage()) hosts_own_.insert(t.storage().unsafeGetStorageImpl());
      return t;
    }
    TORCH_CHECK(mixed || t.device() == *device_,
                "Expected all tensors to be on the same device, but found at least two devices, ",
                *device_, " and ", t.device(), "!");
    for (const auto& [tensor, host] : operands_)
      if (tensor.is_same(t)) return host;
    at::Tensor made = at::detail::make_tensor<c10::TensorImpl>(
        host(t.storage()), c10::DispatchKeySet(c10::DispatchKey::CPU), t.dtype());
    made.unsafeGetTensorImpl()->set_sizes_and_strides(t.sizes(), t.strides(), t.storage_offset());
    made._set_conj(t.is_conj());
    made._set_neg(t.is_neg());
    if (t.unsafeGetTensorImpl()->is_wrapped_number())
      made.unsafeGetTensorImpl()->set_wrapped_number(true);
    operands_.emplace_back(t, made);
    return made;
  }

  c10::Storage host(const c10::Storage& s) {
    if (!s || !s.device().is_cuda()) return s;
    for (const auto& [device, host] : storages_)
      if (device.is_alias_of(s)) return host;
    c10::Storage made(c10::Storage::use_byte_size_t{}, s.nbytes(),
                      c10::DataPtr(s.mutable_data(), Device(c10::kCPU)), c10::GetCPUAllocator(),
                      /*resizable=*/true);
    storages_.emplace_back(s, made);
    return made;
  }

  IValue to_device(const IValue& v) {
    if (v.isTensor()) return device(v.toTensor());
    if (v.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : v.toTensorVector()) list.push_back(device(t));
      return list;
    }
    return v;
  }

  at::Tensor device(const at::Tensor& host) {
    if (!host.defined() || !host.is_cpu()) return host;
    TORCH_CHECK(host.layout() == c10::kStrided && !host.is_nested(), op_.operator_name(),
                ": emulated devices have dense tensors only");
    for (const auto& [tensor, made] : operands_)
      if (made.is_same(host)) return tensor;
    if (hosts_own_.contains(host.storage().unsafeGetStorageImpl())) return host;
    at::Tensor made = new_tensor(device(host.storage()), host);
    made.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(),
                                                      host.storage_offset());
    made._set_conj(host.is_conj());
    made._set_neg(host.is_neg());
    return made;
  }

  /// A view of an operand, or a tensor of its own.
  at::Tensor new_tensor(c10::Storage storage, const at::Tensor& host) const {
    for (const auto& [tensor, ignored] : operands_)
      if (tensor.storage().is_alias_of(storage))
        return at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, std::move(storage),
                                                        tensor.key_set(), host.dtype());
    c10::DispatchKeySet keys(c10::DispatchKey::CUDA);
    if (host._is_zerotensor()) keys = keys.add(c10::DispatchKey::ZeroTensor);
    return at::detail::make_tensor<c10::TensorImpl>(std::move(storage), keys, host.dtype());
  }

  c10::Storage device(const c10::Storage& host) {
    for (const auto& [device, made] : storages_)
      if (made.is_alias_of(host)) return device;
    // A tensor that stands for zeros has none of its bytes.
    c10::DataPtr memory = cuda_allocator().allocate(host.data() ? host.nbytes() : 0);
    if (host.data()) std::memcpy(memory.get(), host.data(), host.nbytes());
    c10::Storage made(c10::Storage::use_byte_size_t{}, host.nbytes(), std::move(memory),
                      &cuda_allocator(), /*resizable=*/true);
    storages_.emplace_back(made, host);
    return made;
  }

  /// Takes over what the call did to an operand besides writing its elements.
  void update(const at::Tensor& tensor, const at::Tensor& host) {
    const c10::Storage& now = host.storage();
    for (const auto& [device, made] : storages_)
      if (made.is_alias_of(now) && made.data() != device.data()) resize(device, made);
    c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
    const c10::Storage storage = device(now);
    if (!storage.is_alias_of(tensor.storage())) impl->set_storage_keep_dtype(storage);
    if (host.sizes() != tensor.sizes() || host.strides() != tensor.strides() ||
        host.storage_offset() != tensor.storage_offset())
      impl->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
    tensor._set_conj(host.is_conj());
    tensor._set_neg(host.is_neg());
  }

  static void resize(const c10::Storage& device, const c10::Storage& host) {
    c10::DataPtr memory = cuda_allocator().allocate(host.nbytes());
    if (host.nbytes() > 0) std::memcpy(memory.get(), host.data(), host.nbytes());
    device.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(memory));
    device.unsafeGetStorageImpl()->set_nbytes(host.nbytes());
  }

  const c10::OperatorHandle& op_;
  c10::Stack& stack_;
  std::vector<IValue> originals_;  // kept alive: the call sees their memory alone
  std::optional<Device> device_;
  c10::OptionalDeviceGuard guard_;
  std::vector<std::pair<at::Tensor, at::Tensor>> operands_;      // CUDA, CPU
  std::vector<std::pair<c10::Storage, c10::Storage>> storages_;  // CUDA, CPU
  std::set<c10::StorageImpl*> hosts_own_;
  at::Generator generator_;  // that the call draws from, if any
};

void call(const c10::OperatorHandle& op, c10::DispatchKeySet, c10::Stack* stack) {
  HostCall(op, *stack).run();
}

/// What has a kernel on the CPU has one on the device, and so have operators that choose theirs by
/// the device of a tensor.
const bool registered = [] {
  static torch::Library& library =
      *new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  auto& dispatcher = c10::Dispatcher::singleton();
  std::vector<c10::OperatorName> names = {
      {"aten::copy_", ""}, {"aten::convolution", ""}, {"aten::convolution_backward", ""}};
  for (const c10::OperatorName& name :
       dispatcher.getRegistrationsForDispatchKey(c10::DispatchKey::CPU))
    names.push_back(name);
  for (const c10::OperatorName& name : names) {
    const auto op = dispatcher.findSchema(name);
    if (!name.name.starts_with("aten::") || !op ||
        op->hasKernelForDispatchKey(c10::DispatchKey::CUDA))
      continue;
    const std::string overload =
        name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
    library.impl(overload.c_str(), torch::CppFunction::makeFromBoxedFunction<&call>());
  }
  return true;
}();

}  // namespace
}  // namespace ourjit::emulator
