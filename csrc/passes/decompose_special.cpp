// Special functions as series of the operators that kernels know.
#include <cmath>
#include <limits>
#include <numbers>
#include <span>

#include "passes/decompose_rules.h"
#include "passes/special_series.h"

namespace ourjit {
namespace {

/// The series at `t` in [-1, 1] by Clenshaw's recurrence, without the terms that vanish in t's
/// dtype.
Expr chebyshev(const Expr& t, std::span<const double> series) {
  const double least = t.dtype() == DType::f64 ? 0 : 0x1p-27;
  while (std::abs(series.back()) < least * std::abs(series.front()))
    series = series.first(series.size() - 1);
  const Expr twice = t + t;
  Expr next = number(t, series.back()), after = number(t, 0);
  for (size_t k = series.size() - 1; k-- > 1;) {
    const Expr here = twice * next - after + series[k];
    after = next;
    next = here;
  }
  return t * next - after + series[0];
}

/// I(x) of order 0 or 1 for x >= 0; `scaled`: times exp(-x).
Expr bessel_i(const Expr& x, size_t order, bool scaled) {
  static constexpr std::span<const double> kNear[] = {kI0Near, kI1Near}, kFar[] = {kI0Far, kI1Far};
  const Expr near = chebyshev(minimum(x, 8) * 0.25 - 1, kNear[order]);
  const Expr far = chebyshev(16.0 / maximum(x, 8) - 1, kFar[order]);
  const Expr low = order == 0 ? near : near * x;
  if (scaled) return where(x <= 8, low, far / sqrt(x));
  const Expr grown = exp(x);
  return where(x <= 8, grown * low, grown * far / sqrt(x));
}

void i0(AtenCall& c) { c.done(bessel_i(abs(c.wide(0)), 0, false)); }
void i0e(AtenCall& c) { c.done(bessel_i(abs(c.wide(0)), 0, true)); }

/// Odd, but for the sign of zero, as in ATen.
Expr odd(const Expr& x, const Expr& of_magnitude) {
  return where(x < 0, -of_magnitude, of_magnitude);
}

void i1(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(odd(x, bessel_i(abs(x), 1, false)));
}

void i1e(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(odd(x, bessel_i(abs(x), 1, true)));
}

/// exp(x^2) erfc(x)
void erfcx(AtenCall& c) {
  const Expr x = c.wide(0), a = abs(x);
  const Expr upper = chebyshev(1 - 7.5 / (a + 3.75), kErfcx) / (2 * a + 1);
  c.done(where(x < 0, 2 * exp(x * x) - upper, upper));
}

/// Where the normal distribution reaches a probability: near 1/2 the inverse error function, else
/// from r = sqrt(-2 log p) of the smaller tail p.
void ndtri(AtenCall& c) {
  const Expr p = c.wide(0);
  const Expr middle = std::numbers::sqrt2 * apply(ScalarOp::erfinv, 2 * p - 1);
  const Expr tail = where(p > 0.5, 1 - p, p);
  const Expr r = sqrt(-2 * log(tail));
  const Expr z = 1 / r;
  // z within [a, b] as t within [-1, 1].
  const auto part = [&](double a, double b, std::span<const double> series) {
    const Expr inside = minimum(maximum(z, a), b);
    return chebyshev((inside - a) * (2 / (b - a)) - 1, series);
  };
  const Expr step =
      where(r < 8, part(1.0 / 8, 1 / 1.4, kNdtriNear), part(1.0 / 40, 1.0 / 8, kNdtriFar));
  const Expr far = where(eq(tail, 0), std::numeric_limits<double>::infinity(), r - step * z);
  const Expr outer = where(p > 0.5, far, -far);
  c.done(where(either(p < 0.125, p > 0.875), outer, middle));
}

}  // namespace

std::vector<AtenRule> special_rules() {
  return {
      {"aten.i0.default", i0},
      {"aten.special_i0e.default", i0e},
      {"aten.special_i1.default", i1},
      {"aten.special_i1e.default", i1e},
      {"aten.special_modified_bessel_i0.default", i0},
      {"aten.special_modified_bessel_i1.default", i1},
      {"aten.special_erfcx.default", erfcx},
      {"aten.special_ndtri.default", ndtri},
  };
}

}  // namespace ourjit
