// Where elements come from: indices through views, and shapes against iteration domains.
#pragma once

#include <optional>
#include <vector>

#include "base/sym.h"
#include "graph/graph.h"

namespace ourjit {

using IndexVector = std::vector<Sym>;

/// The element of view `n`'s operand that element `index` of its result is.
IndexVector view_operand_index(const Graph& g, const Node& n, const IndexVector& index,
                               const SymBounds& bounds);

/// The element of a pointwise operand with `sizes` that element `index` of the result needs.
IndexVector broadcast_index(const IndexVector& index, const std::vector<Sym>& sizes);

/// The index of the same row-major position in shape `to` as `index` in shape `from`.
IndexVector reshape_index(const std::vector<Sym>& from, const std::vector<Sym>& to,
                          const IndexVector& index, const SymBounds& bounds);

/// The index in shape `sizes` of a row-major position; zeros where the shape has no elements.
IndexVector delinearize(const Sym& position, const std::vector<Sym>& sizes,
                        const SymBounds& bounds);

/// sum of index * strides, simplified.
Sym linear_offset(const IndexVector& index, const std::vector<Sym>& strides,
                  const SymBounds& bounds);

/// The coarsest shape of which both `a` and `b` are row-major groupings; sizes of 1 are dropped.
/// Empty optional if their boundaries cross.
std::optional<std::vector<Sym>> common_refinement(const std::vector<Sym>& a,
                                                  const std::vector<Sym>& b);

/// For each dim of `shape` its index as a function of `vars` running over `dims`, where `dims`
/// refines `shape`; empty optional if it does not.
std::optional<IndexVector> align(const std::vector<Sym>& dims, const IndexVector& vars,
                                 const std::vector<Sym>& shape);

}  // namespace ourjit
