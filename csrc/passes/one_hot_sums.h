// Sums along a dim of which one element at most is not zero.
#pragma once

#include "graph/builder.h"

namespace ourjit {

/// For a sum over one dim of `where(position == index, x, 0)`, where index and x are the same along
/// the dim: x where index is one of its positions, else 0. That is the sum in a cross-entropy's
/// gradient, which thus needs no pass over its rows. -1 if `n` is something else.
ValueId sum_of_one_hot(Rewriter& r, const Node& n);

}  // namespace ourjit
