// --- arithmetic ---

// Scalar operations that C has no operator or function for, by base/scalar_ops.def. Integers wrap:
// they are computed unsigned.

template <class T>
struct oj_unsigned {
  typedef T type;
};
template <>
struct oj_unsigned<signed char> {
  typedef unsigned type;
};
template <>
struct oj_unsigned<unsigned char> {
  typedef unsigned type;
};
template <>
struct oj_unsigned<short> {
  typedef unsigned type;
};
template <>
struct oj_unsigned<int> {
  typedef unsigned type;
};
template <>
struct oj_unsigned<oj_i64> {
  typedef oj_u64 type;
};
template <class T>
using oj_wide = typename oj_unsigned<T>::type;

template <class T>
OJ_FUNCTION T oj_add(T a, T b) {
  return (T)((oj_wide<T>)a + (oj_wide<T>)b);
}
OJ_FUNCTION bool oj_add(bool a, bool b) { return a || b; }
template <class T>
OJ_FUNCTION T oj_sub(T a, T b) {
  return (T)((oj_wide<T>)a - (oj_wide<T>)b);
}
template <class T>
OJ_FUNCTION T oj_mul(T a, T b) {
  return (T)((oj_wide<T>)a * (oj_wide<T>)b);
}
OJ_FUNCTION bool oj_mul(bool a, bool b) { return a && b; }

// --- signs and kinds of numbers ---

template <class T>
OJ_FUNCTION T oj_neg(T a) {
  return oj_sub((T)0, a);
}
OJ_FUNCTION float oj_neg(float a) { return -a; }
OJ_FUNCTION double oj_neg(double a) { return -a; }

template <class T>
OJ_FUNCTION T oj_abs(T a) {
  return a < (T)0 ? oj_neg(a) : a;
}
OJ_FUNCTION bool oj_abs(bool a) { return a; }
OJ_FUNCTION float oj_abs(float a) { return fabsf(a); }
OJ_FUNCTION double oj_abs(double a) { return fabs(a); }
template <class T>
OJ_FUNCTION T oj_sign(T a) {
  return (T)((a > (T)0) - (a < (T)0));
}
OJ_FUNCTION bool oj_sign(bool a) { return a; }

template <class T>
OJ_FUNCTION bool oj_isnan(T a) {
  return a != a;
}
template <class T>
OJ_FUNCTION bool oj_isinf(T) {
  return false;
}
OJ_FUNCTION bool oj_isinf(float a) { return fabsf(a) == oj_infinity<float>(); }
OJ_FUNCTION bool oj_isinf(double a) { return fabs(a) == oj_infinity<double>(); }
template <class T>
OJ_FUNCTION bool oj_signbit(T a) {
  return a < (T)0;
}
OJ_FUNCTION bool oj_signbit(bool) { return false; }
OJ_FUNCTION bool oj_signbit(float a) { return oj_bits(a) >> 31; }
OJ_FUNCTION bool oj_signbit(double a) { return oj_bits(a) >> 63; }
template <class T>
OJ_FUNCTION T oj_bitwise_not(T a) {
  return (T)~a;
}
OJ_FUNCTION bool oj_bitwise_not(bool a) { return !a; }

// --- extremes: a NaN operand is the result; fmin and fmax prefer the number; of equals, a ---

template <class T>
OJ_FUNCTION T oj_minimum(T a, T b) {
  return a != a || a <= b ? a : b;
}
template <class T>
OJ_FUNCTION T oj_maximum(T a, T b) {
  return a != a || a >= b ? a : b;
}
// Of floats. Of zeros, the positive one is the greater: the order of operands does not matter.
template <class T>
OJ_FUNCTION T oj_lesser(T a, T b) {
  if (a == b) return oj_from_bits(oj_bits(a) | oj_bits(b));
  return a != a || a < b ? a : b;
}
template <class T>
OJ_FUNCTION T oj_greater(T a, T b) {
  if (a == b) return oj_from_bits(oj_bits(a) & oj_bits(b));
  return a != a || a > b ? a : b;
}
OJ_FUNCTION float oj_minimum(float a, float b) {
#ifdef OJ_DEVICE_80
  float r;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
#else
  return oj_lesser(a, b);
#endif
}
OJ_FUNCTION float oj_maximum(float a, float b) {
#ifdef OJ_DEVICE_80
  float r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
#else
  return oj_greater(a, b);
#endif
}
OJ_FUNCTION double oj_minimum(double a, double b) { return oj_lesser(a, b); }
OJ_FUNCTION double oj_maximum(double a, double b) { return oj_greater(a, b); }
template <class T>
OJ_FUNCTION T oj_fmin(T a, T b) {
  return b != b || a <= b ? a : b;
}
template <class T>
OJ_FUNCTION T oj_fmax(T a, T b) {
  return b != b || a >= b ? a : b;
}

