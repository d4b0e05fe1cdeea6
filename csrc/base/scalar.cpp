#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "base/text.h"

namespace ourjit {
namespace {

int64_t wrap(DType t, int64_t v) {
  switch (t) {
    case DType::boolean:
      return v != 0;
    case DType::u8:
      return static_cast<uint8_t>(v);
    case DType::i8:
      return static_cast<int8_t>(v);
    case DType::i16:
      return static_cast<int16_t>(v);
    case DType::i32:
      return static_cast<int32_t>(v);
    case DType::i64:
      return v;
    default:
      break;
  }
  OURJIT_CHECK(false) << dtype_name(t) << " is not an integer type";
  return 0;
}

float bf16_value(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t bf16_bits(float x) {
  if (std::isnan(x)) return 0x7FC0;
  const uint32_t u = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}

double f16_value(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  double x = 0;
  if (exponent == 31)
    x = mantissa ? std::numeric_limits<double>::quiet_NaN() : HUGE_VAL;
  else if (exponent == 0)
    x = std::ldexp(mantissa, -24);
  else
    x = std::ldexp(mantissa + 1024, exponent - 25);
  return bits & 0x8000 ? -x : x;
}

/// Rounds to nearest even; exact for every f32.
uint16_t f16_bits(double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (std::isnan(x)) return sign | 0x7E00;
  const double a = std::fabs(x);
  if (a >= 65520) return sign | 0x7C00;
  if (a < std::ldexp(1.0, -14))
    return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(a, 24)));
  int exponent = 0;
  std::frexp(a, &exponent);  // a in [2^(exponent-1), 2^exponent)
  const auto mantissa = static_cast<int>(std::nearbyint(std::ldexp(a, 11 - exponent)));
  // A mantissa that rounds up to 2048 carries into the exponent by itself.
  return sign | static_cast<uint16_t>(((exponent + 14 - 1) << 10) + mantissa);
}

/// A narrow float of 8 bits: sign, exponent with this bias, mantissa. Exponents of all ones are
/// numbers, but for the last, if not `ieee`.
struct Float8 {
  int mantissa_bits, bias;
  bool ieee;
};
constexpr Float8 kE4M3{3, 7, false}, kE5M2{2, 15, true};

double f8_value(const Float8& f, uint8_t bits) {
  const int magnitude = bits & 0x7F, exponent = magnitude >> f.mantissa_bits;
  const int mantissa = magnitude & ((1 << f.mantissa_bits) - 1), infinity = 0x7C;
  double x = 0;
  if (f.ieee ? magnitude > infinity : magnitude == 0x7F)
    x = std::numeric_limits<double>::quiet_NaN();
  else if (f.ieee && magnitude == infinity)
    x = HUGE_VAL;
  else if (exponent == 0)
    x = std::ldexp(mantissa, 1 - f.bias - f.mantissa_bits);
  else
    x = std::ldexp(mantissa + (1 << f.mantissa_bits), exponent - f.bias - f.mantissa_bits);
  return bits & 0x80 ? -x : x;
}

/// Rounds to nearest even; exact for every f32. Beyond the largest number: infinity, or that number
/// where there is none.
uint8_t f8_bits(const Float8& f, double x) {
  const uint8_t sign = std::signbit(x) ? 0x80 : 0, beyond = f.ieee ? 0x7C : 0x7E;
  if (std::isnan(x)) return sign | 0x7F;
  const double a = std::fabs(x);
  const int lowest = 1 - f.bias;
  int exponent = 0;
  std::frexp(a, &exponent);  // a in [2^(exponent-1), 2^exponent)
  exponent = a == 0 ? lowest : std::max(exponent - 1, lowest);
  if (exponent > 31 - f.bias) return sign | beyond;
  // A mantissa that rounds up carries into the exponent by itself.
  const auto mantissa = static_cast<int>(std::nearbyint(std::ldexp(a, f.mantissa_bits - exponent)));
  const int bits = ((exponent - lowest) << f.mantissa_bits) + mantissa;
  return sign | static_cast<uint8_t>(std::min<int>(bits, beyond));
}

double round_to(DType t, double v) {
  switch (t) {
    case DType::f64:
      return v;
    case DType::f32:
      return static_cast<float>(v);
    case DType::bf16:
      return bf16_value(bf16_bits(static_cast<float>(v)));
    case DType::f16:
      return f16_value(f16_bits(static_cast<float>(v)));
    case DType::f8e4m3:
      return f8_value(kE4M3, f8_bits(kE4M3, static_cast<float>(v)));
    case DType::f8e5m2:
      return f8_value(kE5M2, f8_bits(kE5M2, static_cast<float>(v)));
    default:
      break;
  }
  OURJIT_CHECK(false) << dtype_name(t) << " is not a float type";
  return 0;
}

int64_t truncate_to(DType t, double v) {
  if (is_bool(t)) return v != 0;
  if (t == DType::i64)
    return v >= -0x1p63 && v < 0x1p63 ? static_cast<int64_t>(v)
                                      : std::numeric_limits<int64_t>::min();
  const bool fits = v > -2147483649.0 && v < 2147483648.0;
  return wrap(t, fits ? static_cast<int32_t>(v) : std::numeric_limits<int32_t>::min());
}

}  // namespace

