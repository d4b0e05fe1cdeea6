// Shape and dtype rules of the graph operators.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace ourjit {

/// The result type of a native operator (every operator but `call`) with contiguous strides, except
/// views, whose strides follow from the operand where the view needs no copy. Raises UserError
/// naming the operator and the shapes when operands do not fit.
TensorType infer(Op op, const std::vector<TensorType>& operands, const Attrs& attrs);

/// The dtype of a reduction of `operand` unless another is asked for: i64 for sums and products of
/// integers and bool, and for indices.
DType reduce_dtype(ReduceOp op, DType operand);

/// numpy broadcasting of symbolic shapes; sizes that are not provably equal or 1 raise UserError.
std::vector<Sym> broadcast(const std::vector<std::vector<Sym>>& shapes);

/// Strides of `t` seen with `sizes` in the same row-major order, if it needs no copy.
std::optional<std::vector<Sym>> view_strides(const TensorType& t, const std::vector<Sym>& sizes);

}  // namespace ourjit