// --- division: a zero divisor gives what 1 gives, and the kernel reports it ---

template <class T>
OJ_FUNCTION T oj_quotient(T a, T b) {
  return b == (T)-1 && (T)-1 < (T)0 ? oj_neg(a) : (T)(a / (b == 0 ? (T)1 : b));
}
template <class T>
OJ_FUNCTION T oj_remainder(T a, T b) {
  return b == 0 || (b == (T)-1 && (T)-1 < (T)0) ? (T)0 : (T)(a % b);
}
OJ_FUNCTION float oj_remainder(float a, float b) { return fmodf(a, b); }
OJ_FUNCTION double oj_remainder(double a, double b) { return fmod(a, b); }

template <class T>
OJ_FUNCTION T oj_trunc_div(T a, T b) {
  return oj_quotient(a, b);
}
OJ_FUNCTION float oj_trunc_div(float a, float b) { return truncf(a / b); }
OJ_FUNCTION double oj_trunc_div(double a, double b) { return trunc(a / b); }
template <class T>
OJ_FUNCTION T oj_fmod(T a, T b) {
  return oj_remainder(a, b);
}
template <class T>
OJ_FUNCTION T oj_mod(T a, T b) {
  const T r = oj_remainder(a, b);
  return r != (T)0 && (r < (T)0) != (b < (T)0) ? oj_add(r, b) : r;
}
template <class T>
OJ_FUNCTION T oj_floor_div(T a, T b) {
  const T r = oj_remainder(a, b), q = oj_quotient(a, b);
  return r != 0 && (r < 0) != (b < 0) ? oj_sub(q, (T)1) : q;
}
// As ATen's div_floor (c10/util/generic_math.h), which corrects the rounding of a / b.
template <class T>
OJ_FUNCTION T oj_float_floor_div(T a, T b, T r, T sign) {
  if (b == (T)0) return a / b;
  T q = (a - r) / b;
  if (r != (T)0 && (b < (T)0) != (r < (T)0)) q -= (T)1;
  if (q == (T)0) return sign;
  const T whole = (T)floor((double)q);
  return q - whole > (T)0.5 ? whole + (T)1 : whole;
}
OJ_FUNCTION float oj_floor_div(float a, float b) {
  return oj_float_floor_div(a, b, fmodf(a, b), copysignf(0.0f, a / b));
}
OJ_FUNCTION double oj_floor_div(double a, double b) {
  return oj_float_floor_div(a, b, fmod(a, b), copysign(0.0, a / b));
}

// --- powers and divisors ---

template <class T>
OJ_FUNCTION T oj_pow(T a, T b) {
  if (b < (T)0) return a == (T)1 ? (T)1 : a == (T)-1 ? (b % 2 ? (T)-1 : (T)1) : (T)0;
  T r = (T)1;
  for (; b; b = (T)(b >> 1)) {
    if (b & 1) r = oj_mul(r, a);
    a = oj_mul(a, a);
  }
  return r;
}
OJ_FUNCTION float oj_pow(float a, float b) { return powf(a, b); }
OJ_FUNCTION double oj_pow(double a, double b) { return pow(a, b); }

// Of magnitudes; that of the lowest number wraps.
template <class T>
OJ_FUNCTION T oj_gcd(T a, T b) {
  oj_wide<T> x = a, y = b;
  if (a < (T)0) x = 0 - x;
  if (b < (T)0) y = 0 - y;
  while (x) {
    const oj_wide<T> rest = y % x;
    y = x;
    x = rest;
  }
  return (T)y;
}
OJ_FUNCTION bool oj_gcd(bool a, bool b) { return a || b; }

// --- shifts: out of range, all bits are shifted out ---

template <class T>
OJ_FUNCTION T oj_shl(T a, T b) {
  return b < (T)0 || b >= (T)(8 * sizeof(T)) ? (T)0 : (T)((oj_wide<T>)a << b);
}
template <class T>
OJ_FUNCTION T oj_shr(T a, T b) {
  const T most = (T)(8 * sizeof(T) - 1);
  if (b < (T)0 || b > most) return (T)-1 < (T)0 ? (T)(a >> most) : (T)0;
  return (T)(a >> b);
}
// A bool has eight bits, any of which makes it true.
OJ_FUNCTION bool oj_shl(bool a, bool) { return a; }
OJ_FUNCTION bool oj_shr(bool a, bool b) { return a && !b; }

