// The functions that base/scalar_ops.def names with CODE(...).
#pragma once

#include "codegen/llvm_values.h"

namespace ourjit::llvm_ops {

/// Operands, already of one number of lanes, with their dtype and the result's.
struct Operands {
  ValueBuilder& builder;
  llvm::IRBuilder<>& ir;
  DType dtype;
  DType result;
  Value* a;
  Value* b = nullptr;
  Value* c = nullptr;

  bool is_float() const { return ourjit::is_float(dtype); }
  bool is_signed() const { return dtype_kind(dtype) == DTypeKind::Signed; }
};

#define CODE(f) Value* f(const Operands& o);
#define INTRINSIC(i)
#define BITCODE(f)
#define X(name, arity, result, domain, llvm, cuda) llvm
// `invert` is named twice, which declares it twice: harmless.
#include "base/scalar_ops.def"
#undef X
#undef CODE
#undef INTRINSIC
#undef BITCODE

}  // namespace ourjit::llvm_ops
