#include "adapter/call_frame.h"

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>

#include "adapter/dtypes.h"
#include "base/error.h"

namespace ourjit {

namespace {

/// Library calls run below autograd and autocast: the captured graph has both worked in already.
struct BelowAutograd {
  at::AutoDispatchBelowADInplaceOrView below;
  c10::impl::ExcludeDispatchKeyGuard no_autocast{c10::autocast_dispatch_keyset};
  UseProcessCache memory;
};

/// Autograd sees a write to one of two tensors in one memory by the version that both count.
void share_version(const at::Tensor& t, const at::Tensor& with) {
  if (!t.is_inference() && !with.is_inference())
    t.unsafeGetTensorImpl()->set_version_counter(with.unsafeGetTensorImpl()->version_counter());
}

}  // namespace

CallFrame::CallFrame(const PlanInstance& instance)
    : instance_(instance),
      device_(instance.plan->tensors_on),
      frame_(instance),
      borrowed_(instance),
      calls_(instance.steps.size()),
      storages_(instance.buffer_bytes.size()),
      held_(instance.buffer_bytes.size()) {
  if (instance.plan->check_nan) nan_check_.emplace(instance);
}

std::vector<CallValue> CallFrame::run(std::vector<CallValue>& inputs, ArenaPool& arenas,
                                      bool profiled) {
  struct Clear {
    CallFrame& frame;
    ~Clear() { frame.clear(); }
  } clear_at_end{*this};
  inputs_.swap(inputs);
  profiled_ = profiled;
  const std::vector<PlanBuffer>& buffers = instance_.plan->buffers;
  for (size_t b = 0; b < buffers.size(); ++b)
    if (buffers[b].kind == BufferKind::Input)
      frame_.buffers[b] = inputs_[static_cast<size_t>(buffers[b].input)].tensor.data_ptr();
  if (nan_check_) nan_check_->begin_call();
  {
    std::optional<BelowAutograd> guard;
    if (instance_.has_calls || nan_check_) guard.emplace();
    if (device_.is_cpu()) {
      ourjit::run(instance_, frame_, arenas, *this);
    } else {
      // Work on the device may still run when this returns. Its allocator gives memory out again in
      // the order of the stream.
      const c10::DeviceGuard on_device(device_);
      const c10::Storage arena = new_storage(instance_.arena_bytes, device_);
      ourjit::run(instance_, frame_, static_cast<char*>(arena.mutable_data()), *this);
    }
  }
  std::vector<CallValue> outputs = make_outputs();
  if (nan_check_) {
    const BelowAutograd guard;
    nan_check_->end_call(outputs);
  }
  return outputs;
}

std::vector<CallValue> CallFrame::make_outputs() {
  const std::vector<PlanOutput>& plan_outputs = instance_.plan->outputs;
  std::vector<CallValue> outputs(plan_outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const PlanOutput& o = plan_outputs[i];
    if (o.same_as >= 0) {
      outputs[i].tensor = outputs[static_cast<size_t>(o.same_as)].tensor;
    } else if (o.shares >= 0 && plan_outputs[static_cast<size_t>(o.shares)].tensor == o.tensor) {
      outputs[i].tensor = outputs[static_cast<size_t>(o.shares)].tensor.detach();
    } else if (o.tensor >= 0) {
      outputs[i].tensor = output(o.tensor);
      if (o.shares >= 0 && !is_input(o.tensor))
        share_version(outputs[i].tensor, outputs[static_cast<size_t>(o.shares)].tensor);
    } else {
      outputs[i].number = instance_.numbers[i];
    }
  }
  return outputs;
}

/// A tensor that leaves the call: over memory allocated for it, of a library call's result or of an
/// input. Of an input that autograd watches it is a view as autograd knows them, so that writing to
/// either is noticed.
at::Tensor CallFrame::output(int tensor) {
  const InstanceTensor& t = instance_.tensors[static_cast<size_t>(tensor)];
  const auto b = static_cast<size_t>(t.buffer);
  const PlanBuffer& buffer = instance_.plan->buffers[b];
  if (buffer.kind == BufferKind::Output)
    return make_tensor(storages_[b], to_torch(t.dtype), t.sizes, t.strides, t.byte_offset);
  OURJIT_CHECK(buffer.kind != BufferKind::Temp) << buffer.name << " is temporary";
  const at::Tensor& base = buffer.kind == BufferKind::Input
                               ? inputs_[static_cast<size_t>(buffer.input)].tensor
                               : held_[b];
  // A library call may have returned no tensor where its trace has one without elements.
  if (!base.defined() && buffer.kind == BufferKind::CallResult && is_empty(t)) return base;
  OURJIT_CHECK(base.defined()) << buffer.name << " is not there any more";
  const bool itself = t.byte_offset == 0 && base.scalar_type() == to_torch(t.dtype) &&
                      base.sizes() == c10::IntArrayRef(t.sizes) &&
                      same_strides(t.sizes, base.strides(), t.strides);
  if (itself) return base;
  if (base.requires_grad() && base.scalar_type() == to_torch(t.dtype)) {
    const at::NoGradGuard outside;
    return base.as_strided(t.sizes, t.strides,
                           base.storage_offset() + t.byte_offset / base.element_size());
  }
  at::Tensor within = tensor_within(base, to_torch(t.dtype), t.sizes, t.strides, t.byte_offset);
  share_version(within, base);
  return within;
}

bool CallFrame::is_input(int tensor) const {
  const auto b = static_cast<size_t>(instance_.tensors[static_cast<size_t>(tensor)].buffer);
  return instance_.plan->buffers[b].kind == BufferKind::Input;
}

std::vector<CallValue> CallFrame::run_timed(std::vector<CallValue>& inputs, ArenaPool& arenas,
                                            std::vector<double>& step_seconds) {
  step_seconds.resize(instance_.steps.size());
  step_seconds_ = &step_seconds;
  return run(inputs, arenas, false);
}

void CallFrame::begin_step(int step) {
  if (nan_check_) nan_check_->begin_step(step, frame_.buffers.data());
  if (step_seconds_) step_began_ = std::chrono::steady_clock::now();
  if (!profiled_) return;
  const PlanStep& s = instance_.plan->steps[static_cast<size_t>(step)];
  record_.begin(step_name(*instance_.plan, s), provenance(s));
}

void CallFrame::end_step(int step) {
  record_.end();
  if (step_seconds_) {
    if (!device_.is_cpu())
      c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).synchronize();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - step_began_;
    (*step_seconds_)[static_cast<size_t>(step)] += took.count();
  }
  if (nan_check_) nan_check_->end_step(step, frame_.buffers.data());
}

