// The list of the vector maths, for the definitions and for what must cover all of them.
#pragma once

/// Functions whose float version is computed in float lanes; both versions are inlined into
/// kernels.
#define OJ_SMALL_UNARY_FUNCTIONS(X) \
  X(exp) X(exp2) X(expm1) X(log) X(log2) X(log10) X(log1p) X(sin) X(cos) X(tanh) X(sigmoid) X(erf)

/// Functions whose float version is computed with doubles; the double version is called.
#define OJ_DOUBLE_UNARY_FUNCTIONS(X) \
  X(tan)                             \
  X(asin)                            \
  X(acos) X(atan) X(sinh) X(cosh) X(asinh) X(acosh) X(atanh) X(erfc) X(erfinv) X(lgamma) X(digamma)

#define OJ_UNARY_FUNCTIONS(X) OJ_SMALL_UNARY_FUNCTIONS(X) OJ_DOUBLE_UNARY_FUNCTIONS(X)

#define OJ_BINARY_FUNCTIONS(X) X(pow) X(atan2) X(fmod)
