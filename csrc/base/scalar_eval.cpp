#include "base/scalar_eval.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/philox.h"

namespace ourjit {
namespace {

int bit_width(DType t) { return static_cast<int>(8 * dtype_bytes(t)); }

// --- integers ---

int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t wrapping_mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
int64_t wrapping_neg(int64_t a) { return static_cast<int64_t>(-static_cast<uint64_t>(a)); }

uint64_t magnitude(int64_t a) {
  return a < 0 ? -static_cast<uint64_t>(a) : static_cast<uint64_t>(a);
}

/// Quotient and remainder rounding to zero; INT64_MIN / -1 wraps.
std::pair<int64_t, int64_t> divide(int64_t a, int64_t b) {
  if (b == -1) return {wrapping_neg(a), 0};
  return {a / b, a % b};
}

int64_t integer_pow(int64_t a, int64_t b) {
  if (b < 0) {
    if (a == 1) return 1;
    if (a == -1) return b % 2 ? -1 : 1;
    return 0;
  }
  int64_t r = 1;
  for (; b; b >>= 1) {
    if (b & 1) r = wrapping_mul(r, a);
    a = wrapping_mul(a, a);
  }
  return r;
}

bool out_of_shift_range(int64_t amount, int bits) { return amount < 0 || amount >= bits; }

/// Operations on integers and bool whose result has the operands' dtype. Computed in 64 bits and
/// wrapped by the caller.
int64_t eval_integer(ScalarOp op, DType t, int64_t a, int64_t b, bool& zero_division) {
  const auto quotient = [&] {
    if (b != 0) return divide(a, b);
    zero_division = true;
    return divide(a, 1);
  };
  const int bits = bit_width(t);
  switch (op) {
    case ScalarOp::neg:
      return wrapping_neg(a);
    case ScalarOp::abs:
      return a < 0 ? wrapping_neg(a) : a;
    case ScalarOp::sign:
      return (a > 0) - (a < 0);
    case ScalarOp::logical_not:
      return a == 0;
    case ScalarOp::bitwise_not:
      return is_bool(t) ? a == 0 : ~a;
    case ScalarOp::add:
      return is_bool(t) ? a | b : wrapping_add(a, b);
    case ScalarOp::sub:
      return wrapping_add(a, wrapping_neg(b));
    case ScalarOp::mul:
      return wrapping_mul(a, b);
    case ScalarOp::trunc_div:
      return quotient().first;
    case ScalarOp::fmod:
      return quotient().second;
    case ScalarOp::floor_div: {
      const auto [q, r] = quotient();
      return r != 0 && (r < 0) != (b < 0) ? q - 1 : q;
    }
    case ScalarOp::mod: {
      const int64_t r = quotient().second;
      return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
    case ScalarOp::pow:
      return integer_pow(a, b);
    case ScalarOp::minimum:
    case ScalarOp::fmin:
      return std::min(a, b);
    case ScalarOp::maximum:
    case ScalarOp::fmax:
      return std::max(a, b);
    case ScalarOp::gcd:
      return static_cast<int64_t>(std::gcd(magnitude(a), magnitude(b)));
    case ScalarOp::bitwise_and:
      return a & b;
    case ScalarOp::bitwise_or:
      return a | b;
    case ScalarOp::bitwise_xor:
      return a ^ b;
    case ScalarOp::shl:
      return out_of_shift_range(b, bits)
                 ? 0
                 : static_cast<int64_t>(static_cast<uint64_t>(a) << static_cast<uint64_t>(b));
    case ScalarOp::shr:
      return out_of_shift_range(b, bits) ? a >> std::min(bits, 63) : a >> b;
    default:
      break;
  }
  OURJIT_CHECK(false) << scalar_op_info(op).name << " is not defined on " << dtype_name(t);
  return 0;
}

// --- floats ---

/// ATen's remainder: has the sign of the divisor.
template <class T>
T float_mod(T a, T b) {
  const T r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/// ATen's div_floor (c10/util/generic_math.h), which corrects the rounding of a / b.
template <class T>
T float_floor_div(T a, T b) {
  if (b == 0) return a / b;
  const T r = std::fmod(a, b);
  T q = (a - r) / b;
  if (r != 0 && (b < 0) != (r < 0)) q -= 1;
  if (q == 0) return std::copysign(T(0), a / b);
  const T whole = std::floor(q);
  return q - whole > T(0.5) ? whole + 1 : whole;
}

/// Asymptotic series above 10, recurrence below, reflection for negative x.
double digamma(double x) {
  constexpr double kPi = 3.14159265358979323846;
  if (x == 0) return std::copysign(HUGE_VAL, -x);
  if (x < 0) {
    if (x == std::trunc(x)) return std::numeric_limits<double>::quiet_NaN();
    double whole = 0;
    return digamma(1 - x) - kPi / std::tan(kPi * std::modf(x, &whole));
  }
  double r = 0;
  for (; x < 10; x += 1) r -= 1 / x;
  if (std::isinf(x)) return x;
  const double y = 1 / (x * x);
  constexpr double kSeries[] = {1. / 12,  -691. / 32760, 1. / 132, -1. / 240,
                                1. / 252, -1. / 120,     1. / 12};
  double tail = 0;
  for (const double c : kSeries) tail = tail * y + c;
  return r + std::log(x) - 0.5 / x - y * tail;
}

/// Winitzki's approximation refined by Newton steps on erf (on erfc near 1, where 1 - |x| is
/// exact).
double erfinv(double x) {
  if (std::isnan(x) || std::fabs(x) > 1) return std::numeric_limits<double>::quiet_NaN();
  if (std::fabs(x) == 1) return std::copysign(HUGE_VAL, x);
  if (x == 0) return x;
  constexpr double kHalfSqrtPi = 0.88622692545275801365, kA = 0.147, kTwoOverPiA = 4.3307467508;
  const double a = std::fabs(x), complement = 1 - a;
  const double l = std::log(complement * (1 + a)), h = kTwoOverPiA + l / 2;
  double y = a < 0.1 ? a * kHalfSqrtPi : std::sqrt(std::sqrt(h * h - l / kA) - h);
  for (int step = 0; step < 4; ++step) {
    const double error = a < 0.5 ? std::erf(y) - a : complement - std::erfc(y);
    const double delta = error * kHalfSqrtPi * std::exp(y * y);
    y -= delta / (1 + y * delta);
  }
  return std::copysign(y, x);
}

double sigmoid(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}

/// Operations of which float arithmetic determines every bit, in the precision of T.
template <class T>
bool eval_exact(ScalarOp op, T a, T b, T& r) {
  switch (op) {
    case ScalarOp::neg:
      r = -a;
      return true;
    case ScalarOp::abs:
      r = std::fabs(a);
      return true;
    case ScalarOp::sign:
      r = static_cast<T>((a > 0) - (a < 0));
      return true;
    case ScalarOp::sqrt:
      r = std::sqrt(a);
      return true;
    case ScalarOp::rsqrt:
      r = 1 / std::sqrt(a);
      return true;
    case ScalarOp::reciprocal:
      r = 1 / a;
      return true;
    case ScalarOp::floor:
      r = std::floor(a);
      return true;
    case ScalarOp::ceil:
      r = std::ceil(a);
      return true;
    case ScalarOp::round:
      r = std::nearbyint(a);
      return true;
    case ScalarOp::trunc:
      r = std::trunc(a);
      return true;
    case ScalarOp::add:
      r = a + b;
      return true;
    case ScalarOp::sub:
      r = a - b;
      return true;
    case ScalarOp::mul:
      r = a * b;
      return true;
    case ScalarOp::div:
      r = a / b;
      return true;
    case ScalarOp::floor_div:
      r = float_floor_div(a, b);
      return true;
    case ScalarOp::trunc_div:
      r = std::trunc(a / b);
      return true;
    case ScalarOp::mod:
      r = float_mod(a, b);
      return true;
    case ScalarOp::fmod:
      r = std::fmod(a, b);
      return true;
    case ScalarOp::minimum:
      r = std::isnan(a) ? a : std::isnan(b) ? b : std::min(a, b);
      return true;
    case ScalarOp::maximum:
      r = std::isnan(a) ? a : std::isnan(b) ? b : std::max(a, b);
      return true;
    case ScalarOp::fmin:
      r = std::isnan(a) ? b : std::isnan(b) ? a : std::min(a, b);
      return true;
    case ScalarOp::fmax:
      r = std::isnan(a) ? b : std::isnan(b) ? a : std::max(a, b);
      return true;
    case ScalarOp::copysign:
      r = std::copysign(a, b);
      return true;
    default:
      return false;
  }
}

/// Transcendental functions, in double; the caller rounds.
double eval_function(ScalarOp op, double a, double b) {
  int sign = 0;
  switch (op) {
    case ScalarOp::exp:
      return std::exp(a);
    case ScalarOp::exp2:
      return std::exp2(a);
    case ScalarOp::expm1:
      return std::expm1(a);
    case ScalarOp::log:
      return std::log(a);
    case ScalarOp::log2:
      return std::log2(a);
    case ScalarOp::log10:
      return std::log10(a);
    case ScalarOp::log1p:
      return std::log1p(a);
    case ScalarOp::sin:
      return std::sin(a);
    case ScalarOp::cos:
      return std::cos(a);
    case ScalarOp::tan:
      return std::tan(a);
    case ScalarOp::asin:
      return std::asin(a);
    case ScalarOp::acos:
      return std::acos(a);
    case ScalarOp::atan:
      return std::atan(a);
    case ScalarOp::sinh:
      return std::sinh(a);
    case ScalarOp::cosh:
      return std::cosh(a);
    case ScalarOp::tanh:
      return std::tanh(a);
    case ScalarOp::asinh:
      return std::asinh(a);
    case ScalarOp::acosh:
      return std::acosh(a);
    case ScalarOp::atanh:
      return std::atanh(a);
    case ScalarOp::sigmoid:
      return sigmoid(a);
    case ScalarOp::erf:
      return std::erf(a);
    case ScalarOp::erfc:
      return std::erfc(a);
    case ScalarOp::erfinv:
      return erfinv(a);
    case ScalarOp::lgamma:
      return lgamma_r(a, &sign);
    case ScalarOp::digamma:
      return digamma(a);
    case ScalarOp::pow:
      return std::pow(a, b);
    case ScalarOp::atan2:
      return std::atan2(a, b);
    default:
      break;
  }
  OURJIT_CHECK(false) << scalar_op_info(op).name << " is not defined on floats";
  return 0;
}

double eval_float(ScalarOp op, DType t, double a, double b) {
  if (t == DType::f64) {
    double r = 0;
    if (eval_exact(op, a, b, r)) return r;
  } else {
    float r = 0;
    if (eval_exact(op, static_cast<float>(a), static_cast<float>(b), r)) return r;
  }
  return eval_function(op, a, b);
}

template <class T>
bool compare_values(ScalarOp op, T a, T b) {
  switch (op) {
    case ScalarOp::eq:
      return a == b;
    case ScalarOp::ne:
      return a != b;
    case ScalarOp::lt:
      return a < b;
    case ScalarOp::le:
      return a <= b;
    case ScalarOp::gt:
      return a > b;
    case ScalarOp::ge:
      return a >= b;
    default:
      break;
  }
  OURJIT_CHECK(false) << scalar_op_info(op).name << " is not a comparison";
  return false;
}

bool eval_predicate(ScalarOp op, std::span<const Scalar> args) {
  const Scalar& a = args[0];
  switch (op) {
    case ScalarOp::isnan:
      return a.is_float() && std::isnan(a.f);
    case ScalarOp::isinf:
      return a.is_float() && std::isinf(a.f);
    case ScalarOp::signbit:
      return a.is_float() ? std::signbit(a.f) : a.i < 0;
    case ScalarOp::logical_not:
      return !a.truth();
    default:
      break;
  }
  return a.is_float() ? compare_values(op, a.f, args[1].f) : compare_values(op, a.i, args[1].i);
}

Scalar eval_random(ScalarOp op, DType result, std::span<const Scalar> args) {
  const auto seed = args[0].i, index = args[1].i;
  const bool uniform = op == ScalarOp::rand_uniform;
  if (result == DType::f64)
    return Scalar::number(
        result, uniform ? philox_uniform_f64(seed, index) : philox_normal_f64(seed, index));
  return Scalar::number(result,
                        uniform ? philox_uniform_f32(seed, index) : philox_normal_f32(seed, index));
}

}  // namespace

Evaluated eval_scalar(ScalarOp op, DType result, std::span<const Scalar> args) {
  const ScalarOpInfo& info = scalar_op_info(op);
  OURJIT_CHECK(static_cast<int>(args.size()) == info.arity)
      << info.name << " has " << args.size() << " operands";
  if (op == ScalarOp::cast) return {cast_scalar(args[0], result)};
  if (op == ScalarOp::where) return {args[0].truth() ? args[1] : args[2]};
  if (op == ScalarOp::rand_uniform || op == ScalarOp::rand_normal)
    return {eval_random(op, result, args)};
  if (info.result == ScalarResult::Bool)
    return {Scalar::integer(DType::boolean, eval_predicate(op, args))};
  const Scalar& a = args[0];
  const Scalar& b = args.size() > 1 ? args[1] : a;
  if (a.is_float()) return {Scalar::number(a.dtype, eval_float(op, a.dtype, a.f, b.f))};
  Evaluated e;
  e.value = Scalar::integer(a.dtype, eval_integer(op, a.dtype, a.i, b.i, e.zero_division));
  return e;
}

Scalar reduce_identity(ReduceOp op, DType dtype) {
  const int bits = bit_width(dtype);
  const int64_t lowest = bits == 64 ? std::numeric_limits<int64_t>::min()
                         : is_bool(dtype) || dtype == DType::u8 ? 0
                                                                : -(int64_t{1} << (bits - 1));
  const int64_t greatest = is_bool(dtype) ? 1 : dtype == DType::u8 ? 255 : -(lowest + 1);
  switch (op) {
    case ReduceOp::sum:
      return Scalar::integer(dtype, 0);
    case ReduceOp::prod:
      return Scalar::integer(dtype, 1);
    case ReduceOp::max:
    case ReduceOp::argmax:
    case ReduceOp::exp_sum:
      return is_float(dtype) ? Scalar::number(dtype, -HUGE_VAL) : Scalar::integer(dtype, lowest);
    case ReduceOp::min:
    case ReduceOp::argmin:
      return is_float(dtype) ? Scalar::number(dtype, HUGE_VAL) : Scalar::integer(dtype, greatest);
  }
  OURJIT_CHECK(false) << "bad reduction";
  return {};
}

Scalar reduce_combine(ReduceOp op, const Scalar& a, const Scalar& b) {
  const auto combine = [&](ScalarOp scalar_op) {
    const Scalar args[] = {a, b};
    return eval_scalar(scalar_op, a.dtype, args).value;
  };
  switch (op) {
    case ReduceOp::sum:
      return combine(ScalarOp::add);
    case ReduceOp::prod:
      return combine(ScalarOp::mul);
    case ReduceOp::max:
      return combine(ScalarOp::maximum);
    case ReduceOp::min:
      return combine(ScalarOp::minimum);
    case ReduceOp::argmax:
    case ReduceOp::argmin:
    case ReduceOp::exp_sum:
      break;
  }
  OURJIT_CHECK(false) << reduce_op_name(op) << " does not combine two values";
  return {};
}

bool reduce_wins(ReduceOp op, const Scalar& x, const Scalar& best) {
  const bool max = op == ReduceOp::argmax;
  OURJIT_CHECK(max || op == ReduceOp::argmin) << reduce_op_name(op) << " has no winner";
  if (!x.is_float()) return max ? x.i > best.i : x.i < best.i;
  if (std::isnan(best.f)) return false;
  if (std::isnan(x.f)) return true;
  return max ? x.f > best.f : x.f < best.f;
}

ScaledSum exp_sum_combine(const ScaledSum& a, const ScaledSum& b) {
  const bool b_greater = b.max.f > a.max.f || std::isnan(b.max.f);
  const ScaledSum &high = b_greater ? b : a, &low = b_greater ? a : b;
  const DType t = a.max.dtype;
  const bool infinite = std::isinf(high.max.f);
  const auto scaled = [&](const ScaledSum& x) {
    const Scalar distance = Scalar::number(t, x.max.f - (infinite ? 0 : high.max.f));
    const Scalar scale = eval_scalar(ScalarOp::exp, t, {{distance}}).value;
    const Scalar args[] = {x.sum, scale};
    return eval_scalar(ScalarOp::mul, t, args).value;
  };
  return {high.max, reduce_combine(ReduceOp::sum, scaled(high), scaled(low))};
}

}  // namespace ourjit