Scalar Scalar::integer(DType dtype, int64_t v) {
  Scalar s;
  s.dtype = dtype;
  if (!s.is_float())
    s.i = wrap(dtype, v);
  else if (dtype == DType::f64)
    s.f = static_cast<double>(v);
  else
    s.f = round_to(dtype, static_cast<float>(v));  // not by way of f64, which would round twice
  return s;
}

Scalar Scalar::number(DType dtype, double v) {
  Scalar s;
  s.dtype = dtype;
  if (s.is_float())
    s.f = round_to(dtype, v);
  else
    s.i = truncate_to(dtype, v);
  return s;
}

Scalar Scalar::from_bits(DType dtype, uint64_t bits) {
  return ourjit::is_float(dtype) ? number(dtype, std::bit_cast<double>(bits))
                                 : integer(dtype, static_cast<int64_t>(bits));
}

uint64_t Scalar::bits() const {
  return is_float() ? std::bit_cast<uint64_t>(f) : static_cast<uint64_t>(i);
}

namespace {
template <class T>
T read(const void* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
void write(void* p, T v) {
  std::memcpy(p, &v, sizeof v);
}
}  // namespace

Scalar load_scalar(DType dtype, const void* p) {
  switch (dtype) {
    case DType::boolean:
      return Scalar::integer(dtype, read<uint8_t>(p) != 0);
    case DType::u8:
      return Scalar::integer(dtype, read<uint8_t>(p));
    case DType::i8:
      return Scalar::integer(dtype, read<int8_t>(p));
    case DType::i16:
      return Scalar::integer(dtype, read<int16_t>(p));
    case DType::i32:
      return Scalar::integer(dtype, read<int32_t>(p));
    case DType::i64:
      return Scalar::integer(dtype, read<int64_t>(p));
    case DType::f16:
      return Scalar::number(dtype, f16_value(read<uint16_t>(p)));
    case DType::bf16:
      return Scalar::number(dtype, bf16_value(read<uint16_t>(p)));
    case DType::f8e4m3:
      return Scalar::number(dtype, f8_value(kE4M3, read<uint8_t>(p)));
    case DType::f8e5m2:
      return Scalar::number(dtype, f8_value(kE5M2, read<uint8_t>(p)));
    case DType::f32:
      return Scalar::number(dtype, read<float>(p));
    case DType::f64:
      return Scalar::number(dtype, read<double>(p));
    default:
      break;
  }
  OURJIT_CHECK(false) << "kernels cannot read " << dtype_name(dtype);
  return {};
}

void store_scalar(void* p, const Scalar& x) {
  switch (x.dtype) {
    case DType::boolean:
    case DType::u8:
    case DType::i8:
      return write(p, static_cast<uint8_t>(x.i));
    case DType::i16:
      return write(p, static_cast<int16_t>(x.i));
    case DType::i32:
      return write(p, static_cast<int32_t>(x.i));
    case DType::i64:
      return write(p, x.i);
    case DType::f16:
      return write(p, f16_bits(x.f));
    case DType::bf16:
      return write(p, bf16_bits(static_cast<float>(x.f)));
    case DType::f8e4m3:
      return write(p, f8_bits(kE4M3, x.f));
    case DType::f8e5m2:
      return write(p, f8_bits(kE5M2, x.f));
    case DType::f32:
      return write(p, static_cast<float>(x.f));
    case DType::f64:
      return write(p, x.f);
    default:
      break;
  }
  OURJIT_CHECK(false) << "kernels cannot write " << dtype_name(x.dtype);
}

std::string scalar_str(const Scalar& x) {
  if (is_bool(x.dtype)) return x.i ? "true" : "false";
  if (!x.is_float()) return std::to_string(x.i);
  if (x.dtype == DType::f64 || !std::isfinite(x.f)) return double_str(x.f);
  char text[40];
  std::string s(text, std::to_chars(text, text + sizeof text, static_cast<float>(x.f)).ptr);
  if (s.find_first_of(".e") == std::string::npos) s += ".0";
  return s;
}

Scalar cast_scalar(const Scalar& x, DType to) {
  return x.is_float() ? Scalar::number(to, x.f) : Scalar::integer(to, x.i);
}

}  // namespace ourjit
