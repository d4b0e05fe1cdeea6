// Mean and squared deviations of rows, which norms and variances are made of.
#pragma once

#include <vector>

#include "passes/expr.h"

namespace ourjit {

struct Moments {
  Expr mean, squares;  // squares: the sum of squared deviations from the mean; dims are kept
};

/// Of `x` over `dims`, in `accumulated` (no narrower than x's dtype). Rows that threads or blocks
/// keep are centred first; longer ones are read once.
Moments moments(const Expr& x, const std::vector<int64_t>& dims, DType accumulated);

}  // namespace ourjit
