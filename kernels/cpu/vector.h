// Vector types and the small operations from which the vector maths is built. Freestanding:
// compiler builtins only.
//
// F holds the float lanes of OURJIT_VECTOR_REGISTERS registers (one by default), D the double
// lanes, so that D has half as many lanes as F. Masks are integer vectors with all bits of a lane
// set or clear, as comparisons give them.
#pragma once

#ifndef OURJIT_VECTOR_BITS
#error "define OURJIT_VECTOR_BITS as 128, 256 or 512"
#endif

#ifndef OURJIT_VECTOR_REGISTERS
#define OURJIT_VECTOR_REGISTERS 1
#endif

#define OJ_INLINE static inline __attribute__((always_inline))
#define OJ_NOINLINE __attribute__((noinline))

namespace oj {

inline constexpr int kFloatLanes = OURJIT_VECTOR_REGISTERS * OURJIT_VECTOR_BITS / 32;
inline constexpr int kDoubleLanes = OURJIT_VECTOR_REGISTERS * OURJIT_VECTOR_BITS / 64;

using F = float __attribute__((ext_vector_type(kFloatLanes)));
using D = double __attribute__((ext_vector_type(kDoubleLanes)));
using I32 = int __attribute__((ext_vector_type(kFloatLanes)));
using U32 = unsigned __attribute__((ext_vector_type(kFloatLanes)));
using I64 = long __attribute__((ext_vector_type(kDoubleLanes)));
using U64 = unsigned long __attribute__((ext_vector_type(kDoubleLanes)));
using HalfF = float __attribute__((ext_vector_type(kDoubleLanes)));
using HalfU32 = unsigned __attribute__((ext_vector_type(kDoubleLanes)));

/// What the generic functions need to know of a float format.
template <class V>
struct Format;

template <>
struct Format<F> {
  using Scalar = float;
  using Int = I32;
  using UInt = U32;
  static constexpr int mantissa_bits = 23;
  static constexpr int bias = 127;
  static constexpr int sign_bit = 31;
  static constexpr float min_normal = 0x1p-126f;
  /// Adding this to |x| < 2^22 leaves the nearest integer in the low bits of the sum.
  static constexpr float rounder = 0x1.8p23f;
  static constexpr float infinity = __builtin_inff();
};

template <>
struct Format<D> {
  using Scalar = double;
  using Int = I64;
  using UInt = U64;
  static constexpr int mantissa_bits = 52;
  static constexpr int bias = 1023;
  static constexpr int sign_bit = 63;
  static constexpr double min_normal = 0x1p-1022;
  static constexpr double rounder = 0x1.8p52;
  static constexpr double infinity = __builtin_inf();
};

template <class V>
using Scalar = typename Format<V>::Scalar;
template <class V>
using Int = typename Format<V>::Int;
template <class V>
using UInt = typename Format<V>::UInt;

/// The constant of V's format.
template <class V>
OJ_INLINE constexpr Scalar<V> constant(float f32, double f64) {
  if constexpr (sizeof(Scalar<V>) == 4) {
    return f32;
  } else {
    return f64;
  }
}

template <class V>
OJ_INLINE V splat(Scalar<V> value) {
  return V(value);
}

template <class V>
OJ_INLINE UInt<V> bits(V x) {
  return __builtin_bit_cast(UInt<V>, x);
}

template <class V>
OJ_INLINE V from_bits(UInt<V> x) {
  return __builtin_bit_cast(V, x);
}

/// yes where the mask is set, else no.
template <class V>
OJ_INLINE V select(Int<V> mask, V yes, V no) {
  return mask ? yes : no;
}

template <class V>
OJ_INLINE bool any(V mask) {
  return __builtin_reduce_or(mask) != 0;
}

template <class V>
OJ_INLINE V abs(V x) {
  return __builtin_elementwise_abs(x);
}

template <class V>
OJ_INLINE V copysign(V magnitude, V sign) {
  return __builtin_elementwise_copysign(magnitude, sign);
}

/// x limited to at most `limit`; NaN stays NaN.
template <class V>
OJ_INLINE V at_most(V x, Scalar<V> limit) {
  return V(limit) < x ? V(limit) : x;
}

/// x limited to at least `limit`; NaN stays NaN.
template <class V>
OJ_INLINE V at_least(V x, Scalar<V> limit) {
  return V(limit) > x ? V(limit) : x;
}

/// a * b + c, fused where the width's instruction set has it. Callers must be right in both cases.
template <class V>
OJ_INLINE V mul_add(V a, V b, V c) {
#if OURJIT_VECTOR_BITS >= 256
  return __builtin_elementwise_fma(a, b, c);
#else
  return a * b + c;
#endif
}

template <class V>
OJ_INLINE V mul_add(V a, Scalar<V> b, V c) {
  return mul_add(a, V(b), c);
}

template <class V>
OJ_INLINE V mul_add(V a, V b, Scalar<V> c) {
  return mul_add(a, b, V(c));
}

template <class V>
OJ_INLINE V mul_add(V a, Scalar<V> b, Scalar<V> c) {
  return mul_add(a, V(b), V(c));
}

/// The polynomial with the given coefficients, lowest power first.
template <class V, class S, int n>
OJ_INLINE V polynomial(V x, const S (&coefficients)[n]) {
  V result = V(Scalar<V>(coefficients[n - 1]));
#pragma clang loop unroll(full)
  for (int i = n - 2; i >= 0; --i) {
    result = mul_add(result, x, Scalar<V>(coefficients[i]));
  }
  return result;
}

/// The same with fewer dependent steps: pairs of coefficients first, then Horner's rule in x * x.
template <class V, class S, int n>
OJ_INLINE V paired_polynomial(V x, const S (&coefficients)[n]) {
  constexpr int pairs = n / 2;
  V square = x * x;
  V result = V(Scalar<V>(coefficients[n - 1]));
  if constexpr (n % 2 == 0) {
    result = mul_add(result, x, Scalar<V>(coefficients[n - 2]));
  }
  constexpr int rest = n % 2 == 0 ? pairs - 1 : pairs;
#pragma clang loop unroll(full)
  for (int i = rest - 1; i >= 0; --i) {
    V pair = mul_add(V(Scalar<V>(coefficients[2 * i + 1])), x, Scalar<V>(coefficients[2 * i]));
    result = mul_add(result, square, pair);
  }
  return result;
}

/// An unevaluated sum hi + lo with |lo| at most half a unit in the last place of hi.
template <class V>
struct Sum {
  V hi;
  V lo;
};

/// a + b exactly.
template <class V>
OJ_INLINE Sum<V> two_sum(V a, V b) {
  V sum = a + b;
  V part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

/// a + b exactly, for |a| >= |b| or a == 0.
template <class V>
OJ_INLINE Sum<V> quick_two_sum(V a, V b) {
  V sum = a + b;
  return {sum, b - (sum - a)};
}

/// a * b exactly, if nothing overflows or underflows. T is a vector or a scalar.
template <class T>
OJ_INLINE T product_error(T a, T b, T product, T splitter) {
  T a_big = a * splitter;
  T a_hi = a_big - (a_big - a);
  T a_lo = a - a_hi;
  T b_big = b * splitter;
  T b_hi = b_big - (b_big - b);
  T b_lo = b - b_hi;
  return ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
}

template <class V>
OJ_INLINE Sum<V> two_product(V a, V b) {
  V product = a * b;
#if OURJIT_VECTOR_BITS >= 256
  return {product, __builtin_elementwise_fma(a, b, -product)};
#else
  return {product, product_error<V>(a, b, product, V(constant<V>(0x1.001p12f, 0x1.0000002p27)))};
#endif
}

/// c - a * b where that difference is representable.
template <class V>
OJ_INLINE V exact_remainder(V a, V b, V c) {
#if OURJIT_VECTOR_BITS >= 256
  return __builtin_elementwise_fma(-a, b, c);
#else
  Sum<V> product = two_product(a, b);
  return (c - product.hi) - product.lo;
#endif
}

/// The two halves of a float vector as doubles, and back.
struct Halves {
  D lo;
  D hi;
};

OJ_INLINE Halves widen(F x) {
  return {__builtin_convertvector(x.lo, D), __builtin_convertvector(x.hi, D)};
}

OJ_INLINE F narrow(D lo, D hi) {
  F result;
  result.lo = __builtin_convertvector(lo, HalfF);
  result.hi = __builtin_convertvector(hi, HalfF);
  return result;
}

/// True in lanes that are NaN.
template <class V>
OJ_INLINE Int<V> is_nan(V x) {
  return x != x;
}

}  // namespace oj
