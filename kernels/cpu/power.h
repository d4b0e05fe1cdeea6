// pow and fmod.
#pragma once

#include "logarithm.h"

namespace oj {

/// C's rules for pow(x, y), given the magnitude |x|^y of the ordinary case.
template <class V>
OJ_NOINLINE static V pow_specials(V x, V y, V magnitude) {
  constexpr Scalar<V> infinity = Format<V>::infinity;
  V a = abs(x);
  V half = y * Scalar<V>(0.5);
  Int<V> integer = __builtin_elementwise_floor(y) == y;
  Int<V> odd = integer & (__builtin_elementwise_floor(half) != half);
  Int<V> rising = y > 0;
  // Zero and infinite bases, then infinite exponents.
  V at_zero = select(rising, splat<V>(0), splat<V>(infinity));
  V at_infinity = select(rising, splat<V>(infinity), splat<V>(0));
  V result = select(a == 0, at_zero, magnitude);
  result = select(a == infinity, at_infinity, result);
  V extreme = select(a > 1, at_infinity, at_zero);
  result = select(abs(y) == infinity, select(a == 1, splat<V>(1), extreme), result);
  // Signs, undefined cases and NaN operands.
  result = select(odd, copysign(result, x), result);
  Int<V> undefined = (x < 0) & ~integer & (a < infinity);
  result = select(undefined, splat<V>(__builtin_nanf("")), result);
  result = select(is_nan(x) | is_nan(y), x + y, result);
  return select((y == 0) | (x == 1), splat<V>(1), result);
}

/// The same, where positive finite bases with finite exponents are the usual case.
template <class V>
OJ_INLINE V with_pow_specials(V x, V y, V magnitude) {
  constexpr Scalar<V> infinity = Format<V>::infinity;
  Int<V> ordinary = (x > 0) & (x < infinity) & (abs(y) < infinity);
  if (__builtin_expect(any(~ordinary), 0)) {
    return pow_specials(x, y, magnitude);
  }
  return magnitude;
}

/// |x|^y in double precision, to about 2^-36, for half of the lanes of a float vector.
OJ_INLINE D rough_power(D a, D y) {
  Mantissa<D> s = split_normal(a);
  D l = mul_add(s.f, paired_polynomial(s.f, pow_log2_f64), s.k);
  D t = at_least(at_most(y * l, 300.0), -300.0);
  D biased = t + biased_rounder<D>;
  D r = t - (biased - biased_rounder<D>);
  return mul_add(r, polynomial(r, pow_exp2_f64), 1.0) * power_of_two(biased);
}

OJ_INLINE F pow(F x, F y) {
  Halves base = widen(abs(x));
  Halves exponent = widen(y);
  F magnitude = narrow(rough_power(base.lo, exponent.lo), rough_power(base.hi, exponent.hi));
  return with_pow_specials(x, y, magnitude);
}

OJ_INLINE Sum<D> add(Sum<D> a, Sum<D> b) {
  Sum<D> s = two_sum(a.hi, b.hi);
  return quick_two_sum(s.hi, s.lo + (a.lo + b.lo));
}

OJ_INLINE Sum<D> multiply(Sum<D> a, Sum<D> b) {
  Sum<D> p = two_product(a.hi, b.hi);
  return quick_two_sum(p.hi, p.lo + mul_add(a.hi, b.lo, a.lo * b.hi));
}

/// log(a) for positive finite a to about 2^-68: 2 atanh(s), s = f / (2 + f), with the leading terms
/// as sums of two.
OJ_INLINE Sum<D> precise_log(D a) {
  Mantissa<D> m = split_mantissa(a);
  Sum<D> denominator = two_sum(splat<D>(2), m.f);
  D hi = m.f / denominator.hi;
  Sum<D> back = two_product(hi, denominator.hi);
  D lo = (((m.f - back.hi) - back.lo) - hi * denominator.lo) / denominator.hi;
  Sum<D> s = quick_two_sum(hi, lo);
  Sum<D> z = multiply(s, s);
  // 2 atanh(s) = 2 s + s z (2/3 + z q(z))
  Sum<D> third = {splat<D>(0x1.5555555555555p-1), splat<D>(0x1.5555555555555p-55)};
  D q = z.hi * paired_polynomial(z.hi, pow_log_f64);
  Sum<D> rest = multiply(multiply(s, z), add(third, {q, splat<D>(0)}));
  Sum<D> twice = {s.hi * 2, s.lo * 2};
  // log(2) in two parts whose first has 32 bits, so that its product with k is exact
  Sum<D> exponent = {m.k * ln2_hi<D>, m.k * ln2_lo<D>};
  return add(add(exponent, twice), rest);
}

/// exp of a sum.
OJ_INLINE D exp_of_sum(Sum<D> x) {
  D hi = at_least(at_most(x.hi, 710.5), -746.0);
  Exponent<D> e = split_exponent(hi);
  D lo = select(hi == x.hi, x.lo, splat<D>(0));
  return scale(e.expm1 + (mul_add(e.expm1, lo, lo)) + 1, e.biased, e.n);
}

static inline D pow(D x, D y) {
  Sum<D> l = precise_log(abs(x));
  // Beyond this the result is 0, 1 or infinite; limited, the products below cannot overflow.
  D limited = at_least(at_most(y, 0x1p70), -0x1p70);
  Sum<D> product = multiply(l, {limited, splat<D>(0)});
  return with_pow_specials(x, y, exp_of_sum(product));
}

/// The remainder of one lane by long division, for finite x and y != 0: 8 bits of the quotient a
/// step.
template <class S, class U, int mantissa_bits>
static inline S long_fmod(S x, S y) {
  constexpr U hidden = U(1) << mantissa_bits;
  constexpr int chunk = 8;
  U x_bits = __builtin_bit_cast(U, x) << 1 >> 1;
  U y_bits = __builtin_bit_cast(U, y) << 1 >> 1;
  U sign = __builtin_bit_cast(U, x) ^ x_bits;
  long x_exponent = static_cast<long>(x_bits >> mantissa_bits);
  long y_exponent = static_cast<long>(y_bits >> mantissa_bits);
  U x_mantissa = x_bits & (hidden - 1);
  U y_mantissa = y_bits & (hidden - 1);
  if (x_exponent == 0) {
    x_exponent = 1;
  } else {
    x_mantissa |= hidden;
  }
  if (y_exponent == 0) {
    y_exponent = 1;
  } else {
    y_mantissa |= hidden;
  }
  if (x_bits < y_bits) {
    return x;
  }
  U rest = x_mantissa % y_mantissa;
  long steps = x_exponent - y_exponent;
  while (steps > 0 && rest != 0) {
    long now = steps < chunk ? steps : chunk;
    rest = (rest << now) % y_mantissa;
    steps -= now;
  }
  // rest counts units of the last place of y.
  U result;
  if (rest < hidden && y_exponent == 1) {
    result = rest;
  } else if (rest == 0) {
    result = 0;
  } else {
    long exponent = y_exponent;
    while (rest < hidden && exponent > 1) {
      rest <<= 1;
      exponent -= 1;
    }
    result =
        rest < hidden ? rest : (static_cast<U>(exponent) << mantissa_bits) | (rest & (hidden - 1));
  }
  return __builtin_bit_cast(S, sign | result);
}

/// Replaces the lanes whose quotient is too large for one division.
OJ_NOINLINE static D fix_fmod(D x, D y, D result) {
  for (int lane = 0; lane < kDoubleLanes; ++lane) {
    double a = x[lane];
    double b = y[lane];
    if (__builtin_fabs(a) < __builtin_inf() && __builtin_fabs(b) < __builtin_inf() && b != 0) {
      result[lane] = long_fmod<double, unsigned long, 52>(a, b);
    }
  }
  return result;
}

/// The remainder of a by b in one step, for a, b >= 0 and a quotient below 2^51.
OJ_INLINE D one_step_fmod(D a, D b) {
  // The rounded quotient can be one too large; the remainder is representable all the same.
  D quotient = __builtin_elementwise_trunc(a / b);
  D r = exact_remainder(quotient, b, a);
  r = select(r < 0, r + b, r);
  return select(a < b, a, r);
}

static inline D fmod(D x, D y) {
  D a = abs(x);
  D b = abs(y);
  I64 undefined = (b == 0) | (a == __builtin_inf()) | is_nan(a) | is_nan(b);
  D result = copysign(one_step_fmod(a, b), x);
  result = select(undefined, splat<D>(__builtin_nan("")), result);
  // The bounds on a keep the exact products of a build without fused operations in range.
  I64 hard = ~undefined & ~(a < b) & (~(a / b < 0x1p51) | (a > 0x1p960) | (a < 0x1p-900));
  if (__builtin_expect(any(hard), 0)) {
    return fix_fmod(x, y, result);
  }
  return result;
}

static inline F fmod(F x, F y) {
  Halves a = widen(x);
  Halves b = widen(y);
  return narrow(fmod(a.lo, b.lo), fmod(a.hi, b.hi));
}

}  // namespace oj
