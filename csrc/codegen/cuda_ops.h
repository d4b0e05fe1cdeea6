// How CUDA C++ spells dtypes, constants and scalar operations.
#pragma once

#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/scalar_ops.h"

namespace ourjit::cuda {

/// About how many operations of a device `op` takes on floats: functions and divisions take many.
int64_t c_operations(ScalarOp op);

/// The type in memory and in registers: float, oj_bf16, oj_i64, ...
std::string c_type(DType t);
/// A constant (bits as in loop::Const), exactly.
std::string c_constant(DType t, uint64_t bits);
std::string c_zero(DType t);
/// `op` on operands (names or parenthesized text) of dtype `operand`, as column `cuda` of
/// scalar_ops.def spells it, with a result of dtype `result`.
std::string c_compute(ScalarOp op, DType operand, DType result,
                      const std::vector<std::string>& args);
/// True for operations on integers that a zero divisor (the second operand) makes an error.
bool divides_integers(ScalarOp op, DType operand);
/// The functor of kernels/cuda that combines two partial results: oj_sum, oj_argmax, ...
std::string c_functor(ReduceOp op);

}  // namespace ourjit::cuda
