// Advanced indexing (x[i, :, j]) in the terms of the graph operators.
#pragma once

#include <optional>
#include <vector>

#include "passes/aten_args.h"

namespace ourjit {

/// A tensor whose indexed dims are adjacent, with one i64 index for each.
struct IndexedDims {
  Expr base;                   // the indexed tensor, permuted so that indexed dims are adjacent
  int64_t first = 0;           // the first indexed dim of base
  std::vector<Expr> indices;   // broadcast together
  std::vector<Sym> shape;      // their common shape
  std::vector<int64_t> order;  // base dim d is dim order[d] of the tensor
};

/// Arranges `x[indices]`; dims that are indexed apart move to the front, as torch does. Raises
/// Unsupported for masks, whose result shapes depend on data.
IndexedDims indexed_dims(AtenCall& c, const Expr& x,
                         const std::vector<std::optional<ValueId>>& indices);
/// x's dim `dim` replaced by index's dims.
Expr take(const Expr& x, const Expr& index, int64_t dim, bool wrap);
/// `base` with `updates` at `indices` of the dims from `first` on, which are not negative; set, or
/// added to what is there.
Expr put(const Expr& base, int64_t first, const std::vector<Expr>& indices, const Expr& updates,
         bool add);
/// Negative indices counted from the end of a dim of `size` elements.
Expr wrap_index(const Expr& index, const Sym& size);

}  // namespace ourjit
