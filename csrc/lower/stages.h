// Which part of a row program computes what: stages between reductions, and values kept from one to
// the next.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "fusion/group.h"
#include "graph/graph.h"

namespace ourjit {

/// One sweep over the reduced dims of a row. Everything in it depends only on reductions of earlier
/// stages.
struct Stage {
  std::vector<NodeId> reductions;  // reduce members finished by this stage
  std::vector<NodeId> sinks;       // partial_reduce members accumulated in it
  std::vector<ValueId> stores;     // full members stored to memory
  std::vector<ValueId> locals;     // full members kept in a local array for later stages
};

struct StagePlan {
  std::vector<Stage> stages;
  std::vector<ValueId> row_stores;  // row members and reduction results that are stored once a row
  std::set<ValueId> reloaded;       // full members that later stages read back from their own store
};

/// `local_limit`: how many values may be kept in local arrays.
StagePlan plan_stages(const Graph& g, const Fusion& f, const Group& group, int local_limit);

}  // namespace ourjit
