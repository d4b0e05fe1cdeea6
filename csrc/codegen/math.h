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

/// Registers that the wide form of a bitcode function works on at once, and what its name ends in
/// (kernels/cpu/CMakeLists.txt, vecmath_wide.cpp).
inline constexpr int kWideRegisters = 4;
inline constexpr const char* kWideSuffix = "_x4";

/// True for operations whose f32 function has a wide form: those that are computed in f32 itself.
constexpr bool has_wide_form(ScalarOp op) {
  switch (op) {
    case ScalarOp::exp:
    case ScalarOp::exp2:
    case ScalarOp::expm1:
    case ScalarOp::log:
    case ScalarOp::log2:
    case ScalarOp::log10:
    case ScalarOp::log1p:
    case ScalarOp::sin:
    case ScalarOp::cos:
    case ScalarOp::tanh:
    case ScalarOp::sigmoid:
    case ScalarOp::erf:
    case ScalarOp::rand_uniform:
    case ScalarOp::rand_normal:
      return true;
    default:
      return false;
  }
}

/// The row of `op`.
constexpr const MathRow& math_row(ScalarOp op) { return kMathRows[static_cast<size_t>(op)]; }

}  // namespace ourjit
