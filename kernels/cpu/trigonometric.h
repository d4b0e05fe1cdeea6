// sin, cos, tan, asin, acos, atan, atan2.
#pragma once

#include "coefficients.h"
#include "vector.h"

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

/// The reduction for |x| <= moderate_limit. The first step is exact: the difference has no bit
/// below the last one of x and of the first part of pi / 2, and it is smaller than both.
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

/// tan of a reduced argument.
OJ_INLINE D reduced_tan(Reduced<D> r) {
  I64 odd = __builtin_bit_cast(I64, r.quadrant & 1) != 0;
  D s = small_sin(r.hi, r.lo);
  D c = small_cos(r.hi, r.lo);
  return select(odd, -c, s) / select(odd, s, c);
}

/// The bits of 2 / pi behind the point, after 64 zero bits.
static const unsigned long two_over_pi_bits[] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
    0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e,
    0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b,
    0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
    0xf0cfbc209af4361d, 0xa9e391615ee61b08,
};

/// One lane of a reduction.
struct ReducedLane {
  double hi;
  double lo;
  unsigned long quadrant;
};

/// Reduces a finite |x| >= moderate_limit by the method of Payne and Hanek: x = m 2^e with an
/// integer m of 53 bits, and only those bits of 2 / pi matter whose product with x is below 4.
static inline ReducedLane reduce_large(double x) {
  unsigned long pattern = __builtin_bit_cast(unsigned long, __builtin_fabs(x));
  unsigned long m = (pattern & 0xffffffffffffful) | 0x10000000000000ul;
  long e = static_cast<long>(pattern >> 52) - 1075;
  long skipped = e - 2 + 64;  // bits of the table whose products are multiples of 4
  const unsigned long* word = two_over_pi_bits + (skipped >> 6);
  int shift = static_cast<int>(skipped & 63);
  unsigned long window[3];
  for (int i = 0; i < 3; ++i) {
    window[i] = (word[i] << shift) | ((word[i + 1] >> 1) >> (63 - shift));
  }
  // The top two bits of this product of 192 bits count quadrants, the others are their fraction.
  unsigned __int128 low = static_cast<unsigned __int128>(m) * window[2];
  unsigned __int128 middle =
      static_cast<unsigned __int128>(m) * window[1] + static_cast<unsigned long>(low >> 64);
  unsigned long top = m * window[0] + static_cast<unsigned long>(middle >> 64);
  unsigned __int128 product =
      (static_cast<unsigned __int128>(top) << 64) | static_cast<unsigned long>(middle);
  unsigned long quadrant = top >> 62;
  // The fraction as a signed number: from a half up it belongs to the next quadrant.
  unsigned __int128 fraction = (product << 2) | (static_cast<unsigned long>(low) >> 62);
  bool negative = static_cast<__int128>(fraction) < 0;
  if (negative) {
    fraction = -fraction;
    quadrant += 1;
  }
  unsigned long high_word = static_cast<unsigned long>(fraction >> 64);
  int zeros = high_word == 0 ? 64 : __builtin_clzl(high_word);
  fraction <<= zeros;
  high_word = static_cast<unsigned long>(fraction >> 64);
  unsigned long low_word = (high_word << 53) | (static_cast<unsigned long>(fraction) >> 11);
  // 2^-zeros, by its exponent
  double unit = __builtin_bit_cast(double, static_cast<unsigned long>(1023 - zeros) << 52);
  double hi = static_cast<double>(static_cast<long>(high_word >> 11)) * 0x1p-53 * unit;
  double lo = static_cast<double>(static_cast<long>(low_word >> 1)) * 0x1p-116 * unit;
  double product_hi = hi * half_pi<D>[0];
#if OURJIT_VECTOR_BITS >= 256
  double error = __builtin_fma(hi, half_pi<D>[0], -product_hi);
#else
  double error = product_error(hi, half_pi<D>[0], product_hi, 0x1.0000002p27);
#endif
  double rest = error + hi * half_pi<D>[1] + lo * half_pi<D>[0];
  double sum = product_hi + rest;
  double tail = rest - (sum - product_hi);
  // cos is even and sin is odd: a negative x has the negative remainder and the opposite quadrant.
  bool flip = negative != (x < 0);
  return {flip ? -sum : sum, flip ? -tail : tail, x < 0 ? 0 - quadrant : quadrant};
}

/// The reduction for every x; infinity gives NaN.
static inline Reduced<D> reduce_any(D x) {
  Reduced<D> r = reduce_moderate(x);
  for (int lane = 0; lane < kDoubleLanes; ++lane) {
    double value = x[lane];
    if (__builtin_fabs(value) == __builtin_inf()) {
      r.hi[lane] = __builtin_nan("");
    } else if (__builtin_fabs(value) > moderate_limit<D>) {
      ReducedLane reduced = reduce_large(value);
      r.hi[lane] = reduced.hi;
      r.lo[lane] = reduced.lo;
      r.quadrant[lane] = reduced.quadrant;
    }
  }
  return r;
}

