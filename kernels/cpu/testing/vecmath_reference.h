// What the vector maths must compute: references in higher precision, and the distance to them in
// units in the last place.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <ostream>

namespace ourjit::vecmath {

/// Above this many units every distance reads the same: wrong.
inline constexpr double kWrong = 1e9;

inline long double sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }

/// Newton's method on erf, or on erfc where erf is near 1.
inline long double erfinv(long double x) {
  const long double a = std::fabs(x);
  if (!(a < 1)) {
    return a == 1 ? std::copysign(std::numeric_limits<long double>::infinity(), x)
                  : std::numeric_limits<long double>::quiet_NaN();
  }
  const long double l = std::log1p(-a * a);
  const long double c = 2 / (0.147L * std::numbers::pi_v<long double>)+l / 2;
  const long double slope = 2 / std::sqrt(std::numbers::pi_v<long double>);
  long double y = a < 0.01L ? a / slope : std::sqrt(std::sqrt(c * c - l / 0.147L) - c);
  for (int step = 0; step < 5; ++step) {
    const long double error = a < 0.5L ? std::erf(y) - a : (1 - a) - std::erfc(y);
    y -= error / (slope * std::exp(-y * y));
  }
  return std::copysign(y, x);
}

/// Recurrence up to 30, the asymptotic series, and reflection; zero and poles as ATen has them.
inline long double digamma(long double x) {
  if (x == 0) {
    return std::copysign(std::numeric_limits<long double>::infinity(), -x);
  }
  if (x < 0) {
    const long double fraction = x - std::nearbyint(x);
    if (fraction == 0 || std::isinf(x)) {
      return std::numeric_limits<long double>::quiet_NaN();
    }
    const long double pi = std::numbers::pi_v<long double>;
    return digamma(1 - x) - pi / std::tan(pi * fraction);
  }
  long double sum = 0;
  while (x < 30) {
    sum -= 1 / x;
    x += 1;
  }
  const long double z = 1 / (x * x);
  const long double series =
      z * (1.0L / 12 - z * (1.0L / 120 - z * (1.0L / 252 - z * (1.0L / 240 - z / 132))));
  return sum + std::log(x) - 0.5L / x - series;
}

/// The distance of `got` from `expected` in units in the last place of T at max(|expected|, floor);
/// kWrong for a wrong NaN, infinity or sign.
template <class T>
double ulp_distance(T got, long double expected, long double floor = 0) {
  if (std::isnan(got) || std::isnan(expected)) {
    return std::isnan(got) && std::isnan(expected) ? 0 : kWrong;
  }
  const T rounded = static_cast<T>(expected);
  if (std::signbit(got) != std::signbit(expected) && floor == 0) {
    return kWrong;
  }
  if (got == rounded) {
    const long double error = std::isinf(got) ? 0 : std::fabs(got - expected);
    if (error == 0) {
      return 0;
    }
  }
  constexpr int digits = std::numeric_limits<T>::digits;
  constexpr int lowest = std::numeric_limits<T>::min_exponent - digits;
  const long double overflow = std::ldexp(1.0L, std::numeric_limits<T>::max_exponent);
  // Infinity counts as the number that would come next, so that results near the overflow limit are
  // held to the bound.
  const auto finite = [&](long double value) {
    return std::isinf(value) || std::fabs(value) > overflow ? std::copysign(overflow, value)
                                                            : value;
  };
  const long double reference = finite(expected);
  int exponent = 0;
  std::frexp(std::fmax(std::fabs(reference), floor), &exponent);
  exponent = std::max(std::min(exponent, std::numeric_limits<T>::max_exponent) - digits, lowest);
  const long double distance = std::ldexp(std::fabs(finite(got) - reference), -exponent);
  return static_cast<double>(std::fmin(distance, kWrong));
}

/// A unary function with its references and the largest distances allowed.
struct UnaryReference {
  const char* name;
  double (*reference_f32)(double);
  long double (*reference_f64)(long double);
  double bound_f32;
  double bound_f64;
  /// Where most of the random samples lie.
  double low;
  double high;
  /// Distances are relative to at least this magnitude: for functions with zeros whose
  /// neighbourhood is ill-conditioned.
  double floor;
};

inline void PrintTo(const UnaryReference& function, std::ostream* out) { *out << function.name; }

template <long double (*function)(long double)>
double as_double(double x) {
  return static_cast<double>(function(x));
}

/// All unary functions of the vector maths.
inline const UnaryReference kUnaryReferences[] = {
    {"exp", std::exp, std::exp, 1, 1, -110, 100, 0},
    {"exp2", std::exp2, std::exp2, 1.6, 1.5, -160, 140, 0},
    {"expm1", std::expm1, std::expm1, 1.6, 2, -30, 100, 0},
    {"log", std::log, std::log, 1, 1, 0, 10, 0},
    {"log2", std::log2, std::log2, 2, 2, 0, 10, 0},
    {"log10", std::log10, std::log10, 2, 2, 0, 10, 0},
    {"log1p", std::log1p, std::log1p, 1.5, 1, -1, 10, 0},
    {"sin", std::sin, std::sin, 1.1, 1.1, -1e5, 1e5, 0},
    {"cos", std::cos, std::cos, 1.1, 1.1, -1e5, 1e5, 0},
    {"tanh", std::tanh, std::tanh, 1.5, 1.5, -10, 10, 0},
    {"sigmoid", as_double<sigmoid>, sigmoid, 2, 2, -110, 30, 0},
    {"erf", std::erf, std::erf, 1.1, 1.5, -5, 5, 0},
    {"tan", std::tan, std::tan, 0.51, 2.5, -1e5, 1e5, 0},
    {"asin", std::asin, std::asin, 0.51, 2.5, -1, 1, 0},
    {"acos", std::acos, std::acos, 0.51, 1.5, -1, 1, 0},
    {"atan", std::atan, std::atan, 0.51, 2, -10, 10, 0},
    {"sinh", std::sinh, std::sinh, 0.51, 2.5, -100, 100, 0},
    {"cosh", std::cosh, std::cosh, 0.51, 1.5, -100, 100, 0},
    {"asinh", std::asinh, std::asinh, 0.51, 2, -10, 10, 0},
    {"acosh", std::acosh, std::acosh, 0.51, 2, 1, 10, 0},
    {"atanh", std::atanh, std::atanh, 0.51, 2, -1, 1, 0},
    {"erfc", std::erfc, std::erfc, 0.51, 6, -6, 11, 0},
    {"erfinv", as_double<erfinv>, erfinv, 0.51, 3, -1, 1, 0},
    {"lgamma", std::lgamma, std::lgamma, 0.6, 10, -20, 40, 1},
    {"digamma", as_double<digamma>, digamma, 0.6, 32, -20, 40, 1},
};

}  // namespace ourjit::vecmath
