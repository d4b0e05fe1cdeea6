// The rules every graph obeys; run after each pass.
#pragma once

#include "graph/graph.h"

namespace ourjit {

/// Raises InternalError naming the offending node and rule. Rules: values are defined before use
/// and once; names are unique; operand counts; result types equal what infer() gives (strides of
/// materialized values may differ); rank(sizes) == rank(strides); calls name their target;
/// copy_to's target is an input or a view of one; outputs exist.
void verify(const Graph& g);

}  // namespace ourjit
