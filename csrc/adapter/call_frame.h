// The state of one running call: where buffers are, prepared library calls, what is held until its
// last use.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "adapter/executable.h"
#include "adapter/library_call.h"
#include "adapter/nan_check.h"
#include "adapter/profiling.h"
#include "runtime/executor.h"

namespace ourjit {

/// Kept between calls, so that a call of static shapes allocates nothing but its outputs.
class CallFrame final : public Host {
 public:
  explicit CallFrame(const PlanInstance& instance);

  /// Runs the plan over checked inputs, which it takes. `profiled`: torch's profiler listens.
  std::vector<CallValue> run(std::vector<CallValue>& inputs, ArenaPool& arenas, bool profiled);

  /// The same, and adds what each step took to `step_seconds`; the device is waited for after each.
  std::vector<CallValue> run_timed(std::vector<CallValue>& inputs, ArenaPool& arenas,
                                   std::vector<double>& step_seconds);

  /// Raises what kernels of earlier calls have reported.
  void raise_reported() { ourjit::raise_reported(frame_); }

  void parallel_for(int64_t n, int64_t grain, TaskFunction task, void* context) override;
  void call(int step, void** buffers) override;
  void* allocate(int buffer, int64_t bytes) override;
  void release(int buffer) override;
  /// For torch's profiler, for option check_nan, and for times.
  bool watches() const override { return nan_check_ || profiled_ || step_seconds_; }
  void begin_step(int step) override;
  void end_step(int step) override;
  void* stream() override;

 private:
  std::vector<CallValue> make_outputs();
  at::Tensor output(int tensor);
  bool is_input(int tensor) const;
  void clear();

  const PlanInstance& instance_;
  const c10::Device device_;  // that tensors are on
  Frame frame_;
  BorrowedTensors borrowed_;
  std::vector<std::unique_ptr<LibraryCall>> calls_;  // by step; null until first made
  std::vector<CallValue> inputs_;
  std::vector<c10::Storage> storages_;  // by buffer: Output
  HeldResults held_;                    // by buffer: CallResult
  std::optional<NanCheck> nan_check_;
  bool profiled_ = false;
  ProfilerRecord record_;                        // of the step at hand
  std::vector<double>* step_seconds_ = nullptr;  // by step, of the call at hand if it is timed
  std::chrono::steady_clock::time_point step_began_;
};

}  // namespace ourjit
