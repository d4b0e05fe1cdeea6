// One plan for many sets of inputs: an optimizer's update of one tensor, applied to all of them.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/plan.h"

namespace ourjit {

/// How a tensor lies in memory, in elements.
struct TensorLayout {
  std::vector<int64_t> sizes, strides;
};

/// A plan that does for each row of a table what `plan` does: row by row its inputs are those of
/// `plan`, laid out as `rows` tells, and each launch runs over all rows. Rows must not depend on
/// each other. An input with one dim, of a size that is a symbol, stands for the elements of any
/// tensor without gaps, in the order of memory; all such inputs of a row are laid out alike.
/// Raises UserError for a layout that `plan` does not fit, Unsupported for a plan with outputs or
/// with inputs that are numbers.
Plan plan_over_table(const Plan& plan, const std::vector<std::vector<TensorLayout>>& rows);

}  // namespace ourjit