// --- true division: CUDA's own takes a branch to code for rare operands, which NVRTC is long at ---

// 1 / x but for the last bit; 0 where x or the result is subnormal is taken for such.
OJ_FUNCTION float oj_near_reciprocal(float x) {
#ifdef OJ_EMULATE
  // The instruction may be a unit in the last place off, so here it is.
  const float r = fabsf(x) < 0x1p-126f ? copysignf(oj_infinity<float>(), x) : 1.0f / x;
  if (fabsf(r) < 0x1p-126f) return copysignf(0.0f, r);
  return fabsf(r) < oj_infinity<float>() ? oj_from_bits(oj_bits(r) ^ 1u) : r;
#else
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
#endif
}
// a / b where neither 1 / b nor a / b is subnormal, infinite or zero: one Newton step, whose
// remainder is exact.
OJ_FUNCTION float oj_near_quotient(float a, float b) {
  const float r = oj_near_reciprocal(b), q = a * r;
  return fmaf(fmaf(-q, b, a), r, q);
}
// Rounded as IEEE 754 says but for rare results that lie almost between two numbers; at most 3 ulp
// off where |a| < 2^-120. Where b is rare, a and b are scaled, which is exact unless the result is
// subnormal. The estimate itself is right where it is zero, infinite or NaN.
OJ_FUNCTION float oj_div(float a, float b) {
  const float size = fabsf(b);
  const float scale = size < 0x1p-64f ? 0x1p64f : size > 0x1p64f ? 0x1p-64f : 1.0f;
  const float n = a * scale, d = b * scale, r = oj_near_reciprocal(d), q = n * r;
  const bool usual = oj_bits(q) * 2 - 1 < 0xfeffffffu;
  return usual ? fmaf(fmaf(-q, d, n), r, q) : q;
}
OJ_FUNCTION double oj_div(double a, double b) { return a / b; }

// --- sigmoid: without overflow for either sign ---

OJ_FUNCTION float oj_sigmoid(float x) {
  const float e = expf(-fabsf(x));
  return oj_near_quotient(x >= 0 ? 1.0f : e, 1.0f + e);
}
OJ_FUNCTION double oj_sigmoid(double x) {
  const double e = exp(-fabs(x));
  return x != x ? x : (x >= 0 ? 1.0 : e) / (1.0 + e);
}

// --- sines and cosines: CUDA's own keep the bits of 2 / pi on the stack of each thread ---

// x = quadrant * pi / 2 + rest with |rest| <= pi / 4; the quadrant is right modulo 4.
struct oj_angle {
  float rest;
  unsigned quadrant;
};

