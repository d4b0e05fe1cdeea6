// The functions that generated kernels may call: oj_<op>_f32 on F, oj_<op>_f64 on D (see vector.h).
#include "error_function.h"
#include "exponential.h"
#include "logarithm.h"
#include "random.h"
#include "trigonometric.h"

#ifndef OURJIT_KERNEL
#define OURJIT_KERNEL extern "C"
#endif

#define OJ_UNARY(name)                                                                        \
  OURJIT_KERNEL __attribute__((always_inline)) oj::F oj_##name##_f32(oj::F x) { return oj::name(x); } \
  OURJIT_KERNEL __attribute__((always_inline)) oj::D oj_##name##_f64(oj::D x) { return oj::name(x); }

OJ_UNARY(exp)
OJ_UNARY(exp2)
OJ_UNARY(expm1)
OJ_UNARY(log)
OJ_UNARY(log2)
OJ_UNARY(log10)
OJ_UNARY(log1p)
OJ_UNARY(tanh)
OJ_UNARY(sigmoid)
OJ_UNARY(erf)

OURJIT_KERNEL oj::F oj_rand_uniform_f32(long seed, oj::I64 index_lo, oj::I64 index_hi) {
  return oj::uniform(seed, index_lo, index_hi);
}

OURJIT_KERNEL oj::D oj_rand_uniform_f64(long seed, oj::I64 index) {
  return oj::uniform(seed, index);
}

OURJIT_KERNEL oj::F oj_rand_normal_f32(long seed, oj::I64 index_lo, oj::I64 index_hi) {
  return oj::normal(seed, index_lo, index_hi);
}

OURJIT_KERNEL oj::D oj_rand_normal_f64(long seed, oj::I64 index) {
  return oj::normal(seed, index);
}
