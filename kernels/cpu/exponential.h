// exp, exp2, expm1, tanh, sigmoid, sinh, cosh.
#pragma once

#include "coefficients.h"
#include "vector.h"

namespace oj {

/// x = n ln 2 + r with |r| <= ln 2 / 2: n twice (in the low bits of `biased`, to which the exponent
/// bias is added, and as a number) and expm1(r).
template <class V>
struct Exponent {
  V biased;
  V n;
  V expm1;
};

template <class V>
inline constexpr Scalar<V> biased_rounder = Format<V>::rounder + Format<V>::bias;

/// log(2) in two parts; the first has enough trailing zeros for exact products with exponents.
template <class V>
inline constexpr Scalar<V> ln2_hi = constant<V>(0x1.63p-1f, 0x1.62e42feep-1);
template <class V>
inline constexpr Scalar<V> ln2_lo = constant<V>(-0x1.bd0106p-13f, 0x1.a39ef35793c76p-33);

/// expm1(r) for |r| <= ln 2 / 2.
template <class V>
OJ_INLINE V small_expm1(V r) {
  if constexpr (sizeof(Scalar<V>) == 4) {
    return mul_add(r * r, polynomial(r, expm1_f32), r);
  } else {
    return mul_add(r * r, paired_polynomial(r, expm1_f64), r);
  }
}

/// Needs |x| below the format's rounder times ln 2.
template <class V>
OJ_INLINE Exponent<V> split_exponent(V x) {
  V biased = mul_add(x, constant<V>(0x1.715476p+0f, 0x1.71547652b82fep+0), biased_rounder<V>);
  V n = biased - biased_rounder<V>;
  V r = mul_add(n, -ln2_hi<V>, x);
  r = mul_add(n, -ln2_lo<V>, r);
  return {biased, n, small_expm1(r)};
}

/// 2^n for exponents of normal numbers, from the biased form.
template <class V>
OJ_INLINE V power_of_two(V biased) {
  return from_bits<V>(bits(biased) << Format<V>::mantissa_bits);
}

/// x * 2^n with one rounding, for n from twice the smallest to twice the largest exponent and x
/// near 1.
template <class V>
OJ_INLINE V scale(V x, V biased, V n) {
#if OURJIT_VECTOR_BITS == 512
  (void)biased;
  constexpr int current_rounding = 4;
  using Register = Scalar<V> __attribute__((ext_vector_type(64 / sizeof(Scalar<V>))));
  constexpr int registers = sizeof(V) / sizeof(Register);
  struct Parts {
    Register of[registers];
  };
  Parts mantissa = __builtin_bit_cast(Parts, x), exponent = __builtin_bit_cast(Parts, n);
#pragma clang loop unroll(full)
  for (int i = 0; i < registers; ++i) {
    Register& part = mantissa.of[i];
    if constexpr (sizeof(Scalar<V>) == 4) {
      part = __builtin_ia32_scalefps512_mask(part, exponent.of[i], part,
                                             static_cast<unsigned short>(-1), current_rounding);
    } else {
      part = __builtin_ia32_scalefpd512_mask(part, exponent.of[i], part,
                                             static_cast<unsigned char>(-1), current_rounding);
    }
  }
  return __builtin_bit_cast(V, mantissa);
#else
  (void)n;
  // Both factors are normal numbers, and the first product is exact.
  Int<V> exponent = __builtin_bit_cast(Int<V>, bits(biased) - bits(splat<V>(Format<V>::rounder)));
  Int<V> first =
      __builtin_bit_cast(Int<V>, __builtin_bit_cast(UInt<V>, exponent + Format<V>::bias) >> 1);
  Int<V> second = exponent + Format<V>::bias - first;
  return x * from_bits<V>(__builtin_bit_cast(UInt<V>, first << Format<V>::mantissa_bits)) *
         from_bits<V>(__builtin_bit_cast(UInt<V>, second << Format<V>::mantissa_bits));
#endif
}

/// x where exp is neither 0 nor infinite, else the nearest argument that gives these.
template <class V>
OJ_INLINE V clamp_exp(V x) {
  return at_least(at_most(x, constant<V>(89.0f, 710.5)), constant<V>(-104.0f, -746.0));
}

template <class V>
OJ_INLINE V exp(V x) {
  Exponent<V> e = split_exponent(clamp_exp(x));
  return scale(e.expm1 + 1, e.biased, e.n);
}

template <class V>
OJ_INLINE V exp2(V x) {
  V limited = at_least(at_most(x, constant<V>(129.0f, 1025.0)), constant<V>(-151.0f, -1076.0));
  V biased = limited + biased_rounder<V>;
  V n = biased - biased_rounder<V>;
  V r = limited - n;
  V p;
  if constexpr (sizeof(Scalar<V>) == 4) {
    p = polynomial(r, exp2_f32);
  } else {
    p = paired_polynomial(r, exp2_f64);
  }
  return scale(mul_add(r, p, Scalar<V>(1)), biased, n);
}

template <class V>
OJ_INLINE V expm1(V x) {
  V limited = at_least(at_most(x, constant<V>(89.0f, 710.5)), constant<V>(-26.0f, -56.0));
  Exponent<V> e = split_exponent(limited);
  // 2^n itself would overflow for the largest n, where the result can still be finite.
  Int<V> large = e.n > Scalar<V>(Format<V>::bias);
  V power = power_of_two(select(large, e.biased - 1, e.biased));
  V factor = select(large, splat<V>(2), splat<V>(1));
  return copysign(mul_add(power, e.expm1, power - 1) * factor, x);
}

/// expm1(x) for x >= 0 that is far from overflow.
template <class V>
OJ_INLINE V moderate_expm1(V x) {
  Exponent<V> e = split_exponent(x);
  V power = power_of_two(e.biased);
  return mul_add(power, e.expm1, power - 1);
}

/// An odd polynomial near 0 (where the other form would cancel), else 1 - 2 / (exp(2 x) + 1).
template <class V>
OJ_INLINE V tanh(V x) {
  V twice = at_most(abs(x), constant<V>(9.5f, 20.0)) * 2;
  Exponent<V> s = split_exponent(twice);
  V power = power_of_two(s.biased);
  V large = 1 - 2 / (mul_add(power, s.expm1, power) + 1);
  V z = x * x;
  V p;
  if constexpr (sizeof(Scalar<V>) == 4) {
    p = polynomial(z, tanh_f32);
  } else {
    p = polynomial(z, tanh_f64);
  }
  V small = mul_add(x * z, p, x);
  return copysign(select(abs(x) < constant<V>(0.55f, 0.55), small, large), x);
}

/// 1 / (1 + exp(-x)). With e = exp(-|x|) it is 1 / (1 + e), or e / (1 + e) below zero, and each is
/// one minus the other, which is 1 / (1 + e) in the term that makes up for the rounding of 1 + e.
template <class V>
OJ_INLINE V sigmoid(V x) {
  V limited = at_least(-abs(x), constant<V>(-104.0f, -746.0));
  Exponent<V> s = split_exponent(limited);
  V e = scale(s.expm1 + 1, s.biased, s.n);
  V sum = e + 1;
  V lost = e - (sum - 1);
  V rounded = select(x < 0, e, splat<V>(1)) / sum;
  return mul_add(-lost * rounded, select(x < 0, 1 - rounded, rounded), rounded);
}

/// exp(x) / 2 without overflow before the half itself overflows.
template <class V>
OJ_INLINE V half_exp(V x) {
  Exponent<V> e = split_exponent(at_most(x, constant<V>(90.0f, 711.5)));
  return scale(e.expm1 + 1, e.biased - 1, e.n - 1);
}

template <class V>
OJ_INLINE V sinh(V x) {
  V a = abs(x);
  V e = moderate_expm1(at_most(a, Scalar<V>(2)));
  V small = (e + e / (e + 1)) * Scalar<V>(0.5);
  V half = half_exp(a);
  V large = half - Scalar<V>(0.25) / half;
  return copysign(select(a < 1, small, large), x);
}

template <class V>
OJ_INLINE V cosh(V x) {
  V half = half_exp(abs(x));
  return half + Scalar<V>(0.25) / half;
}

}  // namespace oj
