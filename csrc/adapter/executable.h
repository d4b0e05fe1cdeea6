// A compiled graph as a function over tensors: checks inputs, runs the plan, makes outputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "adapter/operators.h"
#include "adapter/products.h"
#include "adapter/tensors.h"
#include "compiler.h"
#include "runtime/arena_pool.h"
#include "runtime/instance.h"

namespace ourjit {

/// A compiler and what all its executables share. Stays alive as long as one of them does.
struct Session {
  /// `torch_build`: what tells builds of torch apart.
  Session(Options options, std::string torch_build)
      : calls(options.target, std::move(torch_build)), compiler(std::move(options), calls) {
    if (const CodeStore* codes = compiler.target().codes()) keep_products(*codes, calls.build());
  }

  AtenCallInfo calls;
  Compiler compiler;
  ArenaPool arenas;
};

/// A tensor or a number; an output may be neither (None).
struct CallValue {
  at::Tensor tensor;
  std::optional<int64_t> number;
};

class CallFrame;

/// Thread-safe and reentrant: calls that run at the same time have frames and arenas of their own.
class Executable {
 public:
  /// `constants` are the last inputs of the graph; they are the same at each call.
  Executable(std::shared_ptr<Session> session, std::shared_ptr<const CompiledGraph> graph,
             std::vector<at::Tensor> constants);
  ~Executable();

  /// Number of inputs that a caller gives.
  size_t inputs() const { return graph_->plan.inputs.size() - constants_.size(); }
  const CompiledGraph& graph() const { return *graph_; }
  Session& session() const { return *session_; }

  /// Runs the graph. `inputs` is emptied at once, and each tensor dropped after its last use.
  /// Raises UserError for inputs of the wrong number, kind, dtype, device or shape. Needs no GIL.
  std::vector<CallValue> run(std::vector<CallValue>& inputs);

  /// Runs the graph on copies of what it writes, so that nothing changes: the seconds of each step
  /// of the plan, waiting for the device after each. Raises what run() does.
  std::vector<double> time_steps(const std::vector<CallValue>& inputs);

  /// Raises what kernels of calls that have returned have reported. Calls do so for themselves;
  /// replays of a captured call do not.
  void raise_reported();

  /// True if `inputs` are tensors of the types that the graph was compiled for, in memory of the
  /// same layout: nothing would be copied, and nothing refused.
  bool accepts(const std::vector<CallValue>& inputs);

  /// What runs this graph over a table: see runtime/plan_table.h. Takes the tensors of all rows,
  /// row by row. Raises Unsupported for a graph with constants.
  std::unique_ptr<Executable> over_table(const std::vector<std::vector<at::Tensor>>& rows) const;

  /// What is checked at each call, one line for each input.
  std::vector<std::string> guards() const;
  /// The memory of the graph in text; for symbolic sizes of the call made last.
  std::string memory_report();
  /// The plan for static sizes, or those of the call made last; null if none was made yet, and for
  /// an architecture that is not here.
  std::shared_ptr<const PlanInstance> instance();

 private:
  /// An instance and its idle frames.
  struct Sized {
    std::unique_ptr<const PlanInstance> instance;
    std::mutex mutex;
    std::vector<std::unique_ptr<CallFrame>> idle;
    ~Sized();
  };

  /// `step_seconds` is null where nothing is timed.
  std::vector<CallValue> execute(std::vector<CallValue>& inputs, std::vector<double>* step_seconds);
  std::vector<int64_t> bind_symbols(const std::vector<CallValue>& inputs) const;
  std::shared_ptr<Sized> sized(const std::vector<int64_t>& symbol_values);
  void check_inputs(const PlanInstance& instance, std::vector<CallValue>& inputs) const;
  void fit_scalar(const InstanceInput& expected, const PlanInput& input, at::Tensor& t) const;
  void fit_strides(const PlanInstance& instance, size_t i, at::Tensor& t) const;
  [[noreturn]] void wrong_input(const PlanInstance& instance, size_t i, const CallValue& got) const;

  const std::shared_ptr<Session> session_;
  const std::shared_ptr<const CompiledGraph> graph_;
  const std::vector<at::Tensor> constants_;
  const c10::Device device_;  // that all tensors are on
  InstanceCache<Sized> instances_;
};

}  // namespace ourjit
