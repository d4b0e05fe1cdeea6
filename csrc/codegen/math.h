// How the targets spell the operations of base/scalar_ops.def.
#pragma once

#include <array>
#include <string_view>

#include "base/scalar_ops.h"

namespace ourjit {

/// How the LLVM emitter makes an operation.
enum class LlvmForm : uint8_t { Code, Intrinsic, Bitcode };

/// Two columns of scalar_ops.def. `llvm` names the function, intrinsic or bitcode function.
struct MathRow {
  LlvmForm form;
  std::string_view llvm;
  std::string_view cuda;
};

inline constexpr MathRow kMathRows[] = {
#define CODE(f) LlvmForm::Code, #f
#define INTRINSIC(f) LlvmForm::Intrinsic, #f
#define BITCODE(f) LlvmForm::Bitcode, #f
#define X(name, arity, result, domain, llvm, cuda) {llvm, cuda},
#include "base/scalar_ops.def"
#undef X
#undef CODE
#undef INTRINSIC
#undef BITCODE
};

/// The row of `op`.
constexpr const MathRow& math_row(ScalarOp op) { return kMathRows[static_cast<size_t>(op)]; }

}  // namespace ourjit
