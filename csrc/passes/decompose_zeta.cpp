// Hurwitz' zeta function, and the derivatives of digamma, which are multiples of it.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "passes/decompose_rules.h"
#include "passes/series.h"

namespace ourjit {
namespace {

/// The sum of (q + k)^-s over k >= 0 for s > 1, q > 0: nine terms, then the Euler-Maclaurin
/// formula.
Expr positive_zeta(const Expr& s, const Expr& q) {
  // (2 j)! / B_2j for j = 1, 2, ...
  constexpr double inverse_terms[] = {12,
                                      -720,
                                      30240,
                                      -1209600,
                                      47900160,
                                      -1307674368000.0 / 691,
                                      74724249600,
                                      -10670622842880000.0 / 3617,
                                      5109094217170944000.0 / 43867,
                                      -802857662698291200000.0 / 174611,
                                      155112100433309859840000.0 / 854513,
                                      -1693824136731743669452800000.0 / 236364091};
  std::vector<Expr> powers{pow(q, -s)};
  Expr w = q;
  for (int k = 0; k < 9; ++k) {
    w = w + 1;
    powers.push_back(pow(w, -s));
  }
  // For a larger s the power is zero, but the product of s, s + 1, ... may be infinite.
  const Expr bounded = minimum(s, 1000), last = powers.back();
  Expr factor = last, total = number(q, 0);
  for (int j = 0; j < 12; ++j) {
    factor = factor * (j == 0 ? bounded : (bounded + (2 * j - 1)) * (bounded + 2 * j) / w) / w;
    total = total + factor / inverse_terms[j];
  }
  total = total + (last * w / (s - 1) - last * 0.5);
  std::reverse(powers.begin(), powers.end());  // the largest comes last: sums round less
  for (const Expr& power : powers) total = total + power;
  return total;
}

/// In f64. For q < 0 and integer s, the terms of negative q + k are those of the mirrored sum from
/// the fraction of -q up to -q.
Expr zeta(const Expr& s, const Expr& q) {
  const Expr below = q < 0, a = -q, fraction = a - floor(a);
  const Expr upper = positive_zeta(s, where(below, 1 - fraction, q));
  const Expr mirrored = positive_zeta(s, where(below, fraction, 1));
  const Expr beyond = positive_zeta(s, where(below, a + 1, 1));
  const Expr lower = where(eq(mod(s, 2), 1), upper - mirrored + beyond, upper + mirrored - beyond);
  const Expr regular = where(below, where(eq(floor(s), s), lower, kNan), upper);
  const Expr pole = both(q <= 0, eq(floor(q), q));
  return where(eq(s, 1), kInfinity, where(s < 1, kNan, where(pole, kInfinity, regular)));
}

void zeta(AtenCall& c) { c.done(zeta(in_f64(c, 0), in_f64(c, 1))); }

/// The derivative of digamma: reflection below 1/2, six steps of the recurrence, then the
/// asymptotic series, as in ATen.
Expr trigamma(const Expr& x) {
  const double pi = std::numbers::pi;
  const Expr mirrored = x < 0.5;
  const Expr sine = sin(x * pi);
  Expr y = where(mirrored, 1 - x, x);
  Expr total = 1 / (y * y);
  for (int i = 1; i < 6; ++i) {
    y = y + 1;
    total = total + 1 / (y * y);
  }
  y = y + 1;
  const Expr square = 1 / (y * y);
  const Expr tail =
      (1 + 1 / (2 * y) + square * (1.0 / 6 - square * (1.0 / 30 - square * (1.0 / 42)))) / y;
  total = total + tail;
  return where(mirrored, (pi * pi) / (sine * sine) - total, total);
}

/// n, self
void polygamma(AtenCall& c) {
  const int64_t n = c.integer(0);
  const Expr x = c.expr(1, c.compute());
  if (n == 0) return c.done(apply(ScalarOp::digamma, x));
  if (n == 1) return c.done(trigamma(x));
  const double order = static_cast<double>(n);
  const double factorial = std::tgamma(order + 1);
  const Expr q = in_f64(c, 1);
  c.done(zeta(number(q, order + 1), q) * (n % 2 != 0 ? factorial : -factorial));
}

}  // namespace

std::vector<AtenRule> zeta_rules() {
  return {
      {"aten.polygamma.default", polygamma},
      {"aten.special_zeta.default", zeta},
      {"aten.special_zeta.self_scalar", zeta},
      {"aten.special_zeta.other_scalar", zeta},
  };
}

}  // namespace ourjit
