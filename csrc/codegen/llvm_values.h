// Register values of the LLVM emitter: types, constants, lanes, casts and the scalar operations.
//
// A value is a scalar (uniform) or a fixed vector with one element a lane (varying). bool is i1 in
// registers and i8 in memory; bf16 is i16, f16 is half; all other dtypes are LLVM's type of the
// same size.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <functional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/scalar_ops.h"

namespace ourjit {

using llvm::Value;

/// Lanes of a value: 1 for scalars.
unsigned lanes_of(const Value* v);

class ValueBuilder {
 public:
  ValueBuilder(llvm::IRBuilder<>& ir, llvm::Module& module, int vector_bits);

  llvm::IRBuilder<>& ir() { return ir_; }
  llvm::Module& module() { return module_; }

  /// Type in registers; `lanes` 1 gives the scalar.
  llvm::Type* type(DType t, unsigned lanes = 1);
  /// Type in memory.
  llvm::Type* memory_type(DType t, unsigned lanes = 1);
  /// The number that `bits` stands for (loop::Const).
  llvm::Constant* constant(DType t, uint64_t bits);
  /// A float or integer constant of v's type.
  Value* like(const Value* v, double number);
  Value* like_int(const Value* v, int64_t number);
  Value* i64(int64_t v) { return ir_.getInt64(static_cast<uint64_t>(v)); }

  /// `v` in `lanes` lanes: a scalar is broadcast, a vector must have them already.
  Value* broadcast(Value* v, unsigned lanes);
  /// Broadcasts what must be so that all have the lanes of the widest.
  void unify(std::vector<Value*>& values);
  /// <0, 1, 2, ...> of `bits` bits, times `step`.
  llvm::Constant* iota(unsigned lanes, unsigned bits, int64_t step = 1);
  /// True if any lane of the bool `v` is.
  Value* any(Value* v);
  /// Lanes first .. first + count - 1.
  Value* slice(Value* v, unsigned first, unsigned count);
  Value* concat(const std::vector<Value*>& parts);

  /// The elements from `p` on in the lanes of `mask`, zeros in the others.
  Value* masked_load(DType t, Value* p, Value* mask);

  /// torch's conversion, as cast_scalar of base/scalar_eval.h.
  Value* cast(Value* v, DType from, DType to);
  /// Between registers' and memory's form of a bool; others pass.
  Value* to_memory(Value* v, DType t);
  Value* from_memory(Value* v, DType t);

  /// Computes `op` on operands of dtype `operand` (for `where`: of the last two).
  Value* compute(ScalarOp op, DType operand, DType result, std::vector<Value*> args);
  /// Calls oj_<op>_<f32|f64> on as many whole registers as there are lanes for.
  Value* call_bitcode(ScalarOp op, DType t, const std::vector<Value*>& args);
  /// Random numbers of kernels/cpu at the given element indices (i64).
  Value* call_random(ScalarOp op, DType t, Value* seed, Value* index);

  /// Called with the lanes in which an integer is divided by zero.
  std::function<void(Value*)> on_zero_division;

 private:
  Value* float_to_int(Value* v, DType to);
  Value* float_to_bf16(Value* v);
  Value* float8_to_float(Value* v, DType from);
  Value* float_to_float8(Value* v, DType to);
  /// The name of a function of kernels/cpu.
  static std::string bitcode_name(ScalarOp op, DType t);
  /// Calls the wide form of `op` on x, as many lanes at a time as it takes; a seed comes before x.
  Value* call_wide(ScalarOp op, Value* x, Value* seed = nullptr);
  /// Lanes that the wide form of `op` takes; 0 if there is none for numbers of dtype t.
  unsigned wide_lanes(ScalarOp op, DType t) const;
  /// The lanes of `v` in registers of `native` lanes, the last one filled up.
  std::vector<Value*> registers(Value* v, unsigned native);

  llvm::IRBuilder<>& ir_;
  llvm::Module& module_;
  int vector_bits_;
};

}  // namespace ourjit
