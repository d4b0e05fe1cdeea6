#include "lower/batches.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "loop/text.h"
#include "lower/flat_loop.h"

namespace ourjit {
namespace {

constexpr int64_t kSmallBytes = 4096;

class Batching {
 public:
  Batching(const Graph& g, const Fusion& f, const InPlace& in_place,
           std::vector<LoweredKernel>& kernels)
      : g_(g),
        f_(f),
        kernels_(kernels),
        root_(g, f, in_place),
        before_(f.steps.size()),
        level_(f.steps.size(), 0) {
    for (const GraphOutput& o : g.outputs)
      if (o.value >= 0) leaves_.insert(root_(o.value));
  }

  std::vector<Batch> run() {
    for (size_t i = 0; i < f_.steps.size(); ++i) find_dependences(i);
    find_batches();
    return ordered();
  }

 private:
  bool is_kernel(size_t step) const { return !kernels_[step].kernel.body.empty(); }
  bool is_call(size_t step) const {
    return !f_.steps[step].group && g_.node(f_.steps[step].node).op == Op::call;
  }

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
    if (step == on) return;
    before_[step].push_back(on);
    level_[step] = std::max(level_[step], level_[on] + 1);
  }

  void find_dependences(size_t step) {
    if (is_call(step)) {
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

  bool may_move(size_t step) const {
    const std::vector<ValueId>& buffers = kernels_[step].buffers;
    return std::all_of(buffers.begin(), buffers.end(), [&](ValueId v) {
      const ValueId memory = root_(v);
      if (!g_.def(memory) || leaves_.contains(memory)) return true;
      const Sym bytes = g_.type(memory).numel() * dtype_bytes(g_.type(memory).dtype);
      return bytes.is_const() && bytes.value() <= kSmallBytes;
    });
  }

  void find_batches() {
    std::map<std::pair<int, std::string>, std::vector<size_t>> alike;
    std::vector<std::optional<LoweredKernel>> free(f_.steps.size());
    for (size_t i = 0; i < f_.steps.size(); ++i) {
      if (!is_kernel(i) || !may_move(i)) continue;
      free[i] = with_free_length(kernels_[i]);
      const loop::Kernel& k = free[i] ? free[i]->kernel : kernels_[i].kernel;
      alike[{level_[i], loop::canonical_text(k)}].push_back(i);
    }
    batch_of_.resize(f_.steps.size());
    for (size_t i = 0; i < f_.steps.size(); ++i) batch_of_[i] = i;
    for (const auto& [key, steps] : alike) {
      if (steps.size() < 2) continue;
      any_ = true;
      for (const size_t i : steps) {
        batch_of_[i] = steps.front();
        if (free[i]) kernels_[i] = std::move(*free[i]);
      }
    }
  }

  /// Steps of one batch have one level, so no path leads from a batch to itself.
  std::vector<Batch> ordered() const {
    const size_t n = f_.steps.size();
    std::vector<Batch> members(n);
    for (size_t i = 0; i < n; ++i)
      if (is_kernel(i) || is_call(i)) members[batch_of_[i]].push_back(i);
    std::vector<Batch> out;
    if (!any_) {
      for (Batch& b : members)
        if (!b.empty()) out.push_back(std::move(b));
      return out;
    }
    std::vector<std::set<size_t>> after(n);
    std::vector<size_t> waiting(n, 0);
    for (size_t i = 0; i < n; ++i)
      for (const size_t p : before_[i])
        if (after[batch_of_[p]].insert(batch_of_[i]).second) ++waiting[batch_of_[i]];
    std::set<size_t> ready;
    for (size_t i = 0; i < n; ++i)
      if (batch_of_[i] == i && waiting[i] == 0) ready.insert(i);
    size_t done = 0, batches = 0;
    for (size_t i = 0; i < n; ++i) batches += batch_of_[i] == i;
    while (!ready.empty()) {
      const size_t b = *ready.begin();
      ready.erase(ready.begin());
      ++done;
      if (!members[b].empty()) out.push_back(std::move(members[b]));
      for (const size_t a : after[b])
        if (--waiting[a] == 0) ready.insert(a);
    }
    OURJIT_CHECK(done == batches) << "batches depend on each other";
    return out;
  }

  const Graph& g_;
  const Fusion& f_;
  std::vector<LoweredKernel>& kernels_;
  const MemoryRoots root_;
  std::set<ValueId> leaves_;
  std::vector<std::vector<size_t>> before_;  // steps that must run before a step
  std::vector<int> level_;                   // length of the longest path of these
  std::unordered_map<ValueId, size_t> writer_;
  std::unordered_map<ValueId, std::vector<size_t>> readers_;  // since the last write
  std::optional<size_t> last_call_;
  std::vector<size_t> batch_of_;  // the first step of a step's batch
  bool any_ = false;
};

}  // namespace

std::vector<Batch> batch_steps(const Graph& g, const Fusion& f, const InPlace& in_place,
                               std::vector<LoweredKernel>& kernels) {
  return Batching(g, f, in_place, kernels).run();
}

}  // namespace ourjit
