// sin, cos, tan, asin, acos, atan, atan2.
#pragma once

#include "vector.h"
#include "coefficients.h"

namespace oj {

/// x = quadrant * pi / 2 + hi + lo with |hi| <= pi / 4; quadrant is right modulo 4.
template <class V>
struct Reduced {
  V hi;
  V lo;
  UInt<V> quadrant;
};

/// Up to here reduce_moderate holds.
template <class V>
inline constexpr Scalar<V> moderate_limit = constant<V>(0x1p17f, 0x1p30);

/// pi / 2 in three parts.
template <class V>
inline constexpr Scalar<V> half_pi[] = {
    constant<V>(0x1.921fb6p+0f, 0x1.921fb54442d18p+0),
    constant<V>(-0x1.777a5cp-25f, 0x1.1a62633145c07p-54),
    constant<V>(-0x1.ee59dap-50f, -0x1.f1976b7ed8fbcp-110),
};

/// The reduction for |x| <= moderate_limit. The first step is exact: the difference has no bit below the last one of
/// x and of the first part of pi / 2, and it is smaller than both.
template <class V>
OJ_INLINE Reduced<V> reduce_moderate(V x) {
  constexpr Scalar<V> two_over_pi = constant<V>(0x1.45f306p-1f, 0x1.45f306dc9c883p-1);
  V rounded = mul_add(x, two_over_pi, Format<V>::rounder);
  V n = rounded - Format<V>::rounder;
  V first = exact_remainder(n, splat<V>(half_pi<V>[0]), x);
  Sum<V> second = two_product(n, splat<V>(half_pi<V>[1]));
  Sum<V> r = two_sum(first, -second.hi);
  V lo = r.lo - mul_add(n, half_pi<V>[2], second.lo);
  return {r.hi, lo, bits(rounded)};
}

/// sin(hi + lo) with the sign of hi.
template <class V>
OJ_INLINE V small_sin(V hi, V lo) {
  V z = hi * hi;
  V p;
  if constexpr (sizeof(Scalar<V>) == 4) {
    p = polynomial(z, sin_f32);
  } else {
    p = polynomial(z, sin_f64);
  }
  V rest = mul_add(hi * z, p, mul_add(lo * Scalar<V>(-0.5), z, lo));
  return copysign(hi + rest, hi);
}

template <class V>
OJ_INLINE V small_cos(V hi, V lo) {
  V z = hi * hi;
  V p;
  if constexpr (sizeof(Scalar<V>) == 4) {
    p = polynomial(z, cos_f32);
  } else {
    p = polynomial(z, cos_f64);
  }
  V rest = mul_add(z * z, p, -(hi * lo));
  return mul_add(z, Scalar<V>(-0.5), rest) + 1;
}

/// sin of a reduced argument; quadrant + 1 gives cos.
template <class V>
OJ_INLINE V reduced_sin(Reduced<V> r) {
  Int<V> odd = __builtin_bit_cast(Int<V>, r.quadrant & 1) != 0;
  V result = select(odd, small_cos(r.hi, r.lo), small_sin(r.hi, r.lo));
  return from_bits<V>(bits(result) ^ ((r.quadrant & 2) << (Format<V>::sign_bit - 1)));
}

/// cos(2 pi u) for u in [0, 1].
template <class V>
OJ_INLINE V cos_turns(V u) {
  V rounded = mul_add(u, Scalar<V>(4), Format<V>::rounder);
  V r = mul_add(u, Scalar<V>(4), Format<V>::rounder - rounded);
  return reduced_sin<V>({r * half_pi<V>[0], splat<V>(0), bits(rounded) + 1});
}

}  // namespace oj
