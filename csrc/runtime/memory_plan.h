// Where temporaries lie in the arena: buffers whose lifetimes do not overlap share memory.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/plan.h"

namespace ourjit {

/// The first and the last step that touch a buffer; -1 if none does.
struct BufferLife {
  int first = -1, last = -1;
};

/// One entry for each buffer of the plan.
std::vector<BufferLife> buffer_lives(const Plan& p);

/// The tensors (indices into Plan::tensors) that a step reads or writes.
std::vector<int> step_tensors(const PlanStep& s);

/// The same apart; one that is updated in place stands in both.
struct StepAccess {
  std::vector<int> read, written;
};
StepAccess step_access(const Plan& p, const PlanStep& s);

/// A range of memory needed during the steps life.first .. life.last.
struct MemoryRequest {
  int64_t bytes;
  BufferLife life;
};

struct MemoryLayout {
  std::vector<int64_t> offsets;  // one for each request, aligned
  int64_t bytes = 0;             // size of the whole
};

inline constexpr int64_t kArenaAlignment = 64;

/// Places the requests, largest first, each at the lowest offset at which it meets no other request
/// that is alive during one of its steps. Requests with an empty life or no bytes get offset 0.
MemoryLayout plan_memory(const std::vector<MemoryRequest>& requests);

}  // namespace ourjit
