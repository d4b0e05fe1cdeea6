// Special functions of statistics, and the neighbours of floating point numbers.
#include <cmath>
#include <limits>
#include <numbers>

#include "passes/decompose_rules.h"
#include "passes/series.h"
#include "passes/special_tables.h"

namespace ourjit {
namespace {

/// exp(a^2) erfc(a) for a >= 0.
Expr positive_erfcx(const Expr& a) {
  const Expr finite = minimum(a, 1e18);
  const Expr y = (finite - 3.75) / (finite + 3.75) * 2;
  return chebyshev(y, kErfcx) / (a + 0.5);
}

/// For negative x by reflection.
void erfcx(AtenCall& c) {
  const Expr x = c.wide(0);
  const Expr positive = positive_erfcx(abs(x));
  c.done(where(x < 0, 2 * exp(x * x) - positive, positive));
}

/// log(erfc(-x / sqrt(2)) / 2)
void log_ndtr(AtenCall& c) {
  const Expr x = c.wide(0);
  const Expr half_square = x * (x * 0.5);
  const Expr half = positive_erfcx(abs(x) * (std::numbers::sqrt2 / 2)) * 0.5;
  c.done(where(x < 0, log(half) - half_square, log1p(-half * exp(-half_square))));
}

/// The inverse of the normal distribution.
void ndtri(AtenCall& c) {
  constexpr double tail = 0.13533528323661269189;  // exp(-2)
  const Expr probability = c.wide(0);
  const Expr upper = probability > 1 - tail;
  const Expr y = where(upper, 1 - probability, probability);

  const Expr d = y - 0.5, middle = d * polynomial(d * d, kNormalMiddle);

  const Expr r = sqrt(log(y) * -2);
  const Expr z = 1 / r;
  const Expr correction =
      where(r < 8, z * polynomial(z, kNormalNearP) / polynomial(z, kNormalNearQ),
            z * polynomial(z, kNormalFarP) / polynomial(z, kNormalFarQ));
  const Expr far = r - log(r) / r - correction;
  const Expr inside = where(y > tail, middle, where(upper, far, -far));

  const Expr outside = either(probability < 0, probability > 1);
  const Expr ends = where(eq(probability, 0), -kInfinity, where(outside, kNan, inside));
  c.done(where(eq(probability, 1), kInfinity, ends));
}

/// What a float dtype holds: its digits in base 2, and the exponents of its least and its least
/// normal number.
struct Precision {
  int digits, least, normal;
  double largest;
};

Precision precision(DType t) {
  switch (t) {
    case DType::f16:
      return {11, -24, -14, 65504};
    case DType::bf16:
      return {8, -133, -126, 0x1.FEp127};
    case DType::f32:
      return {24, -149, -126, std::numeric_limits<float>::max()};
    default:
      return {53, -1074, -1022, std::numeric_limits<double>::max()};
  }
}

/// The neighbour of x towards y, without a look at bits: x plus or minus slightly more than half a
/// unit in the last place rounds to it. Near zero all numbers are equally far apart; where the
/// half unit itself would be inexact, x is scaled up meanwhile.
void nextafter(AtenCall& c) {
  const Precision p = precision(c.out().dtype);
  const Expr x = c.wide(0), y = c.wide(1), a = abs(x);
  const Expr up = y > x;
  const double unit = std::ldexp(1, -p.digits), scale = std::ldexp(1, 2 * p.digits);
  const double least = std::ldexp(1, p.least);

  const Expr small = a < std::ldexp(1, p.normal + 2 * p.digits);
  const Expr scaled = where(small, x * scale, x);
  const Expr step = abs(scaled) * (unit * (1 + 2 * unit));
  const Expr moved = scaled + where(up, step, -step);
  const Expr far = where(small, moved * (1 / scale), moved);
  const Expr near = x + where(up, number(x, least), number(x, -least));

  const Expr finite = where(a < std::ldexp(1, p.normal + 1), near, far);
  const Expr magnitude = where(isinf(x), p.largest, where(eq(x, 0), least, abs(finite)));
  const Expr next = apply(ScalarOp::copysign, magnitude, where(eq(x, 0), y, x));
  c.done(where(either(isnan(x), isnan(y)), x + y, where(eq(x, y), y, next)));
}

/// self -> mantissa in [0.5, 1) with the sign of self, exponent: by halving or doubling ever fewer
/// times, exactly.
void frexp(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.captured(0).dtype));
  const int most = x.dtype() == DType::f64 ? 512 : 64;
  std::vector<int> steps{most};  // which subnormal numbers need twice
  for (int step = most; step > 0; step /= 2) steps.push_back(step);
  Expr m = abs(x), exponent = number(x, 1);
  for (const int step : steps) {
    const Expr large = m >= std::ldexp(1, step), small = m < std::ldexp(1, 1 - step);
    m = where(large, m * std::ldexp(1, -step), where(small, m * std::ldexp(1, step), m));
    exponent = where(large, exponent + step, where(small, exponent - step, exponent));
  }
  const Expr itself = either(eq(x, 0), either(isnan(x), isinf(x)));
  if (c.wanted(0)) c.done(where(itself, x, apply(ScalarOp::copysign, m * 0.5, x)), 0);
  if (c.wanted(1)) c.done(where(itself, 0, exponent), 1);
}

}  // namespace

std::vector<AtenRule> special_rules() {
  return {
      {"aten.special_erfcx.default", erfcx}, {"aten.special_log_ndtr.default", log_ndtr},
      {"aten.special_ndtri.default", ndtri}, {"aten.nextafter.default", nextafter},
      {"aten.frexp.Tensor", frexp},
  };
}

}  // namespace ourjit
