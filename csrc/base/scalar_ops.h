// The scalar operation table as an enum with its facts.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/dtype.h"

namespace ourjit {

enum class ScalarOp : uint8_t {
#define X(name, arity, result, domain, llvm, cuda) name,
#include "base/scalar_ops.def"
#undef X
};

enum class ScalarResult : uint8_t { Same, Bool, Cast };
enum class ScalarDomain : uint8_t { F, I, N, A, B };

/// One row of scalar_ops.def.
struct ScalarOpInfo {
  std::string_view name;
  int arity;
  ScalarResult result;
  ScalarDomain domain;
};

const ScalarOpInfo& scalar_op_info(ScalarOp op);
std::optional<ScalarOp> parse_scalar_op(std::string_view name);
/// Whether `op` is defined on operands of `t`.
bool accepts(ScalarOp op, DType t);
int num_scalar_ops();

/// Ways to combine many values into one. `any` and `all` are `max` and `min` of bool;
/// `argmax` and `argmin` yield the index of the first extreme element, a NaN counts as extreme.
/// `exp_sum` is the sum of exp(x - m), where m is the greatest of the values, or 0 if that is
/// infinite, from one pass over them; only loops scheduled for GPUs have it.
#define OURJIT_FOR_EACH_REDUCE_OP(X) X(sum) X(prod) X(max) X(min) X(argmax) X(argmin) X(exp_sum)

enum class ReduceOp : uint8_t {
#define X(name) name,
  OURJIT_FOR_EACH_REDUCE_OP(X)
#undef X
};

std::string_view reduce_op_name(ReduceOp op);
std::optional<ReduceOp> parse_reduce_op(std::string_view name);

}  // namespace ourjit
