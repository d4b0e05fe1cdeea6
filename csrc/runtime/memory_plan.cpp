#include "runtime/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace ourjit {

namespace {

void collect(const CallArg& a, std::vector<int>& out) {
  if (const auto* t = std::get_if<CallTensor>(&a.v)) out.push_back(t->tensor);
  if (const auto* xs = std::get_if<std::vector<CallArg>>(&a.v))
    for (const CallArg& x : *xs) collect(x, out);
}

bool overlap(const BufferLife& a, const BufferLife& b) {
  return a.first <= b.last && b.first <= a.last;
}

}  // namespace

std::vector<int> step_tensors(const PlanStep& s) {
  std::vector<int> tensors;
  if (const auto* launch = std::get_if<LaunchStep>(&s)) {
    for (const LaunchRow& r : launch->rows)
      tensors.insert(tensors.end(), r.tensors.begin(), r.tensors.end());
    return tensors;
  }
  const auto& call = std::get<CallStep>(s);
  for (const CallArg& a : call.args) collect(a, tensors);
  for (int t : call.results)
    if (t >= 0) tensors.push_back(t);
  return tensors;
}

StepAccess step_access(const Plan& p, const PlanStep& s) {
  StepAccess access;
  if (const auto* launch = std::get_if<LaunchStep>(&s)) {
    const std::vector<BufferUse>& uses = p.kernels.at(static_cast<size_t>(launch->kernel)).buffers;
    for (const LaunchRow& r : launch->rows)
      for (size_t i = 0; i < r.tensors.size(); ++i) {
        const BufferUse use = i < uses.size() ? uses[i] : BufferUse();
        if (use.read) access.read.push_back(r.tensors[i]);
        if (use.written) access.written.push_back(r.tensors[i]);
      }
    return access;
  }
  const auto& call = std::get<CallStep>(s);
  for (const CallArg& a : call.args) collect(a, access.read);
  if (is_in_place(call.target) && !access.read.empty()) access.written = {access.read.front()};
  for (int t : call.results)
    if (t >= 0) access.written.push_back(t);
  return access;
}

std::vector<BufferLife> buffer_lives(const Plan& p) {
  std::vector<BufferLife> lives(p.buffers.size());
  for (size_t i = 0; i < p.steps.size(); ++i)
    for (int t : step_tensors(p.steps[i])) {
      BufferLife& life = lives[static_cast<size_t>(p.tensors[static_cast<size_t>(t)].buffer)];
      if (life.first < 0) life.first = static_cast<int>(i);
      life.last = static_cast<int>(i);
    }
  return lives;
}

MemoryLayout plan_memory(const std::vector<MemoryRequest>& requests) {
  struct Placed {
    int64_t begin, end;
    BufferLife life;
  };
  MemoryLayout layout;
  layout.offsets.assign(requests.size(), 0);
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return requests[a].bytes > requests[b].bytes; });
  std::vector<Placed> placed;  // sorted by begin
  for (size_t i : order) {
    const MemoryRequest& r = requests[i];
    if (r.bytes <= 0 || r.life.first < 0) continue;
    const int64_t size = (r.bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
    int64_t at = 0;
    for (const Placed& other : placed) {
      if (!overlap(other.life, r.life)) continue;
      if (other.begin - at >= size) break;
      at = std::max(at, other.end);
    }
    layout.offsets[i] = at;
    layout.bytes = std::max(layout.bytes, at + size);
    const Placed entry{at, at + size, r.life};
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), entry,
                         [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
        entry);
  }
  return layout;
}

}  // namespace ourjit
