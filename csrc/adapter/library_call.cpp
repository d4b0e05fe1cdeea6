#include "adapter/library_call.h"

#include <ATen/core/List.h>

#include <algorithm>
#include <limits>

#include "adapter/dtypes.h"
#include "adapter/operators.h"
#include "base/error.h"
#include "runtime/memory_plan.h"

namespace ourjit {

namespace {

using Arguments = std::vector<c10::IValue>;

/// Operators may mark a result as conjugated or negated instead of writing the numbers.
void hold_numbers(const at::Tensor& t) {
  if (t.is_conj()) {
    t._set_conj(false);
    t.conj_physical_();
  }
  if (t.is_neg()) {
    t._set_neg(false);
    t.neg_();
  }
}

std::string shape(c10::IntArrayRef sizes) {
  std::string s = "[";
  for (size_t i = 0; i < sizes.size(); ++i) s += (i ? ", " : "") + std::to_string(sizes[i]);
  return s + "]";
}

}  // namespace

BorrowedTensors::BorrowedTensors(const PlanInstance& instance)
    : instance_(instance), device_(instance.plan->tensors_on), tensors_(instance.tensors.size()) {}

const at::Tensor& BorrowedTensors::get(int tensor) {
  auto& slot = tensors_[static_cast<size_t>(tensor)];
  if (!slot) {
    const InstanceTensor& t = instance_.tensors[static_cast<size_t>(tensor)];
    slot = std::make_unique<BorrowedTensor>(to_torch(t.dtype), t.sizes, t.strides, device_);
  }
  return slot->tensor();
}

void BorrowedTensors::bind(int tensor, void* const* buffers) {
  const InstanceTensor& t = instance_.tensors[static_cast<size_t>(tensor)];
  tensors_[static_cast<size_t>(tensor)]->bind(
      static_cast<char*>(buffers[static_cast<size_t>(t.buffer)]) + t.byte_offset);
}

LibraryCall::LibraryCall(const PlanInstance& instance, int step, BorrowedTensors& tensors)
    : instance_(instance),
      step_(std::get<CallStep>(instance.plan->steps[static_cast<size_t>(step)])) {
  is_seed_ = is_rng_seed(step_.target);
  for (int t : step_tensors(step_)) {
    tensors.get(t);
    if (std::find(bound_.begin(), bound_.end(), t) == bound_.end()) bound_.push_back(t);
  }
  if (is_seed_) return;
  const c10::OperatorHandle functional = find_operator(step_.target);
  arguments_ = make_arguments(
      functional, step_.args,
      {[&](const Sym& s) { return instance.eval(s); }, [&](int t) { return tensors.get(t); }});
  foreign_ = !step_.target.starts_with("aten.");
  const c10::DeviceType device = tensors.device().type();
  if (step_.into_results && device == c10::kCPU) native_ = find_native_call(step_.target);
  if (native_) {
    op_ = functional;
    for (int t : step_.results) results_.push_back(t >= 0 ? tensors.get(t) : at::Tensor());
  } else if (step_.into_results) {
    const bool multiplies = step_.target == "aten.mm.default" || step_.target == "aten.bmm.default";
    if (multiplies && device == c10::kCPU) product_.emplace(instance.plan->matmul);
    op_ = find_out_variant(step_.target, device);
    OURJIT_CHECK(op_) << step_.target << " does not write into given memory";
    for (int t : step_.results) {
      OURJIT_CHECK(t >= 0) << step_.target << ": a result without memory";
      arguments_.emplace_back(tensors.get(t));
    }
  } else {
    op_ = functional;
    // Results that the plan wants copied into memory of its own need not be bound: keep() does it.
    std::erase_if(bound_, [&](int t) {
      const int b = instance.tensors[static_cast<size_t>(t)].buffer;
      return instance.plan->buffers[static_cast<size_t>(b)].kind == BufferKind::CallResult &&
             std::find(step_.results.begin(), step_.results.end(), t) != step_.results.end();
    });
  }
}

/// Replaces borrowed tensors on the stack by copies that own their memory.
void LibraryCall::own_operands() {
  const auto own = [](const at::Tensor& t) {
    return t.defined() && is_borrowed(t) ? copy_with_strides(t, t.strides()) : t;
  };
  for (c10::IValue& v : stack_) {
    if (v.isTensor()) {
      v = own(v.toTensor());
    } else if (v.isTensorList()) {
      c10::List<at::Tensor> copies;
      for (const at::Tensor& t : v.toTensorVector()) copies.push_back(own(t));
      v = copies;
    } else if (v.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> copies;
      for (const std::optional<at::Tensor>& t : v.toOptionalTensorVector())
        copies.push_back(t ? std::optional(own(*t)) : std::nullopt);
      v = copies;
    }
  }
}

void LibraryCall::run(void** buffers, BorrowedTensors& tensors, HeldResults& held) {
  for (int t : bound_) tensors.bind(t, buffers);
  if (is_seed_) {
    const at::Tensor& seed = tensors.get(step_.results[0]);
    // Other devices draw on their own: nothing waits for the host, and captured graphs draw anew at
    // each replay.
    if (seed.is_cpu())
      *seed.mutable_data_ptr<int64_t>() = draw_seed();
    else
      seed.random_(std::numeric_limits<int64_t>::min(), std::optional<int64_t>());
    return;
  }
  if (product_) {
    at::Tensor out = tensors.get(step_.results[0]);
    product_->run(arguments_[0].toTensor(), arguments_[1].toTensor(), out);
    return;
  }
  if (native_ && native_(arguments_, results_)) return;
  stack_ = arguments_;
  if (foreign_) own_operands();
  op_->callBoxed(stack_);
  if (step_.into_results && !native_) {
    stack_.clear();
    for (int t : step_.results) hold_numbers(tensors.get(t));
    return;
  }
  std::vector<at::Tensor> results = flatten_results(stack_);
  for (size_t i = 0; i < step_.results.size(); ++i) {
    if (step_.results[i] < 0) continue;
    const InstanceTensor& traced = instance_.tensors[static_cast<size_t>(step_.results[i])];
    OURJIT_CHECK(i < results.size() && (results[i].defined() || is_empty(traced)))
        << step_.target << " returned no tensor as result " << i;
    // Traces have a tensor without elements where kernels may return none.
    if (results[i].defined()) keep(std::move(results[i]), step_.results[i], buffers, tensors, held);
  }
}

/// Brings a result where the plan expects it, with the strides that it expects.
void LibraryCall::keep(at::Tensor result, int tensor, void** buffers, BorrowedTensors& tensors,
                       HeldResults& held) const {
  const InstanceTensor& t = instance_.tensors[static_cast<size_t>(tensor)];
  if (result.sizes() != c10::IntArrayRef(t.sizes) || result.scalar_type() != to_torch(t.dtype))
    OURJIT_RAISE(InternalError) << step_.target << " returned "
                                << c10::toString(result.scalar_type()) << shape(result.sizes())
                                << " but was traced to return " << dtype_name(t.dtype)
                                << shape(t.sizes) << (step_.loc.empty() ? "" : " at ") << step_.loc;
  const auto buffer = static_cast<size_t>(t.buffer);
  if (instance_.plan->buffers[buffer].kind != BufferKind::CallResult) {
    const at::Tensor& place = tensors.get(tensor);
    if (place.data_ptr() != result.data_ptr()) place.copy_(result);
    return;
  }
  // Plan memory holds the numbers themselves, not their conjugates or negatives.
  const bool as_expected =
      same_strides(t.sizes, result.strides(), t.strides) && !result.is_conj() && !result.is_neg();
  // A result that is a view of plan memory would change under our hands, and may not leave the
  // call.
  if (!as_expected || is_borrowed(result)) result = copy_with_strides(result, t.strides);
  buffers[buffer] = static_cast<char*>(result.data_ptr()) - t.byte_offset;
  held[buffer] = std::move(result);
}

}  // namespace ourjit
