#include "adapter/nan_check.h"

#include <ATen/ops/any.h>
#include <ATen/ops/isnan.h>

#include <algorithm>

#include "adapter/dtypes.h"

namespace ourjit {

namespace {

constexpr int kNobody = -1;  // there is no NaN
constexpr int kCaller = -2;  // it came with an input

bool can_hold_nan(c10::ScalarType t) { return c10::isFloatingType(t) || c10::isComplexType(t); }

bool holds_nan(const at::Tensor& t) {
  if (!t.defined() || !can_hold_nan(t.scalar_type()) || t.numel() == 0) return false;
  // ATen compares few of the narrow floats.
  const bool narrow = t.element_size() == 1;
  return at::isnan(narrow ? t.to(c10::kFloat) : t).any().item<bool>();
}

}  // namespace

NanCheck::NanCheck(const PlanInstance& instance)
    : instance_(instance), tensors_(instance), made_by_(instance.buffer_bytes.size(), kNobody) {
  const auto cannot = [&](int t) {
    return !can_hold_nan(to_torch(instance.tensors[static_cast<size_t>(t)].dtype));
  };
  for (const PlanStep& s : instance.plan->steps) {
    StepAccess& access = access_.emplace_back(step_access(*instance.plan, s));
    std::erase_if(access.read, cannot);
    std::erase_if(access.written, cannot);
  }
}

void NanCheck::begin_call() { std::fill(made_by_.begin(), made_by_.end(), kNobody); }

bool NanCheck::has_nan(int tensor, void* const* buffers) {
  const at::Tensor& t = tensors_.get(tensor);
  tensors_.bind(tensor, buffers);
  return holds_nan(t);
}

void NanCheck::begin_step(int step, void* const* buffers) {
  operands_ = kNobody;
  for (int t : access_[static_cast<size_t>(step)].read) {
    if (!has_nan(t, buffers)) continue;
    const auto b = static_cast<size_t>(instance_.tensors[static_cast<size_t>(t)].buffer);
    operands_ = made_by_[b] == kNobody ? kCaller : made_by_[b];
    // Of two NaNs that meet, the one that a step made is told.
    if (operands_ >= 0) return;
  }
}

void NanCheck::end_step(int step, void* const* buffers) {
  for (int t : access_[static_cast<size_t>(step)].written) {
    const auto b = static_cast<size_t>(instance_.tensors[static_cast<size_t>(t)].buffer);
    int& by = made_by_[b];
    const bool input = instance_.plan->buffers[b].kind == BufferKind::Input;
    if (by != kNobody && !input) continue;
    if (!has_nan(t, buffers))
      by = kNobody;
    else if (by == kNobody)
      by = operands_ == kNobody ? step : operands_;
  }
}

void NanCheck::end_call(const std::vector<CallValue>& outputs) const {
  const Plan& plan = *instance_.plan;
  const auto made_by = [&](int tensor) {
    return made_by_[static_cast<size_t>(instance_.tensors[static_cast<size_t>(tensor)].buffer)];
  };
  for (size_t i = 0; i < outputs.size(); ++i)
    if (const int t = plan.outputs[i].tensor;
        t >= 0 && made_by(t) >= 0 && holds_nan(outputs[i].tensor))
      raise(made_by(t), "output " + std::to_string(i));
  for (size_t b = 0; b < plan.buffers.size(); ++b)
    if (plan.buffers[b].kind == BufferKind::Input && made_by_[b] >= 0)
      raise(made_by_[b],
            "input " + std::to_string(plan.buffers[b].input) + ", which is written to");
}

void NanCheck::raise(int step, const std::string& where) const {
  const PlanStep& s = instance_.plan->steps[static_cast<size_t>(step)];
  std::string text = instance_.plan->name + ": " + step_name(*instance_.plan, s) +
                     " made a NaN of operands without one, and it leaves as " + where;
  for (const std::string& line : provenance(s)) text += "\n  " + line;
  throw NotANumber(text);
}

}  // namespace ourjit
