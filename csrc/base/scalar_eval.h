// One typed number and every scalar operation on it: the oracle of the loop interpreter and what
// constant folding computes with.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/dtype.h"
#include "base/scalar_ops.h"

namespace ourjit {

/// A value of a native dtype: floats in `f`, rounded to the dtype; integers and bool (0 or 1) in
/// `i`, wrapped to the dtype.
struct Scalar {
  DType dtype = DType::i64;
  union {
    int64_t i = 0;
    double f;
  };

  /// The integer `v`, converted to `dtype` (which may be a float).
  static Scalar integer(DType dtype, int64_t v);
  /// The number `v`, rounded to `dtype`, which may be an integer (truncates as x86 does).
  static Scalar number(DType dtype, double v);
  /// The value that `bits` stand for: integers and bool themselves, floats as the bits of an f64.
  static Scalar from_bits(DType dtype, uint64_t bits);
  /// Inverse of from_bits.
  uint64_t bits() const;

  bool is_float() const { return ourjit::is_float(dtype); }
  /// Not equal to zero; NaN is true.
  bool truth() const { return is_float() ? f != 0 : i != 0; }
};

/// Reads one element of `dtype` at `p`; any nonzero byte is true.
Scalar load_scalar(DType dtype, const void* p);
/// Writes one element of x.dtype at `p`.
void store_scalar(void* p, const Scalar& x);

/// Exact text: "1", "-0.0", "1.5", "inf", "nan", "true". Floats always have '.', 'e', or letters.
std::string scalar_str(const Scalar& x);

/// torch's conversion. Floats to integers truncate; out of range they give what x86's cvtt gives
/// (the most negative i32 or i64, of which narrower types keep the low bits).
Scalar cast_scalar(const Scalar& x, DType to);

/// Result of eval_scalar; `zero_division` if an integer was divided by zero (then as if by 1).
struct Evaluated {
  Scalar value;
  bool zero_division = false;
};

/// Computes `op`. `result` is the dtype of the result (it follows from the operands but for `cast`
/// and the random operations). f16 and bf16 are computed in f32 and rounded.
Evaluated eval_scalar(ScalarOp op, DType result, std::span<const Scalar> args);

/// The neutral element of sum, prod, max and min (for argmax and argmin: of max and min; for
/// exp_sum, whose other half starts at 0: of max).
Scalar reduce_identity(ReduceOp op, DType dtype);
/// One step of sum, prod, max or min.
Scalar reduce_combine(ReduceOp op, const Scalar& a, const Scalar& b);
/// True if `x` takes the place of `best` in argmax or argmin when it comes later.
bool reduce_wins(ReduceOp op, const Scalar& x, const Scalar& best);

/// What exp_sum keeps: the greatest value, and the sum of all exp(x - that), infinity taken as 0.
struct ScaledSum {
  Scalar max, sum;
};
/// Of the values of both; one value x is {x, 1}. (Milakov and Gimelshein, Online normalizer
/// calculation for softmax, 2018.)
ScaledSum exp_sum_combine(const ScaledSum& a, const ScaledSum& b);

}  // namespace ourjit