// The bits of 2 / pi behind the point, after 32 zero bits.
#ifdef OJ_EMULATE
static const unsigned oj_two_over_pi[] = {
#else
static __constant__ const unsigned oj_two_over_pi[] = {
#endif
    0x00000000u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u,
    0xfe5163abu, 0xdebbc561u};

// Of |x| >= 2^17, which are rare: the method of Payne and Hanek. x = m 2^e with an integer m of 24
// bits, and only those bits of 2 / pi matter whose product with x is below 4. A word of the
// quadrant and one of the rest, as a function that is no copy of its own in each caller returns
// them in registers.
OJ_OUTLINED oj_u64 oj_angle_words(float x) {
  const unsigned bits = oj_bits(x), exponent = bits >> 23 & 0xff;
  if (exponent == 0xff) return 0x7fc00000u;
  const unsigned m = (bits & 0x7fffffu) | 0x800000u, skipped = exponent - 150 - 2 + 32;
  const unsigned* word = oj_two_over_pi + (skipped >> 5);
  const int shift = (int)(skipped & 31);
  const unsigned high = (unsigned)(((oj_u64)word[0] << 32 | word[1]) << shift >> 32);
  const unsigned middle = (unsigned)(((oj_u64)word[1] << 32 | word[2]) << shift >> 32);
  const unsigned low = (unsigned)(((oj_u64)word[2] << 32 | word[3]) << shift >> 32);
  // Bits 32 to 95 of the product: those above are multiples of 4.
  const oj_u64 product = ((oj_u64)(m * high) << 32) + (oj_u64)m * middle + ((oj_u64)m * low >> 32);
  const oj_i64 fraction = (oj_i64)(product << 2);
  const unsigned quadrant = (unsigned)(product >> 62) + (fraction < 0);
  const float rest = (float)((double)fraction * (0x1p-64 * 1.57079632679489661923));
  const bool negative = bits >> 31;
  return (oj_u64)(negative ? 0 - quadrant : quadrant) << 32 | oj_bits(negative ? -rest : rest);
}

OJ_FUNCTION oj_angle oj_reduce_angle(float x) {
  if (!(fabsf(x) < 0x1p17f)) {
    const oj_u64 words = oj_angle_words(x);
    return {oj_from_bits((unsigned)words), (unsigned)(words >> 32)};
  }
  // pi / 2 in three parts. The first difference is exact.
  const float n = nearbyintf(x * 0x1.45f306p-1f);
  float rest = fmaf(-n, 0x1.921fb6p+0f, x);
  rest = fmaf(-n, -0x1.777a5cp-25f, rest);
  rest = fmaf(-n, -0x1.ee59dap-50f, rest);
  return {n == 0 ? x : rest, (unsigned)(int)n};
}

// sin of the angle; quadrant + 1 gives cos. Polynomials as in kernels/cpu/coefficients.h.
OJ_FUNCTION float oj_sin_of(float rest, unsigned quadrant) {
  const float z = rest * rest;
  const bool odd = quadrant & 1;
  float p = odd ? 0x1.99d65ap-16f : -0x1.991006p-13f;
  p = fmaf(p, z, odd ? -0x1.6c0c04p-10f : 0x1.1106bp-7f);
  p = fmaf(p, z, odd ? 0x1.55554ap-5f : -0x1.555544p-3f);
  const float r = odd ? fmaf(z, fmaf(z, p, -0.5f), 1.0f)
                      : copysignf(fmaf(rest * z, p, rest), rest);
  return quadrant & 2 ? -r : r;
}
OJ_FUNCTION float oj_sin(float x) {
  const oj_angle a = oj_reduce_angle(x);
  return oj_sin_of(a.rest, a.quadrant);
}
OJ_FUNCTION float oj_cos(float x) {
  const oj_angle a = oj_reduce_angle(x);
  return oj_sin_of(a.rest, a.quadrant + 1);
}
// At most 3 ulp off, as its two parts are 1.
OJ_FUNCTION float oj_tan(float x) {
  const oj_angle a = oj_reduce_angle(x);
  return oj_near_quotient(oj_sin_of(a.rest, a.quadrant), oj_sin_of(a.rest, a.quadrant + 1));
}
OJ_FUNCTION double oj_sin(double x) { return sin(x); }
OJ_FUNCTION double oj_cos(double x) { return cos(x); }
OJ_FUNCTION double oj_tan(double x) { return tan(x); }

// --- gamma functions: long code, which the lanes of a thread share ---

OJ_OUTLINED float oj_lgamma(float x) { return lgammaf(x); }
OJ_OUTLINED double oj_lgamma(double x) { return lgamma(x); }

// pi / tan(pi x), without the stack that CUDA's tangent of a double takes.
OJ_FUNCTION double oj_pi_cotangent(double x) {
  const double kPi = 3.14159265358979323846;
#ifdef OJ_EMULATE
  return kPi / tan(kPi * x);
#else
  return kPi * cospi(x) / sinpi(x);
#endif
}
// Asymptotic series above 10 (Abramowitz and Stegun 6.3.18), recurrence below (6.3.5), reflection
// for negative x (6.3.7).
OJ_OUTLINED double oj_digamma(double x) {
  if (x == 0) return copysign(oj_infinity<double>(), -x);
  double r = 0;
  if (x < 0) {
    if (x == trunc(x)) return oj_nan<double>();
    r = -oj_pi_cotangent(x - trunc(x));
    x = 1 - x;
  }
  for (; x < 10; x += 1) r -= 1 / x;
  if (x == oj_infinity<double>()) return x;
  const double y = 1 / (x * x);
  double tail = 1. / 12;
  tail = tail * y - 691. / 32760;
  tail = tail * y + 1. / 132;
  tail = tail * y - 1. / 240;
  tail = tail * y + 1. / 252;
  tail = tail * y - 1. / 120;
  tail = tail * y + 1. / 12;
  return r + log(x) - 0.5 / x - y * tail;
}
OJ_FUNCTION float oj_digamma(float x) { return (float)oj_digamma((double)x); }

// --- random numbers, as base/philox.h defines them ---

struct oj_philox {
  unsigned x, y, z, w;
};
struct oj_philox_words {
  unsigned first, second;
};
// Neighbouring elements take words of one block, which is then computed once.
OJ_FUNCTION oj_philox oj_philox_block(oj_i64 seed, oj_u64 block) {
  oj_philox c = {(unsigned)block, (unsigned)(block >> 32), 0, 0};
  unsigned k0 = (unsigned)seed, k1 = (unsigned)((oj_u64)seed >> 32);
  OJ_UNROLL
  for (int round = 0; round < 10; ++round) {
    const oj_u64 p0 = (oj_u64)0xD2511F53u * c.x, p1 = (oj_u64)0xCD9E8D57u * c.z;
    c = {(unsigned)(p1 >> 32) ^ c.y ^ k0, (unsigned)p1, (unsigned)(p0 >> 32) ^ c.w ^ k1,
         (unsigned)p0};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}
OJ_FUNCTION unsigned oj_philox_word(oj_i64 seed, oj_i64 index) {
  const oj_philox b = oj_philox_block(seed, (oj_u64)index >> 2);
  return index & 2 ? (index & 1 ? b.w : b.z) : (index & 1 ? b.y : b.x);
}
OJ_FUNCTION oj_philox_words oj_philox_pair(oj_i64 seed, oj_i64 index) {
  const oj_philox b = oj_philox_block(seed, (oj_u64)index >> 1);
  return index & 1 ? oj_philox_words{b.z, b.w} : oj_philox_words{b.x, b.y};
}
OJ_FUNCTION double oj_bits53(unsigned high, unsigned low) {
  return (double)(((oj_u64)high << 32 | low) >> 11);
}
OJ_FUNCTION double oj_box_muller(double u1, double u2) {
  return sqrt(-2 * log(u1)) * cos(6.28318530717958647693 * u2);
}

OJ_FUNCTION float oj_normal_of(unsigned first, unsigned second) {
  const float u1 = (float)((first >> 8) + 1) * 0x1p-24f, u2 = (float)(second >> 8) * 0x1p-24f;
  return sqrtf(-2 * logf(u1)) * cospif(2 * u2);
}

template <class T>
OJ_FUNCTION T oj_rand_uniform(oj_i64 seed, oj_i64 index) {
  if (sizeof(T) == 4) return (T)((float)(oj_philox_word(seed, index) >> 8) * 0x1p-24f);
  const oj_philox_words w = oj_philox_pair(seed, index);
  return (T)(oj_bits53(w.first, w.second) * 0x1p-53);
}
template <class T>
OJ_FUNCTION T oj_rand_normal(oj_i64 seed, oj_i64 index) {
  if (sizeof(T) == 4) {
    const oj_philox_words w = oj_philox_pair(seed, index);
    return (T)oj_normal_of(w.first, w.second);
  }
  const oj_philox b = oj_philox_block(seed, (oj_u64)index);
  return (T)oj_box_muller((oj_bits53(b.x, b.y) + 1) * 0x1p-53, oj_bits53(b.z, b.w) * 0x1p-53);
}

// Elements first .. first + N - 1, where `first` is a multiple of how many share a block.
template <int N>
OJ_FUNCTION void oj_rand_uniform_vector(float (&out)[N], oj_i64 seed, oj_i64 first) {
  OJ_UNROLL
  for (int k = 0; k < N / 4; ++k) {
    const oj_philox b = oj_philox_block(seed, ((oj_u64)first >> 2) + k);
    out[4 * k] = (float)(b.x >> 8) * 0x1p-24f;
    out[4 * k + 1] = (float)(b.y >> 8) * 0x1p-24f;
    out[4 * k + 2] = (float)(b.z >> 8) * 0x1p-24f;
    out[4 * k + 3] = (float)(b.w >> 8) * 0x1p-24f;
  }
}
template <int N>
OJ_FUNCTION void oj_rand_uniform_vector(double (&out)[N], oj_i64 seed, oj_i64 first) {
  OJ_UNROLL
  for (int k = 0; k < N / 2; ++k) {
    const oj_philox b = oj_philox_block(seed, ((oj_u64)first >> 1) + k);
    out[2 * k] = oj_bits53(b.x, b.y) * 0x1p-53;
    out[2 * k + 1] = oj_bits53(b.z, b.w) * 0x1p-53;
  }
}
template <int N>
OJ_FUNCTION void oj_rand_normal_vector(float (&out)[N], oj_i64 seed, oj_i64 first) {
  OJ_UNROLL
  for (int k = 0; k < N / 2; ++k) {
    const oj_philox b = oj_philox_block(seed, ((oj_u64)first >> 1) + k);
    out[2 * k] = oj_normal_of(b.x, b.y);
    out[2 * k + 1] = oj_normal_of(b.z, b.w);
  }
}
template <int N>
OJ_FUNCTION void oj_rand_normal_vector(double (&out)[N], oj_i64 seed, oj_i64 first) {
  OJ_UNROLL
  for (int l = 0; l < N; ++l) out[l] = oj_rand_normal<double>(seed, first + l);
}