void* CallFrame::stream() {
  if (device_.is_cpu()) return nullptr;
  return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).native_handle();
}

void CallFrame::clear() {
  record_.end();
  step_seconds_ = nullptr;
  for (CallValue& v : inputs_) v.tensor.reset();
  for (c10::Storage& s : storages_) s = c10::Storage();
  for (at::Tensor& t : held_) t.reset();
  inputs_.clear();
}

void CallFrame::parallel_for(int64_t n, int64_t grain, TaskFunction task, void* context) {
  at::parallel_for(0, n, grain,
                   [task, context](int64_t begin, int64_t end) { task(context, begin, end); });
}

void CallFrame::call(int step, void** buffers) {
  auto& c = calls_[static_cast<size_t>(step)];
  if (!c) c = std::make_unique<LibraryCall>(instance_, step, borrowed_);
  c->run(buffers, borrowed_, held_);
}

void* CallFrame::allocate(int buffer, int64_t bytes) {
  c10::Storage& s = storages_[static_cast<size_t>(buffer)];
  s = new_storage(bytes, device_);
  return s.mutable_data();
}

void CallFrame::release(int buffer) {
  const PlanBuffer& b = instance_.plan->buffers[static_cast<size_t>(buffer)];
  if (b.kind == BufferKind::Input)
    inputs_[static_cast<size_t>(b.input)].tensor.reset();
  else
    held_[static_cast<size_t>(buffer)].reset();
}

}  // namespace ourjit
