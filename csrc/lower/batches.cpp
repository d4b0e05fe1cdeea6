#include "lower/batches.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "loop/text.h"
#include "lower/absorb.h"
#include "lower/flat_loop.h"
#include "lower/step_order.h"

namespace ourjit {
namespace {

constexpr int64_t kSmallBytes = 4096;

class Batching {
 public:
  Batching(const Graph& g, const Fusion& f, const MemoryRoots& root, StepOrder before,
           std::vector<LoweredKernel>& kernels)
      : g_(g),
        f_(f),
        kernels_(kernels),
        root_(root),
        before_(std::move(before)),
        level_(find_levels(before_)) {
    for (const GraphOutput& o : g.outputs)
      if (o.value >= 0) leaves_.insert(root_(o.value));
  }

  std::vector<Batch> run() {
    find_batches();
    return ordered();
  }

 private:
  bool is_kernel(size_t step) const { return !kernels_[step].kernel.body.empty(); }

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
      if (is_kernel(i) || is_call(g_, f_.steps[i])) members[batch_of_[i]].steps.push_back(i);
    std::vector<Batch> out;
    if (!any_) {
      for (Batch& b : members)
        if (!b.steps.empty()) out.push_back(std::move(b));
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
      if (!members[b].steps.empty()) out.push_back(std::move(members[b]));
      for (const size_t a : after[b])
        if (--waiting[a] == 0) ready.insert(a);
    }
    OURJIT_CHECK(done == batches) << "batches depend on each other";
    return out;
  }

  const Graph& g_;
  const Fusion& f_;
  std::vector<LoweredKernel>& kernels_;
  const MemoryRoots& root_;
  std::set<ValueId> leaves_;
  const StepOrder before_;
  const std::vector<int> level_;
  std::vector<size_t> batch_of_;  // the first step of a step's batch
  bool any_ = false;
};

/// True if one of the batches has all of `steps`.
bool in_one(const std::vector<Batch>& batches, const std::vector<size_t>& steps) {
  return std::any_of(batches.begin(), batches.end(), [&](const Batch& b) {
    return std::includes(b.steps.begin(), b.steps.end(), steps.begin(), steps.end());
  });
}

/// Of the hosts of one step, the last runs the epilogue: they may be too many for one launch, and
/// those of the launches before must not find what it writes.
void silence_rows(const std::vector<Absorbed>& absorbed, std::vector<Batch>& batches) {
  std::set<size_t> silent;
  for (const Absorbed& a : absorbed)
    if (a.writes) silent.insert(a.hosts.begin(), a.hosts.end() - 1);
  for (Batch& b : batches)
    b.silent =
        static_cast<size_t>(std::stable_partition(b.steps.begin(), b.steps.end(),
                                                  [&](size_t i) { return silent.contains(i); }) -
                            b.steps.begin());
}

/// One way to launch the steps.
struct Attempt {
  std::vector<LoweredKernel> kernels;
  std::vector<Batch> batches;

  /// In quarters of a launch. For an epilogue, the blocks of a launch count themselves.
  size_t cost() const {
    size_t quarters = 0;
    for (const Batch& b : batches)
      quarters += kernels[b.steps.front()].kernel.epilogue.empty() ? 4 : 5;
    return quarters;
  }
};

/// Nothing where the hosts that are wanted find nothing to do.
std::optional<Attempt> attempt(const Graph& g, const Fusion& f, const MemoryRoots& root,
                               const StepOrder& before, const InPlace& in_place, Hosts hosts,
                               const std::vector<LoweredKernel>& kernels) {
  std::set<size_t> refused;
  for (;;) {
    Attempt a{kernels, {}};
    StepOrder order = before;
    const std::vector<Absorbed> absorbed =
        absorb(g, f, root, in_place, hosts, refused, a.kernels, order);
    if (hosts != Hosts::None && absorbed.empty()) return std::nullopt;
    a.batches = Batching(g, f, root, std::move(order), a.kernels).run();
    const size_t before_this = refused.size();
    for (const Absorbed& x : absorbed)
      if (x.writes && !in_one(a.batches, x.hosts)) refused.insert(x.step);
    if (refused.size() > before_this) continue;
    silence_rows(absorbed, a.batches);
    return a;
  }
}

}  // namespace

std::vector<Batch> batch_steps(const Graph& g, const Fusion& f, const InPlace& in_place,
                               const LowerOptions& options, std::vector<LoweredKernel>& kernels) {
  const MemoryRoots root(g, f, in_place);
  const StepOrder before = find_order(g, f, root, kernels);
  Attempt best = *attempt(g, f, root, before, in_place, Hosts::None, kernels);
  if (options.epilogues)
    for (const Hosts hosts : {Hosts::Related, Hosts::Any}) {
      std::optional<Attempt> a = attempt(g, f, root, before, in_place, hosts, kernels);
      const auto rank = [](const Attempt& x) { return std::pair(x.cost(), x.batches.size()); };
      if (a && rank(*a) < rank(best)) best = std::move(*a);
    }
  kernels = std::move(best.kernels);
  return std::move(best.batches);
}

}  // namespace ourjit
