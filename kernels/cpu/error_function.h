// erf, erfc, erfinv.
#pragma once

#include "logarithm.h"

namespace oj {

OJ_INLINE F erf(F x) {
  F a = abs(x);
  F small = mul_add(a, polynomial(a * a, erf_f32), a);
  // 1 - erfc(a), where erfc(a) is far from denormal
  F limited = at_most(a, 4.0f);
  Exponent<F> e = split_exponent(-mul_add(limited, polynomial(limited, erfc_log_f32), limited));
  F power = power_of_two(e.biased);
  F large = (1 - power) - power * e.expm1;
  return copysign(select(a < 0.925f, small, large), x);
}

/// erfc(a) for a >= 0.
OJ_INLINE D positive_erfc(D a) {
  D limited = at_most(a, 28.0);
  D g = polynomial((limited - 4) / (limited + 4), erfcx_f64) / mul_add(limited, 2.0, 1.0);
  Sum<D> square = two_product(limited, limited);
  D e = exp(-square.hi);
  return mul_add(e, -square.lo, e) * g;
}

/// erf(a) for 0 <= a <= 1.
OJ_INLINE D small_erf(D a) { return mul_add(a, paired_polynomial(a * a, erf_f64), a); }

OJ_INLINE D erf(D x) {
  D a = abs(x);
  return copysign(select(a < 1, small_erf(a), 1 - positive_erfc(a)), x);
}

OJ_INLINE D erfc(D x) {
  D a = abs(x);
  D result = select(a < 0.5, 1 - small_erf(a), positive_erfc(a));
  return select(x < 0, 2 - result, result);
}

OJ_INLINE D erfinv(D x) {
  D a = abs(x);
  D complement = 1 - a;
  // A first guess: two terms of the series at 0, or S. Winitzki's formula (relative error 2e-3).
  D series = a * mul_add(a * a, 0x1.db29fb2fee5e4p-3, 0x1.c5bf891b4ef6bp-1);
  D l = log(complement * (1 + a));
  D c = mul_add(l, 0.5, 4.330746750799873);  // 2 / (0.147 pi)
  D guess = __builtin_elementwise_sqrt(__builtin_elementwise_sqrt(c * c - l / 0.147) - c);
  D y = select(a < 0.1, series, guess);
#pragma clang loop unroll(disable)
  for (int step = 0; step < 3; ++step) {
    // Halley's method for erf(y) = a, with the complements where erf is near 1
    D error = select(a < 0.75, small_erf(y) - a, complement - positive_erfc(y));
    D newton = error * exp(y * y) * 0x1.c5bf891b4ef6bp-1;
    y = y - newton / mul_add(y, newton, 1.0);
  }
  D result =
      select(a < 1, y, select(a == 1, splat<D>(__builtin_inf()), splat<D>(__builtin_nan(""))));
  return copysign(select(is_nan(x), x, result), x);
}

}  // namespace oj
