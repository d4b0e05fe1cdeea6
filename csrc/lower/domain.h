// How a group's iteration domain becomes loops: the order of dims in memory, and which of them are
// one loop.
#pragma once

#include <vector>

#include "fusion/group.h"
#include "graph/graph.h"

namespace ourjit {

/// Some dims of the domain run by one loop, the first outermost.
struct LoopDims {
  std::vector<size_t> dims;
  Sym extent;
};

/// What memory accesses say about a domain.
struct DomainPlan {
  Group group;                  // with dims split where indices divide by a part of a dim
  std::vector<bool> sink_dims;  // dims that the group's sinks run over; empty without sinks
  std::vector<LoopDims>
      loops;  // outermost first: the order of memory; each loop's dims are of one class
  bool transposed = false;     // some access is contiguous in another loop than the innermost
  size_t transposed_loop = 0;  // that loop
};

/// Looks at all accesses of the group's members and decides.
DomainPlan plan_domain(const Graph& g, const Fusion& f, const Group& group);

/// Marks of the dims that a sink runs over.
std::vector<bool> sink_marks(const Graph& g, const Group& group);

}  // namespace ourjit
