// lgamma (the logarithm of |gamma|) and digamma (its derivative).
#pragma once

#include "logarithm.h"
#include "trigonometric.h"

namespace oj {

/// sin(pi a) for a >= 0, exactly zero at integers.
OJ_INLINE D sin_pi(D a) {
  D nearest = __builtin_elementwise_roundeven(a);
  D r = a - nearest;
  // |r| <= 1/2 in half turns is 2 r quadrants.
  D quadrants = __builtin_elementwise_roundeven(r * 2);
  D rest = mul_add(quadrants, -0.5, r) * half_pi<D>[0] * 2;
  D sine = select(quadrants == 0, small_sin(rest, splat<D>(0)),
                  copysign(small_cos(rest, splat<D>(0)), r));
  D parity = mul_add(__builtin_elementwise_floor(nearest * 0.5), -2.0, nearest);
  return select(parity == 0, sine, -sine);
}

/// lgamma(a) for a > 0; plus infinity for 0.
static inline D positive_lgamma(D a) {
  // Below 8: down to [2, 3) by lgamma(a) = lgamma(a - 1) + log(a - 1).
  D y = a;
  D product = splat<D>(1);
#pragma clang loop unroll(disable)
  for (int step = 0; step < 5; ++step) {
    I64 again = y >= 3;
    y = select(again, y - 1, y);
    product = select(again, product * y, product);
  }
  // Below 1: up by one. Then around 1 or 2, where lgamma has its zeros.
  I64 below_one = a < 1;
  I64 around_one = (a < 0.5) | ((a >= 1) & (a < 1.5));
  D around = select(around_one, splat<D>(1), splat<D>(2));
  D t = y - select(below_one, around - 1, around);
  D near =
      t * select(around_one, paired_polynomial(t, lgamma1_f64), paired_polynomial(t, lgamma2_f64));
  // From 8 up: Stirling's series.
  I64 far = a >= 8;
  D l = log(select(far | below_one, a, product));
  D inverse = 1 / a;
  static constexpr double stirling[] = {
      1.0 / 12,   -1.0 / 360,      1.0 / 1260, -1.0 / 1680,
      1.0 / 1188, -691.0 / 360360, 1.0 / 156,  -3617.0 / 122400,
  };
  D series = inverse * polynomial(inverse * inverse, stirling);
  D large = mul_add(a - 0.5, l - 1, series + 0x1.acfe390c97d69p-2);  // log(2 pi) / 2 - 1 / 2
  return select(far, large, near + select(below_one, -l, l));
}

static inline D lgamma(D x) {
  D a = abs(x);
  D positive = positive_lgamma(a);
  // gamma(x) gamma(-x) = -pi / (x sin(pi x)); for tiny x the positive branch is right for both
  // signs.
  I64 reflect = (x < 0) & (a > 0x1p-60);
  if (!any(reflect)) {
    return positive;
  }
  D sine = abs(sin_pi(a));
  D reflected = log(0x1.921fb54442d18p+1 / (a * sine)) - positive;
  I64 pole = (sine == 0) | (a == __builtin_inf());
  return select(reflect, select(pole, splat<D>(__builtin_inf()), reflected), positive);
}

/// As ATen's calc_digamma (after Cephes' psi): recurrence up to 10, then the asymptotic series;
/// poles below zero are NaN.
static inline D digamma(D x) {
  I64 reflect = x < 0;
  D y = select(reflect, 1 - x, x);
  D sum = splat<D>(0);
#pragma clang loop unroll(disable)
  for (int step = 0; step < 10; ++step) {
    I64 again = y < 10;
    sum = select(again, sum - 1 / y, sum);
    y = select(again, y + 1, y);
  }
  static constexpr double asymptotic[] = {
      1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132, -691.0 / 32760, 1.0 / 12,
  };
  D z = 1 / (y * y);
  D result = sum + (log(y) - 0.5 / y - z * polynomial(z, asymptotic));
  // digamma(x) = digamma(1 - x) - pi / tan(pi x)
  D nearest = __builtin_elementwise_roundeven(x);
  D angle = (x - nearest) * half_pi<D>[0] * 2;
  D sine = select(abs(angle) > 0.8, shifted_sin(angle, 0), small_sin(angle, splat<D>(0)));
  D cosine = select(abs(angle) > 0.8, shifted_sin(angle, 1), small_cos(angle, splat<D>(0)));
  D reflected = result - 0x1.921fb54442d18p+1 * cosine / sine;
  reflected =
      select((nearest == x) | (x == -__builtin_inf()), splat<D>(__builtin_nan("")), reflected);
  result = select(x == 0, copysign(splat<D>(__builtin_inf()), -x), result);
  return select(reflect, reflected, result);
}

}  // namespace oj
