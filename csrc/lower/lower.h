// From fusion groups to loop nests.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "fusion/group.h"
#include "graph/graph.h"
#include "loop/loop_ir.h"

namespace ourjit {

/// A kernel and what to pass to it.
struct LoweredKernel {
  loop::Kernel kernel;
  std::vector<ValueId> buffers;  // graph value whose first element each buffer parameter points to
  Sym extent;                    // iterations of the parallel loop
  std::vector<Sym> sizes;        // values of the kernel's size parameters
};

/// What a target can do for a row program.
struct LowerOptions {
  int64_t local_bytes = 256 * 1024;  // values of one row that may be kept beside memory
  bool atomics = false;              // scatters may add in any order
  // Elements of a row that a task reads from memory once, and column sums that it carries from row
  // to row: all of them where caches serve.
  int64_t kept_row = std::numeric_limits<int64_t>::max();
  int64_t sum_columns = std::numeric_limits<int64_t>::max();
  bool epilogues = false;  // of kernels (loop/loop_ir.h)
};

/// The kernel of one group. Values in memory are addressed by the strides of their types.
LoweredKernel lower_group(const Graph& g, const Fusion& f, const Group& group,
                          const std::string& name, const LowerOptions& options = {});

/// The kernel of a barrier that is not a call: copy_to, scatter, index_put.
LoweredKernel lower_barrier(const Graph& g, const Fusion& f, NodeId n, const std::string& name,
                            const LowerOptions& options = {});

}  // namespace ourjit
