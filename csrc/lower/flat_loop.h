// Kernels of one dimension: their loops, and how to let them run over any length.
#pragma once

#include <optional>

#include "lower/lower.h"

namespace ourjit {

/// Elements that one iteration of the parallel loop takes in a kernel of one dimension.
inline constexpr int64_t kFlatBlock = 4096;

/// A loop over 0 .. n - 1 in blocks: block p runs from `begin` to `end`.
struct BlockedLoop {
  Sym blocks, begin, end;
};
BlockedLoop blocked_loop(const Sym& n, int64_t block, const Sym& p);

/// The same kernel with its length as a size parameter, so that tensors of different sizes share
/// it; absent unless `lowered` is a kernel of one dimension and of a fixed length. The length is
/// the last of its `sizes`.
std::optional<LoweredKernel> with_free_length(const LoweredKernel& lowered);

}  // namespace ourjit
