// Vectors of floats between memory and registers, and their transposition; the tile of products
// that fits into registers. Freestanding.
#pragma once

#include <utility>

#include "vector.h"

namespace oj {

/// Columns of a tile that products sum up in registers.
inline constexpr int kPanel = 2 * kFloatLanes;
/// As many rows as leave registers for two vectors of the right operand and one number of the left
/// (which AVX-512 reads from memory as it multiplies).
inline constexpr int kTile = OURJIT_VECTOR_BITS == 512 ? 14 : OURJIT_VECTOR_BITS == 256 ? 6 : 5;

OJ_INLINE F load(const float* from) {
  F x;
  __builtin_memcpy(&x, from, sizeof(F));
  return x;
}

OJ_INLINE void store(float* to, F x) { __builtin_memcpy(to, &x, sizeof(F)); }

/// The first `count` lanes from memory, zero in the others.
OJ_INLINE F load_first(const float* from, long count) {
  if (count >= kFloatLanes) return load(from);
  F x = splat<F>(0);
  for (long i = 0; i < count; ++i) x[i] = from[i];
  return x;
}

OJ_INLINE void store_first(float* to, F x, long count) {
  if (count >= kFloatLanes) return store(to, x);
  for (long i = 0; i < count; ++i) to[i] = x[i];
}

/// The numbers 0, 1, 2, ... by lane.
OJ_INLINE I32 lane_numbers() {
  I32 x;
  for (int i = 0; i < kFloatLanes; ++i) x[i] = i;
  return x;
}

// --- transposition -------------------------------------------------------------------------------

/// Swaps the lanes of a whose number has the bit `step` with those of b that lack it.
template <int step, int... lane>
OJ_INLINE void swap_lanes(F& a, F& b, std::integer_sequence<int, lane...>) {
  constexpr int n = kFloatLanes;
  const F low = __builtin_shufflevector(a, b, (lane & step ? n + lane - step : lane)...);
  b = __builtin_shufflevector(a, b, (lane & step ? n + lane : lane + step)...);
  a = low;
}

/// Rows become columns: bit by bit, the number of an element's row is exchanged with that of its
/// lane.
template <int step = 1>
OJ_INLINE void transpose(F (&rows)[kFloatLanes]) {
#pragma clang loop unroll(full)
  for (int i = 0; i < kFloatLanes; ++i)
    if (!(i & step))
      swap_lanes<step>(rows[i], rows[i + step], std::make_integer_sequence<int, kFloatLanes>());
  if constexpr (2 * step < kFloatLanes) transpose<2 * step>(rows);
}

}  // namespace oj