OJ_NOINLINE static D large_sin(D x, unsigned long quadrants) {
  Reduced<D> r = reduce_any(x);
  r.quadrant += quadrants;
  return reduced_sin(r);
}

OJ_NOINLINE static D large_tan(D x) { return reduced_tan(reduce_any(x)); }

/// sin(x + quadrants * pi / 2)
OJ_INLINE D shifted_sin(D x, unsigned long quadrants) {
  if (__builtin_expect(any(abs(x) > moderate_limit<D>), 0)) {
    return large_sin(x, quadrants);
  }
  Reduced<D> r = reduce_moderate(x);
  r.quadrant += quadrants;
  return reduced_sin(r);
}

OJ_NOINLINE static F large_sin(F x, unsigned quadrants) {
  Halves half = widen(x);
  return narrow(shifted_sin(half.lo, quadrants), shifted_sin(half.hi, quadrants));
}

/// A lane's result does not depend on the others.
OJ_INLINE F shifted_sin(F x, unsigned quadrants) {
  Reduced<F> r = reduce_moderate(x);
  r.quadrant += quadrants;
  F result = reduced_sin(r);
  // The reduction loses the sign of zero.
  if (quadrants == 0) result = select(x == 0, x, result);
  I32 large = abs(x) > moderate_limit<F>;
  if (__builtin_expect(any(large), 0)) {
    return select(large, large_sin(x, quadrants), result);
  }
  return result;
}

template <class V>
OJ_INLINE V sin(V x) {
  return shifted_sin(x, 0);
}

template <class V>
OJ_INLINE V cos(V x) {
  return shifted_sin(x, 1);
}

OJ_INLINE D tan(D x) {
  if (__builtin_expect(any(abs(x) > moderate_limit<D>), 0)) {
    return large_tan(x);
  }
  return reduced_tan(reduce_moderate(x));
}

/// atan2 and atan share this: the angle in [0, pi / 2] whose tangent is y / x, for y, x >= 0.
OJ_INLINE D first_quadrant_angle(D y, D x) {
  I64 steep = y > x;
  D small = select(steep, x, y);
  D big = select(steep, y, x);
  D ratio = small / big;
  ratio = select(big == 0, splat<D>(0), select(small == __builtin_inf(), splat<D>(1), ratio));
  // Above tan(pi / 8) by way of pi / 4.
  I64 middle = ratio > 0x1.a827999fcef32p-2;
  D t = select(middle, (ratio - 1) / (ratio + 1), ratio);
  D z = t * t;
  D angle = mul_add(t * z, paired_polynomial(z, atan_f64), t);
  constexpr double half_pi_lo = 0x1.1a62633145c07p-54;
  angle = select(middle, 0x1.921fb54442d18p-1 + (angle + half_pi_lo / 2), angle);
  angle = select(steep, 0x1.921fb54442d18p+0 - (angle - half_pi_lo), angle);
  return select(is_nan(y) | is_nan(x), y + x, angle);
}

OJ_INLINE D atan(D x) { return copysign(first_quadrant_angle(abs(x), splat<D>(1)), x); }

OJ_INLINE D atan2(D y, D x) {
  D angle = first_quadrant_angle(abs(y), abs(x));
  I64 left = __builtin_bit_cast(I64, x) < 0;
  angle = select(left, 0x1.921fb54442d18p+1 - (angle - 0x1.1a62633145c07p-53), angle);
  return copysign(angle, y);
}

/// asin(sqrt(z)) / sqrt(z) - 1 for 0 <= z <= 1/4
OJ_INLINE D asin_tail(D z) { return z * paired_polynomial(z, asin_f64); }

OJ_INLINE D asin(D x) {
  D a = abs(x);
  I64 outer = a > 0.5;
  D z = select(outer, mul_add(a, -0.5, 0.5), a * a);
  D root = select(outer, __builtin_elementwise_sqrt(z), a);
  D inner = mul_add(root, asin_tail(z), root);
  D result = select(outer, 0x1.921fb54442d18p+0 - (inner * 2 - 0x1.1a62633145c07p-54), inner);
  return copysign(result, x);
}

OJ_INLINE D acos(D x) {
  D a = abs(x);
  I64 outer = a > 0.5;
  D z = select(outer, mul_add(a, -0.5, 0.5), a * a);
  D root = select(outer, __builtin_elementwise_sqrt(z), a);
  D inner = mul_add(root, asin_tail(z), root);
  D far = select(x < 0, 0x1.921fb54442d18p+1 - (inner * 2 - 0x1.1a62633145c07p-53), inner * 2);
  D near = 0x1.921fb54442d18p+0 - (copysign(inner, x) - 0x1.1a62633145c07p-54);
  return select(outer, far, near);
}

}  // namespace oj
