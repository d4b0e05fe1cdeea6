// Kernels that update a tensor where it lies.
//
// Mutation is captured as new values and copies of them into the old memory (copy_to). Where the
// kernel that computes a value may write it to that memory itself, the copy and its traffic go.
#pragma once

#include <map>
#include <vector>

#include "lower/lower.h"

namespace ourjit {

/// Values that live in the memory of a graph input, by value.
using InPlace = std::map<ValueId, ValueId>;

/// Rewrites `kernels` (one for each of f.steps; without body where the step is no kernel) so that
/// they write into inputs where nothing can tell the difference: the copy_to is the input's only
/// writer, no other step reads the old contents after the kernel, and the kernel itself reads them,
/// if at all, at the very element and before it writes it. Steps of such copies lose their kernel.
InPlace write_in_place(const Graph& g, const Fusion& f, std::vector<LoweredKernel>& kernels);

/// Values that are made right in the memory of a concat, by value: the concat's result.
std::map<ValueId, ValueId> find_joined(const Graph& g, const Fusion& f);

/// Whose memory a value is in.
class MemoryRoots {
 public:
  MemoryRoots(const Graph& g, const Fusion& f, const InPlace& in_place);
  /// Through views, scatters, copy_to, joined memory and kernels that write in place.
  ValueId operator()(ValueId v) const;

 private:
  const Graph& g_;
  std::map<ValueId, ValueId> inside_;
};

}  // namespace ourjit
