// Formulas over graph values: lets a rewrite read like the mathematics it stands for.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "base/scalar_eval.h"
#include "graph/builder.h"

namespace ourjit {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// A value together with the builder that made it; operators append nodes.
struct Expr {
  Builder* b = nullptr;
  ValueId v = -1;

  DType dtype() const { return b->type(v).dtype; }
  std::vector<Sym> sizes() const {
    return b->type(v).sizes;
  }  // a copy: types move as nodes are added
  int rank() const { return b->type(v).rank(); }
};

/// A 0-d constant of `like`'s dtype.
Expr number(const Expr& like, double value);
/// A 0-d constant; `value` is converted as torch converts a Python number.
Expr number(Builder& b, double value, DType dtype);
/// A 0-d constant whose value is a size.
Expr number(Builder& b, const Sym& value, DType dtype);

inline Expr apply(ScalarOp op, const Expr& a) { return {a.b, a.b->pointwise(op, {a.v})}; }
inline Expr apply(ScalarOp op, const Expr& a, const Expr& b) {
  return {a.b, a.b->pointwise(op, {a.v, b.v})};
}

#define OURJIT_EXPR_UNARY(name) \
  inline Expr name(const Expr& a) { return apply(ScalarOp::name, a); }
OURJIT_EXPR_UNARY(abs)
OURJIT_EXPR_UNARY(sign)
OURJIT_EXPR_UNARY(exp)
OURJIT_EXPR_UNARY(exp2)
OURJIT_EXPR_UNARY(expm1)
OURJIT_EXPR_UNARY(log)
OURJIT_EXPR_UNARY(log2)
OURJIT_EXPR_UNARY(log1p)
OURJIT_EXPR_UNARY(sqrt)
OURJIT_EXPR_UNARY(rsqrt)
OURJIT_EXPR_UNARY(reciprocal)
OURJIT_EXPR_UNARY(sin)
OURJIT_EXPR_UNARY(cos)
OURJIT_EXPR_UNARY(tanh)
OURJIT_EXPR_UNARY(sigmoid)
OURJIT_EXPR_UNARY(erf)
OURJIT_EXPR_UNARY(floor)
OURJIT_EXPR_UNARY(round)
OURJIT_EXPR_UNARY(trunc)
OURJIT_EXPR_UNARY(isnan)
OURJIT_EXPR_UNARY(isinf)
OURJIT_EXPR_UNARY(logical_not)
#undef OURJIT_EXPR_UNARY
inline Expr operator-(const Expr& a) { return apply(ScalarOp::neg, a); }

#define OURJIT_EXPR_BINARY(spelling, op)                                                         \
  inline Expr spelling(const Expr& a, const Expr& b) { return apply(ScalarOp::op, a, b); }       \
  inline Expr spelling(const Expr& a, double b) { return apply(ScalarOp::op, a, number(a, b)); } \
  inline Expr spelling(double a, const Expr& b) { return apply(ScalarOp::op, number(b, a), b); }
OURJIT_EXPR_BINARY(operator+, add)
OURJIT_EXPR_BINARY(operator-, sub)
OURJIT_EXPR_BINARY(operator*, mul)
OURJIT_EXPR_BINARY(operator/, div)
OURJIT_EXPR_BINARY(operator<, lt)
OURJIT_EXPR_BINARY(operator<=, le)
OURJIT_EXPR_BINARY(operator>, gt)
OURJIT_EXPR_BINARY(operator>=, ge)
OURJIT_EXPR_BINARY(eq, eq)
OURJIT_EXPR_BINARY(ne, ne)
OURJIT_EXPR_BINARY(minimum, minimum)
OURJIT_EXPR_BINARY(maximum, maximum)
OURJIT_EXPR_BINARY(pow, pow)
OURJIT_EXPR_BINARY(floor_div, floor_div)
OURJIT_EXPR_BINARY(mod, mod)
#undef OURJIT_EXPR_BINARY

/// Logical and, or of bool values.
inline Expr both(const Expr& a, const Expr& b) { return apply(ScalarOp::bitwise_and, a, b); }
inline Expr either(const Expr& a, const Expr& b) { return apply(ScalarOp::bitwise_or, a, b); }

inline Expr where(const Expr& c, const Expr& a, const Expr& b) {
  return {c.b, c.b->where(c.v, a.v, b.v)};
}
inline Expr where(const Expr& c, const Expr& a, double b) { return where(c, a, number(a, b)); }
inline Expr where(const Expr& c, double a, const Expr& b) { return where(c, number(b, a), b); }

inline Expr cast(const Expr& a, DType t) { return {a.b, a.b->cast(a.v, t)}; }
/// `a` as memory of its narrow dtype would hold it.
inline Expr rounded(const Expr& a) { return {a.b, a.b->rounded(a.v)}; }
inline Expr reshape(const Expr& a, std::vector<Sym> sizes) {
  return {a.b, a.b->reshape(a.v, std::move(sizes))};
}
inline Expr expand(const Expr& a, std::vector<Sym> sizes) {
  return {a.b, a.b->expand(a.v, std::move(sizes))};
}
inline Expr unsqueeze(const Expr& a, int64_t dim) { return {a.b, a.b->unsqueeze(a.v, dim)}; }
/// Drops dim `dim` of size 1.
Expr squeeze(const Expr& a, int64_t dim);
/// `count` consecutive elements of dim `dim`.
inline Expr narrow(const Expr& a, int64_t dim, const Sym& start, const Sym& count) {
  return {a.b, a.b->slice(a.v, dim, start, 1, count)};
}

/// A 0-d constant.
Expr constant(Builder& b, const Scalar& value);
/// A 0-d constant that changes nothing when combined by `op`.
Expr neutral(Builder& b, ReduceOp op, DType dtype);
/// Dim `dim` as dims [outer, inner], of which it must be the product.
Expr split_dim(const Expr& a, int64_t dim, const Sym& outer, const Sym& inner);
/// Each element along `dim` `times` times in a row.
Expr repeat_interleave(const Expr& a, int64_t dim, const Sym& times);
/// Reduces `dims` (any order, nonnegative); no dims: `a` itself.
Expr reduce(ReduceOp op, const Expr& a, std::vector<int64_t> dims, bool keepdim = true);
inline Expr sum(const Expr& a, std::vector<int64_t> dims, bool keepdim = true) {
  return reduce(ReduceOp::sum, a, std::move(dims), keepdim);
}
inline Expr amax(const Expr& a, std::vector<int64_t> dims, bool keepdim = true) {
  return reduce(ReduceOp::max, a, std::move(dims), keepdim);
}
/// Sum over `dims` divided by their number of elements.
Expr mean(const Expr& a, const std::vector<int64_t>& dims, bool keepdim = true);

/// 0, 1, ..., size - 1 along dim `dim` of a tensor of rank `rank`; the other dims have size 1.
Expr iota(Builder& b, const Sym& size, DType dtype, int64_t dim, int rank);
/// A 0-d constant broadcast to `sizes`.
Expr full(Builder& b, double value, DType dtype, const std::vector<Sym>& sizes);
/// Reshapes a 1-d `a` so that it lies along dim `dim` of a tensor of rank `rank`.
Expr along(const Expr& a, int64_t dim, int rank);
/// Pads dim `dim` with zeros.
Expr pad_zeros(const Expr& a, int64_t dim, const Sym& low, const Sym& high);
/// Joins along `dim`.
Expr concat(const std::vector<Expr>& parts, int64_t dim);
/// Product of the sizes of `dims`.
Sym count(const Expr& a, const std::vector<int64_t>& dims);
/// 0, 1, ..., rank - 1.
std::vector<int64_t> all_dims(int rank);
/// The permutation that undoes `order`.
std::vector<int64_t> inverse_order(const std::vector<int64_t>& order);
/// The dims of `a` that are not in `dims`.
std::vector<int64_t> other_dims(int rank, const std::vector<int64_t>& dims);

}  // namespace ourjit
