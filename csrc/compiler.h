// All stages in order: a captured graph becomes a plan that can run.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "cache/store.h"
#include "code_target.h"
#include "graph/graph.h"
#include "graph_report.h"
#include "loop/loop_ir.h"
#include "runtime/plan.h"

namespace ourjit {

/// Why a call of an operator is not in our kernels.
struct Fallback {
  int64_t count = 0;
  std::string reason;
};

/// What ourjit.stats() reports; see there.
struct Stats {
  int64_t graphs = 0;
  int64_t kernels_compiled = 0;
  int64_t kernels_loaded = 0;
  double backend_seconds = 0;
  std::map<std::string, int64_t> library_calls;
  std::map<std::string, Fallback> fallbacks;
  int64_t guard_misses = 0;
  cache::Counters disk_cache;  // since the compiler was made
};

/// What ATen offers, asked at compile time; implemented by the adapter.
class CallInfo {
 public:
  virtual ~CallInfo() = default;
  /// Tells builds of the library apart.
  virtual std::string build() const { return ""; }
  /// True if `target` can be computed right into given memory (and not by a functional call plus a
  /// copy), where memory is given for all results or, if not `all`, for some.
  virtual bool writes_into_results(const std::string& target, bool all) const = 0;
  /// True if `target` computes each element from elements of its operands at one place.
  virtual bool is_pointwise(const std::string& target) const = 0;
};

/// One kernel for reports: what it computes and what it costs.
struct KernelReport {
  loop::Kernel kernel;  // scheduled
  std::string lowered;  // loop IR before scheduling
  std::vector<std::string> provenance;
  int64_t launches = 0;  // in this graph
};

/// A stage of one compilation, by std::chrono::steady_clock in seconds.
struct Phase {
  std::string name;
  double start = 0, seconds = 0;
};

struct CompiledGraph {
  Plan plan;
  std::vector<std::optional<std::vector<Sym>>>
      output_strides;                 // one for each output, absent for numbers and None
  std::vector<KernelReport> kernels;  // same order as plan.kernels
  std::string label;                  // "3_backward": names it in logs and dumps
  std::string captured, optimized;    // graph text before and after the passes
  std::string groups;                 // fusion groups and reasons
  std::vector<ReportNode> nodes;      // of the optimized graph
  std::vector<Phase> phases;          // in order
  std::map<std::string, int64_t> library_calls;
  std::map<std::string, Fallback> fallbacks;
  double seconds = 0;
};

class Compiler {
 public:
  Compiler(Options options, const CallInfo& calls);
  ~Compiler();
  /// Thread-safe. Raises Unsupported if the options are strict and something would fall back.
  /// `table_rows`: how many sets of inputs its plan will run over (runtime/plan_table.h).
  std::shared_ptr<const CompiledGraph> compile(Graph g, size_t table_rows = 1);
  const Options& options() const;
  const CodeTarget& target() const;
  Stats stats() const;
  void add_guard_miss();
  /// What the disk cache has warned of since the last call.
  std::vector<std::string> take_warnings();
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ourjit
