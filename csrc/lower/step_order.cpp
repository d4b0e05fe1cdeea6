#include "lower/step_order.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

namespace ourjit {
namespace {

class Ordering {
 public:
  Ordering(const Graph& g, const Fusion& f, const MemoryRoots& root,
           const std::vector<LoweredKernel>& kernels)
      : g_(g), f_(f), kernels_(kernels), root_(root), before_(f.steps.size()) {}

  StepOrder run() {
    for (size_t i = 0; i < f_.steps.size(); ++i) add(i);
    return std::move(before_);
  }

 private:
  void read(size_t step, ValueId memory) {
    if (const auto w = writer_.find(memory); w != writer_.end()) depend(step, w->second);
    readers_[memory].push_back(step);
  }

  void write(size_t step, ValueId memory) {
    if (const auto w = writer_.find(memory); w != writer_.end()) depend(step, w->second);
    for (const size_t r : readers_[memory]) depend(step, r);
    readers_[memory].clear();
    writer_[memory] = step;
  }

  void depend(size_t step, size_t on) {
    if (step != on) before_[step].push_back(on);
  }

  void add(size_t step) {
    if (is_call(g_, f_.steps[step])) {
      // A call may write to what it is given, return a view of it, and draw random numbers.
      if (last_call_) depend(step, *last_call_);
      last_call_ = step;
      const Node& n = g_.node(f_.steps[step].node);
      for (const ValueId v : n.operands) write(step, root_(v));
      for (const ValueId v : n.results)
        if (v >= 0) write(step, root_(v));
      return;
    }
    const LoweredKernel& k = kernels_[step];
    for (size_t b = 0; b < k.buffers.size(); ++b) {
      const ValueId memory = root_(k.buffers[b]);
      k.kernel.buffers[b].access == loop::Access::In ? read(step, memory) : write(step, memory);
    }
  }

  const Graph& g_;
  const Fusion& f_;
  const std::vector<LoweredKernel>& kernels_;
  const MemoryRoots& root_;
  StepOrder before_;
  std::unordered_map<ValueId, size_t> writer_;
  std::unordered_map<ValueId, std::vector<size_t>> readers_;  // since the last write
  std::optional<size_t> last_call_;
};

}  // namespace

StepOrder find_order(const Graph& g, const Fusion& f, const MemoryRoots& root,
                     const std::vector<LoweredKernel>& kernels) {
  return Ordering(g, f, root, kernels).run();
}

std::vector<int> find_levels(const StepOrder& before) {
  std::vector<int> level(before.size(), 0);
  for (size_t i = 0; i < before.size(); ++i)
    for (const size_t p : before[i]) level[i] = std::max(level[i], level[p] + 1);
  return level;
}

bool is_call(const Graph& g, const FusedStep& s) {
  return !s.group && g.node(s.node).op == Op::call;
}

}  // namespace ourjit
