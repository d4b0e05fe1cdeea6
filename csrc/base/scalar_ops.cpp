#include "base/scalar_ops.h"

#include <iterator>

namespace ourjit {
namespace {

constexpr ScalarOpInfo kOps[] = {
#define X(name, arity, result, domain, llvm, cuda) \
  {#name, arity, ScalarResult::result, ScalarDomain::domain},
#include "base/scalar_ops.def"
#undef X
};

constexpr std::string_view kReduceNames[] = {
#define X(name) #name,
    OURJIT_FOR_EACH_REDUCE_OP(X)
#undef X
};

}  // namespace

const ScalarOpInfo& scalar_op_info(ScalarOp op) { return kOps[static_cast<size_t>(op)]; }

std::optional<ScalarOp> parse_scalar_op(std::string_view name) {
  for (size_t i = 0; i < std::size(kOps); ++i)
    if (kOps[i].name == name) return static_cast<ScalarOp>(i);
  return std::nullopt;
}

bool accepts(ScalarOp op, DType t) {
  if (!is_native(t)) return false;
  switch (scalar_op_info(op).domain) {
    case ScalarDomain::F:
      return is_float(t);
    case ScalarDomain::I:
      return is_integer(t) || is_bool(t);
    case ScalarDomain::N:
      return !is_bool(t);
    case ScalarDomain::A:
      return true;
    case ScalarDomain::B:
      return is_bool(t);
  }
  return false;
}

int num_scalar_ops() { return static_cast<int>(std::size(kOps)); }

std::string_view reduce_op_name(ReduceOp op) { return kReduceNames[static_cast<size_t>(op)]; }

std::optional<ReduceOp> parse_reduce_op(std::string_view name) {
  for (size_t i = 0; i < std::size(kReduceNames); ++i)
    if (kReduceNames[i] == name) return static_cast<ReduceOp>(i);
  return std::nullopt;
}

}  // namespace ourjit
