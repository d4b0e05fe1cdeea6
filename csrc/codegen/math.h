// The spellings of codegen/math.def as a table that is complete by construction.
#pragma once

#include <array>
#include <string_view>

#include "base/scalar_ops.h"

namespace ourjit {

/// How the LLVM emitter makes an operation.
enum class LlvmForm : uint8_t { Code, Intrinsic, Bitcode };

/// One row of math.def. `llvm` names the function, intrinsic or bitcode function.
struct MathRow {
  ScalarOp op;
  LlvmForm form;
  std::string_view llvm;
  std::string_view cuda;
};

inline constexpr MathRow kMathRows[] = {
#define CODE(f) LlvmForm::Code, #f
#define INTRINSIC(f) LlvmForm::Intrinsic, #f
#define BITCODE(f) LlvmForm::Bitcode, #f
#define X(op, llvm, cuda) {ScalarOp::op, llvm, cuda},
#include "codegen/math.def"
#undef X
#undef CODE
#undef INTRINSIC
#undef BITCODE
};

namespace detail {

inline constexpr ScalarOp kScalarOpList[] = {
#define X(name, arity, result, domain) ScalarOp::name,
#include "base/scalar_ops.def"
#undef X
};

constexpr bool math_rows_match_ops() {
  if (std::size(kMathRows) != std::size(kScalarOpList)) return false;
  for (size_t i = 0; i < std::size(kScalarOpList); ++i)
    if (kMathRows[i].op != kScalarOpList[i]) return false;
  return true;
}

}  // namespace detail

static_assert(detail::math_rows_match_ops(),
              "codegen/math.def needs one row for each row of base/scalar_ops.def, in its order");

/// The row of `op`.
constexpr const MathRow& math_row(ScalarOp op) { return kMathRows[static_cast<size_t>(op)]; }

}  // namespace ourjit
