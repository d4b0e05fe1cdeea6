#include "codegen/cuda_ops.h"

#include <bit>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "codegen/math.h"

namespace ourjit::cuda {
namespace {

constexpr int64_t kFunction = 8;  // operations

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

}  // namespace

int64_t c_operations(ScalarOp op) {
  switch (op) {
    case ScalarOp::div:
    case ScalarOp::reciprocal:
    case ScalarOp::sqrt:
    case ScalarOp::floor_div:
    case ScalarOp::mod:
    case ScalarOp::fmod:
    case ScalarOp::pow:
    case ScalarOp::rand_uniform:
    case ScalarOp::rand_normal:
      return kFunction;
    default:
      return math_row(op).form == LlvmForm::Bitcode ? kFunction : 1;
  }
}

std::string c_type(DType t) {
  switch (t) {
    case DType::f32:
      return "float";
    case DType::f64:
      return "double";
    case DType::f16:
      return "oj_f16";
    case DType::bf16:
      return "oj_bf16";
    case DType::f8e4m3:
      return "oj_f8e4m3";
    case DType::f8e5m2:
      return "oj_f8e5m2";
    case DType::i64:
      return "oj_i64";
    case DType::i32:
      return "int";
    case DType::i16:
      return "short";
    case DType::i8:
      return "signed char";
    case DType::u8:
      return "unsigned char";
    case DType::boolean:
      return "bool";
    default:
      break;
  }
  OURJIT_RAISE(InternalError) << "kernels do not know " << dtype_name(t);
}

std::string c_zero(DType t) {
  return is_narrow_float(t) ? c_type(t) + "{}" : "(" + c_type(t) + ")0";
}

std::string c_constant(DType t, uint64_t bits) {
  if (is_bool(t)) return bits ? "true" : "false";
  if (!is_float(t)) {
    const auto v = static_cast<int64_t>(bits);
    if (t != DType::i64) return "(" + c_type(t) + ")" + std::to_string(v);
    // The most negative number has no literal.
    if (v == INT64_MIN) return "(-9223372036854775807LL - 1)";
    return std::to_string(v) + "LL";
  }
  const auto v = std::bit_cast<double>(bits);
  const std::string type = c_type(t);
  if (std::isnan(v)) return "oj_nan<" + type + ">()";
  if (std::isinf(v)) return (v < 0 ? "-oj_infinity<" : "oj_infinity<") + type + ">()";
  char text[64];
  std::snprintf(text, sizeof text, "%a%s", v, t == DType::f32 ? "f" : "");
  return text;
}

std::string c_compute(ScalarOp op, DType operand, DType result,
                      const std::vector<std::string>& args) {
  const std::string_view pattern = math_row(op).cuda;
  std::string out;
  for (size_t i = 0; i < pattern.size();) {
    if (pattern.substr(i, 3) == "{f}") {
      if (operand == DType::f32) out += "f";
      i += 3;
    } else if (pattern.substr(i, 3) == "{T}") {
      out += c_type(result);
      i += 3;
    } else if (in_word(pattern[i])) {
      size_t end = i;
      while (end < pattern.size() && in_word(pattern[end])) ++end;
      const std::string_view word = pattern.substr(i, end - i);
      const size_t which =
          word.size() == 1 && word[0] >= 'a' ? static_cast<size_t>(word[0] - 'a') : args.size();
      out += which < args.size() ? args[which] : std::string(word);
      i = end;
    } else {
      out += pattern[i++];
    }
  }
  // Arithmetic on narrow integers is done in int.
  if (is_integer(result) && dtype_bytes(result) < 4) return "(" + c_type(result) + ")(" + out + ")";
  return out;
}

bool divides_integers(ScalarOp op, DType operand) {
  return !is_float(operand) && (op == ScalarOp::floor_div || op == ScalarOp::trunc_div ||
                                op == ScalarOp::mod || op == ScalarOp::fmod);
}

std::string c_functor(ReduceOp op) { return "oj_" + std::string(reduce_op_name(op)); }

}  // namespace ourjit::cuda
