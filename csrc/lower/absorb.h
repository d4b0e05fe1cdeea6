// Tiny kernels whose work other kernels do along.
//
// An optimizer's step counters are such kernels: of one element, they add 1 where the counter lies,
// and compute factors from the new count. A host is a kernel that reads their results, and computes
// them again from what was there before the launch; or one that reads what was there before; or,
// where there is neither, a neighbour. What lives on is written in the host's epilogue
// (loop/loop_ir.h).
#pragma once

#include <set>
#include <vector>

#include "lower/in_place.h"
#include "lower/lower.h"
#include "lower/step_order.h"

namespace ourjit {

/// Which kernels may be hosts.
enum class Hosts : uint8_t { None, Related, Any };

/// A step whose work its hosts do. If it writes, one launch must have all of these, and all but the
/// last are silent there.
struct Absorbed {
  size_t step;
  std::vector<size_t> hosts;  // ascending
  bool writes;
};

/// Moves the work of tiny steps that are not `refused` to their hosts: rewrites the kernels of
/// these, takes those of the steps away, and makes `before` the order that is left. Tiny is a
/// kernel of one element that is a pure function of what it reads. Hosts always run, and what must
/// come before (after) a step comes before (after) all of its hosts.
std::vector<Absorbed> absorb(const Graph& g, const Fusion& f, const MemoryRoots& root,
                             const InPlace& in_place, Hosts wanted, const std::set<size_t>& refused,
                             std::vector<LoweredKernel>& kernels, StepOrder& before);

}  // namespace ourjit
