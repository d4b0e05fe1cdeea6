// Option check_nan: finds the step of a plan that made a NaN of operands without one.
#pragma once

#include <string>
#include <vector>

#include "adapter/executable.h"
#include "adapter/library_call.h"
#include "base/error.h"
#include "runtime/instance.h"
#include "runtime/memory_plan.h"

namespace ourjit {

/// A step made a NaN of operands without one, and the NaN left the graph.
class NotANumber : public Error {
  using Error::Error;
};

/// Follows the NaNs of a call from step to step. One that an input brought along is nobody's fault,
/// and neither is one that a later step masks: operators such as xlogy are made of steps whose NaNs
/// do not show.
class NanCheck {
 public:
  explicit NanCheck(const PlanInstance& instance);

  void begin_call();
  /// Around a step; `buffers` are the addresses of the plan's buffers.
  void begin_step(int step, void* const* buffers);
  void end_step(int step, void* const* buffers);
  /// Raises NotANumber if a tensor that leaves through an output, or an input that was written to,
  /// holds a NaN which a step made.
  void end_call(const std::vector<CallValue>& outputs) const;

 private:
  bool has_nan(int tensor, void* const* buffers);
  [[noreturn]] void raise(int step, const std::string& where) const;

  const PlanInstance& instance_;
  BorrowedTensors tensors_;
  std::vector<StepAccess> access_;  // by step, tensors that can hold a NaN alone
  std::vector<int> made_by_;        // by buffer: who made its NaN: a step, kNobody or kCaller
  int operands_ = 0;                // the same of the operands of the step at hand
};

}  // namespace ourjit
