// The functions that generated kernels may call: oj_<op>_f32 on F, oj_<op>_f64 on D (see vector.h).
#include "vecmath.h"

#include "error_function.h"
#include "exponential.h"
#include "gamma.h"
#include "logarithm.h"
#include "power.h"
#include "random.h"
#include "trigonometric.h"

#ifndef OURJIT_KERNEL
#define OURJIT_KERNEL extern "C"
#endif

#define OJ_ALWAYS_INLINE __attribute__((always_inline))

using oj::D;
using oj::F;
using oj::I64;

namespace oj {

/// A function of doubles applied to floats. The result is correctly rounded but for about one case
/// in 2^28.
template <D (*function)(D)>
OJ_INLINE F through_double(F x) {
  Halves half = widen(x);
  return narrow(function(half.lo), function(half.hi));
}

template <D (*function)(D, D)>
OJ_INLINE F through_double(F x, F y) {
  Halves a = widen(x);
  Halves b = widen(y);
  return narrow(function(a.lo, b.lo), function(a.hi, b.hi));
}

}  // namespace oj

#define OJ_SMALL_UNARY(name)                                                    \
  OURJIT_KERNEL OJ_ALWAYS_INLINE F oj_##name##_f32(F x) { return oj::name(x); } \
  OURJIT_KERNEL OJ_ALWAYS_INLINE D oj_##name##_f64(D x) { return oj::name(x); }

#define OJ_DOUBLE_UNARY(name)                                              \
  OURJIT_KERNEL OJ_NOINLINE D oj_##name##_f64(D x) { return oj::name(x); } \
  OURJIT_KERNEL OJ_ALWAYS_INLINE F oj_##name##_f32(F x) {                  \
    return oj::through_double<oj_##name##_f64>(x);                         \
  }

OJ_SMALL_UNARY_FUNCTIONS(OJ_SMALL_UNARY)
OJ_DOUBLE_UNARY_FUNCTIONS(OJ_DOUBLE_UNARY)

OURJIT_KERNEL OJ_ALWAYS_INLINE F oj_pow_f32(F x, F y) { return oj::pow(x, y); }
OURJIT_KERNEL OJ_NOINLINE D oj_pow_f64(D x, D y) { return oj::pow(x, y); }
OURJIT_KERNEL OJ_NOINLINE D oj_fmod_f64(D x, D y) { return oj::fmod(x, y); }
OURJIT_KERNEL OJ_NOINLINE F oj_fmod_f32(F x, F y) { return oj::fmod(x, y); }
OURJIT_KERNEL OJ_NOINLINE D oj_atan2_f64(D y, D x) { return oj::atan2(y, x); }
OURJIT_KERNEL OJ_ALWAYS_INLINE F oj_atan2_f32(F y, F x) {
  return oj::through_double<oj_atan2_f64>(y, x);
}

OURJIT_KERNEL OJ_ALWAYS_INLINE F oj_rand_uniform_f32(long seed, I64 index_lo, I64 index_hi) {
  return oj::uniform(seed, index_lo, index_hi);
}

OURJIT_KERNEL OJ_ALWAYS_INLINE D oj_rand_uniform_f64(long seed, I64 index) {
  return oj::uniform(seed, index);
}

OURJIT_KERNEL OJ_ALWAYS_INLINE F oj_rand_normal_f32(long seed, I64 index_lo, I64 index_hi) {
  return oj::normal(seed, index_lo, index_hi);
}

OURJIT_KERNEL D oj_rand_normal_f64(long seed, I64 index) { return oj::normal(seed, index); }
