// log, log2, log10, log1p, asinh, acosh, atanh.
#pragma once

#include "exponential.h"

namespace oj {

/// x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for positive finite x, denormal ones too.
template <class V>
struct Mantissa {
  V k;
  V f;
};

/// The exponent k plus the format's bias, of a positive normal number.
template <class V>
OJ_INLINE UInt<V> biased_exponent(V x) {
  constexpr Scalar<V> sqrt_half = constant<V>(0x1.6a09e6p-1f, 0x1.6a09e667f3bcdp-1);
  UInt<V> one = bits(splat<V>(1));
  return (bits(x) - bits(splat<V>(sqrt_half)) + one) >> Format<V>::mantissa_bits;
}

/// The number k of a biased exponent.
template <class V>
OJ_INLINE V exponent_value(UInt<V> biased) {
  return from_bits<V>(biased + bits(splat<V>(Format<V>::rounder))) - biased_rounder<V>;
}

template <class V>
OJ_INLINE Mantissa<V> split_normal(V x) {
  UInt<V> biased = biased_exponent(x);
  V m = from_bits<V>(bits(x) - ((biased - Format<V>::bias) << Format<V>::mantissa_bits));
  return {exponent_value<V>(biased), m - 1};
}

template <class V>
OJ_INLINE Mantissa<V> split_mantissa(V x) {
  Int<V> denormal = x < Format<V>::min_normal;
  Mantissa<V> split = split_normal(select(denormal, x * Scalar<V>(0x1p54), x));
  split.k = select(denormal, split.k - 54, split.k);
  return split;
}

/// log(1 + f) - f for 1 + f between sqrt(1/2) and sqrt(2), plus `rest`.
template <class V>
OJ_INLINE V log_tail(V f, V rest) {
  if constexpr (sizeof(Scalar<V>) == 4) {
    V square = f * f;
    V tail = mul_add(square * f, polynomial(f, log_f32), rest);
    return mul_add(square, Scalar<V>(-0.5), tail);
  } else {
    // log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + R(s^2)) with s = f / (2 + f)
    V s = f / (f + 2);
    V z = s * s;
    V half_square = f * f * Scalar<V>(0.5);
    V r = z * polynomial(z, atanh_f64);
    return mul_add(s, half_square + r, rest) - half_square;
  }
}

/// result, but for zero (minus infinity), negative x (NaN), infinity and NaN.
template <class V>
OJ_INLINE V with_log_specials(V x, V result) {
  V finite = select(x < Format<V>::infinity, result, x);
  V pole = select(x < 0, splat<V>(__builtin_nanf("")), splat<V>(-Format<V>::infinity));
  return select(x <= 0, pole, finite);
}

/// log(x) for positive finite x.
template <class V>
OJ_INLINE V positive_log(V x) {
  Mantissa<V> s = split_mantissa(x);
  V tail = log_tail(s.f, s.k * ln2_lo<V>);
  return mul_add(s.k, ln2_hi<V>, s.f + tail);
}

template <class V>
OJ_INLINE V log(V x) {
  return with_log_specials(x, positive_log(x));
}

template <class V>
OJ_INLINE V log2(V x) {
  // 1 / ln 2 in two parts
  constexpr Scalar<V> hi = constant<V>(0x1.714p+0f, 0x1.71547652p+0);
  constexpr Scalar<V> lo = constant<V>(0x1.47652cp-12f, 0x1.705fc2eefa2p-33);
  Mantissa<V> s = split_mantissa(x);
  V tail = log_tail(s.f, splat<V>(0));
  V small = mul_add(tail, hi + lo, s.f * lo);
  return with_log_specials(x, s.k + mul_add(s.f, hi, small));
}

template <class V>
OJ_INLINE V log10(V x) {
  // 1 / ln 10 and log10(2) in two parts
  constexpr Scalar<V> hi = constant<V>(0x1.bcap-2f, 0x1.bcb7b152p-2);
  constexpr Scalar<V> lo = constant<V>(0x1.7b1526p-14f, 0x1.b9438ca9aadd5p-36);
  constexpr Scalar<V> two_hi = constant<V>(0x1.344p-2f, 0x1.34413508p-2);
  constexpr Scalar<V> two_lo = constant<V>(0x1.3509f8p-18f, 0x1.f79fef311f12bp-34);
  Mantissa<V> s = split_mantissa(x);
  V tail = log_tail(s.f, splat<V>(0));
  V small = mul_add(s.k, two_lo, mul_add(tail, hi + lo, s.f * lo));
  return with_log_specials(x, mul_add(s.k, two_hi, mul_add(s.f, hi, small)));
}

/// log1p(x) for finite x > -1.
template <class V>
OJ_INLINE V finite_log1p(V x) {
  UInt<V> biased = biased_exponent(x + 1);
  V k = exponent_value<V>(biased);
  // 2^-k by way of 2^(2-k), which is a normal number for every k.
  V shrink = from_bits<V>((2 * Format<V>::bias + 2 - biased) << Format<V>::mantissa_bits) *
             Scalar<V>(0.25);
  // (1 + x) 2^-k - 1, which is x itself where k = 0
  V f = mul_add(x, shrink, shrink - 1);
  V tail = log_tail(f, k * ln2_lo<V>);
  return mul_add(k, ln2_hi<V>, f + tail);
}

template <class V>
OJ_INLINE V log1p(V x) {
  V result = select(x < Format<V>::infinity, finite_log1p(x), x);
  V pole = select(x < -1, splat<V>(__builtin_nanf("")), splat<V>(-Format<V>::infinity));
  return copysign(select(x <= -1, pole, result), x);
}

template <class V>
OJ_INLINE V asinh(V x) {
  V a = abs(x);
  Int<V> large = a > constant<V>(0x1p28f, 0x1p28);
  V moderate = select(large, splat<V>(1), a);
  V square = moderate * moderate;
  V root = __builtin_elementwise_sqrt(square + 1);
  V near = finite_log1p(moderate + square / (root + 1));
  V far = log(a) + constant<V>(0x1.62e43p-1f, 0x1.62e42fefa39efp-1);
  return copysign(select(large, far, near), x);
}

template <class V>
OJ_INLINE V acosh(V x) {
  Int<V> large = x > constant<V>(0x1p28f, 0x1p28);
  V t = select(large, splat<V>(1), x) - 1;
  V near = finite_log1p(t + __builtin_elementwise_sqrt(mul_add(t, t, t * 2)));
  V far = log(x) + constant<V>(0x1.62e43p-1f, 0x1.62e42fefa39efp-1);
  return select(large, far, select(x < 1, splat<V>(__builtin_nanf("")), near));
}

template <class V>
OJ_INLINE V atanh(V x) {
  V a = abs(x);
  return copysign(log1p(a * 2 / (1 - a)) * Scalar<V>(0.5), x);
}

}  // namespace oj
