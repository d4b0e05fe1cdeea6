// Sums along a dim of elements that are all the same but one.
#pragma once

#include "graph/builder.h"

namespace ourjit {

/// For a sum over one dim of what pointwise operators make of `position == index` and of values
/// that are the same along the dim, such as where(position == index, x, 0): the element where index
/// is the position, and the others times their number. That is the sum in a cross-entropy's
/// gradient, which thus needs no pass over its rows. -1 if `n` is something else.
ValueId sum_of_one_hot(Rewriter& r, const Node& n);

}  // namespace ourjit
