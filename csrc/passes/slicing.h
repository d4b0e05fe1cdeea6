// Bounds of slices and selected indices as Python counts them, on symbolic sizes.
#pragma once

#include "passes/aten_args.h"

namespace ourjit {

/// First element of a slice of a dim of `size` elements that is not empty: `start` (argument `i`,
/// maybe None) counted from the end if negative, clamped at 0.
Sym slice_start(const AtenCall& c, int i, const Sym& size);
/// The index argument `i` into a dim of `size` elements as a nonnegative index.
Sym wrapped_index(const AtenCall& c, int i, const Sym& size);

}  // namespace ourjit
