// Kernels made smaller: indices by what the loops around them say about their variables, and values
// that nothing reads.
#pragma once

#include <optional>

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// E with 0 <= f.var < E, where `bounds` knows the variables around the loop; absent if the loop
/// may start below zero.
std::optional<Sym> variable_extent(const For& f, const SymBounds& bounds);

/// `around`, which knows the variables around the loop, and what the loop says about its own.
SymBounds bounds_in(const For& f, SymBounds around);

/// The most iterations that `f` can have, if its length or what limits its end is a number.
std::optional<int64_t> most_iterations(const For& f);

/// Rewrites floordiv and mod that the loops' bounds decide, in all indices, bounds and extents.
void simplify_indices(Kernel& k);

/// Removes values that nothing reads, but for integer divisions, which may report an error.
void remove_unused(Kernel& k);

/// An upper bound of `x` that mentions no variable of `bounds`, if one is found.
std::optional<Sym> greatest(const Sym& x, const SymBounds& bounds);

}  // namespace ourjit::loop
