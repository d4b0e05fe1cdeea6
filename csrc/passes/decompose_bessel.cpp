// Bessel functions and Airy's, by the methods of Cephes.
#include <array>
#include <numbers>

#include "passes/decompose_rules.h"
#include "passes/series.h"
#include "passes/special_tables.h"

namespace ourjit {
namespace {

struct Modified {
  Coefficients i_near, i_far, k_near, k_far;
};
constexpr Modified kModified[] = {{kI0Near, kI0Far, kK0Near, kK0Far},
                                  {kI1Near, kI1Far, kK1Near, kK1Far}};

enum class Scaled { No, Yes };

/// exp(-a) I(a) for a up to 8.
Expr near_i(const Expr& a, int order) {
  const Expr series = chebyshev(a * 0.5 - 2, kModified[order].i_near);
  return order == 0 ? series : series * a;
}

/// The first kind, times exp(-|x|).
Expr scaled_i(const Expr& x, int order) {
  const Expr a = abs(x);
  const Expr far = chebyshev(32 / a - 2, kModified[order].i_far) / sqrt(a);
  const Expr r = where(a <= 8, near_i(a, order), far);
  return order == 0 ? r : where(x < 0, -r, r);
}

/// The second kind, times exp(x) if scaled.
Expr modified_k(const Expr& x, int order, Scaled scaled) {
  const Modified& table = kModified[order];
  const Expr series = chebyshev(x * x - 2, table.k_near);
  const Expr logarithm = log(x * 0.5) * (exp(x) * near_i(x, order));
  const Expr near = order == 0 ? series - logarithm : logarithm + series / x;
  const Expr far = chebyshev(8 / x - 2, table.k_far) / sqrt(x);
  const Expr r = scaled == Scaled::Yes ? where(x <= 2, near * exp(x), far)
                                       : where(x <= 2, near, exp(-x) * far);
  return where(x < 0, kNan, where(eq(x, 0), kInfinity, r));
}

template <int order>
void scaled_i(AtenCall& c) {
  c.done(scaled_i(in_f64(c, 0), order));
}
/// Overflows where exp(|x|) does, as in ATen.
template <int order>
void modified_i(AtenCall& c) {
  c.done(cast(scaled_i(in_f64(c, 0), order), c.compute()) * exp(abs(c.wide(0))));
}
template <int order, Scaled scaled>
void modified_k(AtenCall& c) {
  c.done(modified_k(in_f64(c, 0), order, scaled));
}

struct Bessel {
  Coefficients pp, pq, qp, qq, rp, rq, yp, yq;
  double phase;
  double roots[2];  // squares of the first two of J
};
constexpr double kQuarterPi = std::numbers::pi / 4;
constexpr Bessel kBessel[] = {
    {kBessel0Pp,
     kBessel0Pq,
     kBessel0Qp,
     kBessel0Qq,
     kBessel0Rp,
     kBessel0Rq,
     kBessel0Yp,
     kBessel0Yq,
     kQuarterPi,
     {5.78318596294678452118, 30.4712623436620863991}},
    {kBessel1Pp,
     kBessel1Pq,
     kBessel1Qp,
     kBessel1Qq,
     kBessel1Rp,
     kBessel1Rq,
     kBessel1Yp,
     kBessel1Yq,
     3 * kQuarterPi,
     {14.6819706421238932572, 49.2184563216946036703}},
};

/// J and Y above 5.
struct Far {
  Expr j, y;
};

Far bessel_far(const Expr& a, int order) {
  const Bessel& t = kBessel[order];
  const Expr w = 5 / a, z = w * w;
  const Expr p = rational(z, t.pp, t.pq), q = w * rational(z, t.qp, t.qq);
  const Expr angle = a - t.phase;
  const Expr sine = sin(angle), cosine = cos(angle), root = sqrt(a);
  const double factor = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
  return {(p * cosine - q * sine) * factor / root, (p * sine + q * cosine) * factor / root};
}

/// J for |x| up to 5.
Expr bessel_near(const Expr& x, int order) {
  const Bessel& t = kBessel[order];
  const Expr z = x * x;
  const Expr r = (z - t.roots[0]) * (z - t.roots[1]) * rational(z, t.rp, t.rq);
  return order == 0 ? where(z < 1e-10, 1 - z * 0.25, r) : r * x;
}

template <int order>
void bessel_j(AtenCall& c) {
  const Expr x = in_f64(c, 0);
  const Expr a = abs(x), far = bessel_far(a, order).j;
  c.done(where(a <= 5, bessel_near(x, order), order == 0 ? far : where(x < 0, -far, far)));
}

template <int order>
void bessel_y(AtenCall& c) {
  const Expr x = in_f64(c, 0);
  const Expr z = x * x, ratio = rational(z, kBessel[order].yp, kBessel[order].yq);
  const Expr product = bessel_near(x, order) * log(x);
  const double factor = 2 * std::numbers::inv_pi;
  const Expr near = order == 0 ? ratio + factor * product : x * ratio + factor * (product - 1 / x);
  const Expr positive = where(x <= 5, near, bessel_far(x, order).y);
  c.done(where(x < 0, kNan, where(eq(x, 0), -kInfinity, positive)));
}

/// sin(x) / x, by its series near zero.
void spherical_j0(AtenCall& c) {
  constexpr double series[] = {
      1. / 6227020800, -1. / 39916800, 1. / 362880, -1. / 5040, 1. / 120, -1. / 6, 1};
  const Expr x = c.wide(0);
  const Expr near = polynomial(x * x, series);
  c.done(where(isinf(x), 0, where(abs(x) < 0.5, near, sin(x) / x)));
}

/// Coefficients of x^3 in the two solutions of y'' = x y, that with y(0) = 1 and that with
/// y'(0) = 1 (divided by x).
constexpr std::array<double, 14> airy_series(int first) {
  std::array<double, 14> c{};
  double value = 1;
  for (int k = 0; k < 14; ++k) {
    c[13 - k] = value;
    value /= (3. * k + first + 2) * (3. * k + first + 3);
  }
  return c;
}
constexpr std::array kAiryEven = airy_series(0), kAiryOdd = airy_series(1);

void airy_ai(AtenCall& c) {
  const Expr x = c.wide(0);
  const Expr a = abs(x), cube = x * x * x;
  const Expr near = polynomial(cube, kAiryEven) * 0.355028053887817239260 -
                    polynomial(cube, kAiryOdd) * x * 0.258819403792806798405;

  const Expr zeta = 2 * a * sqrt(a) / 3, z = 1 / zeta, square = z * z;
  const Expr quarter = sqrt(sqrt(a));
  const double factor = std::numbers::inv_sqrtpi;
  const Expr positive = factor * rational(z, kAiryP, kAiryQ) / (2 * quarter * exp(zeta));
  const Expr angle = zeta + kQuarterPi;
  const Expr wave = sin(angle) * (1 + square * rational(square, kAirySineP, kAirySineQ)) -
                    cos(angle) * (z * rational(square, kAiryCosineP, kAiryCosineQ));
  const Expr far = where(x < 0, factor / quarter * wave, positive);
  const Expr finite = where(x > 103.892, 0, where(either(x < -2.09, x >= 2.09), far, near));
  c.done(where(isinf(x), kNan, finite));
}

}  // namespace

std::vector<AtenRule> bessel_rules() {
  return {
      {"aten.i0.default", modified_i<0>},
      {"aten.special_i0e.default", scaled_i<0>},
      {"aten.special_i1.default", modified_i<1>},
      {"aten.special_i1e.default", scaled_i<1>},
      {"aten.special_modified_bessel_i0.default", modified_i<0>},
      {"aten.special_modified_bessel_i1.default", modified_i<1>},
      {"aten.special_modified_bessel_k0.default", modified_k<0, Scaled::No>},
      {"aten.special_modified_bessel_k1.default", modified_k<1, Scaled::No>},
      {"aten.special_scaled_modified_bessel_k0.default", modified_k<0, Scaled::Yes>},
      {"aten.special_scaled_modified_bessel_k1.default", modified_k<1, Scaled::Yes>},
      {"aten.special_bessel_j0.default", bessel_j<0>},
      {"aten.special_bessel_j1.default", bessel_j<1>},
      {"aten.special_bessel_y0.default", bessel_y<0>},
      {"aten.special_bessel_y1.default", bessel_y<1>},
      {"aten.special_spherical_bessel_j0.default", spherical_j0},
      {"aten.special_airy_ai.default", airy_ai},
  };
}

}  // namespace ourjit
