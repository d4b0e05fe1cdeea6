// Calls that reduce dims by one combining operation.

#include "passes/canonicalize_rules.h"

namespace ourjit {
namespace {

ReduceOp reduce_op(ScalarOp op) {
  switch (op) {
    case ScalarOp::add:
      return ReduceOp::sum;
    case ScalarOp::mul:
      return ReduceOp::prod;
    case ScalarOp::maximum:
      return ReduceOp::max;
    default:
      return ReduceOp::min;
  }
}

/// The dtype that elements are combined in. For products of floats it is f64: some of the factors
/// may leave the range of f32 where all of them do not, and which ones meet first is no promise.
DType combined_in(const AtenCall& c) {
  const DType t = c.out().dtype;
  return c.op == ScalarOp::mul && is_float(t) ? DType::f64 : t;
}

/// sum and prod of all elements: the result's dtype is that of the accumulation.
void fold_all(AtenCall& c) {
  const Expr x = c.expr(0, combined_in(c));
  c.done(reduce(reduce_op(c.op), x, all_dims(x.rank()), false));
}

/// self, dims, keepdim
void fold(AtenCall& c) {
  const Expr x = c.expr(0, combined_in(c));
  c.done(reduce(reduce_op(c.op), x, c.dims(1, x.rank()), c.flag(2)));
}

void mean_all(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.out().dtype));
  c.done(mean(x, all_dims(x.rank()), false));
}

void mean_dims(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.out().dtype));
  c.done(mean(x, c.dims(1, x.rank()), c.flag(2)));
}

void scan(AtenCall& c, const std::string& op) {
  const Expr x = c.expr(0, c.out().dtype);
  if (x.rank() == 0) return c.done(x);
  const Attrs attrs{{"dim", Sym(c.dim(1, x.rank()))}, {"op", op}};
  c.done({&c.b, c.b.emit(Op::scan, {x.v}, attrs)});
}

void cumsum(AtenCall& c) { scan(c, "sum"); }
void cumprod(AtenCall& c) { scan(c, "prod"); }
void logcumsumexp(AtenCall& c) { scan(c, "logsumexp"); }

/// any (maximum) and all (minimum): elements count as true unless they are zero.
void truth_all(AtenCall& c) {
  const Expr x = c.expr(0, DType::boolean);
  c.done(reduce(reduce_op(c.op), x, all_dims(x.rank()), false));
}

void truth(AtenCall& c) {
  const Expr x = c.expr(0, DType::boolean);
  c.done(reduce(reduce_op(c.op), x, c.dims(1, x.rank()), c.flag(2)));
}

/// The index of the first extreme; a 0-d tensor has index 0.
Expr extreme_index(AtenCall& c, const Expr& x, const std::vector<int64_t>& dims, bool keepdim) {
  if (x.rank() == 0) return number(c.b, 0, DType::i64);
  return reduce(c.op == ScalarOp::maximum ? ReduceOp::argmax : ReduceOp::argmin, x, dims, keepdim);
}

/// self, dim or None, keepdim
void arg_extreme(AtenCall& c) {
  const Expr x = c.expr(0);
  c.done(extreme_index(c, x, c.dims(1, x.rank()), c.flag(2)));
}

/// self, dim, keepdim -> values, indices
void extreme_with_index(AtenCall& c) {
  const Expr x = c.expr(0);
  const std::vector<int64_t> dims = c.dims(1, x.rank());
  if (c.wanted(0)) c.done(reduce(reduce_op(c.op), x, dims, c.flag(2)), 0);
  if (c.wanted(1)) c.done(extreme_index(c, x, dims, c.flag(2)), 1);
}

/// self, dim or None, keepdim -> smallest, largest
void aminmax(AtenCall& c) {
  const Expr x = c.expr(0);
  const std::vector<int64_t> dims = c.dims(1, x.rank());
  if (c.wanted(0)) c.done(reduce(ReduceOp::min, x, dims, c.flag(2)), 0);
  if (c.wanted(1)) c.done(reduce(ReduceOp::max, x, dims, c.flag(2)), 1);
}

/// NaN counts as zero.
void nansum(AtenCall& c) {
  const Expr x = c.expr(0, c.out().dtype);
  const Expr known = is_float(x.dtype()) ? where(isnan(x), 0, x) : x;
  c.done(sum(known, c.dims(1, x.rank()), c.flag(2)));
}

void count_nonzero(AtenCall& c) {
  const Expr x = cast(c.expr(0, DType::boolean), DType::i64);
  c.done(sum(x, c.dims(1, x.rank()), false));
}

/// self, dims, keepdim: shifted by the maximum unless that is infinite.
void logsumexp(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.out().dtype));
  const std::vector<int64_t> dims = c.dims(1, x.rank());
  const Expr top = amax(x, dims);
  const Expr shift = where(isinf(top), 0, top);
  const Expr result = log(sum(exp(x - shift), dims)) + shift;
  c.done(c.flag(2) || dims.empty() ? result : reshape(result, c.out().sizes));
}

/// The p-norm over `dims`.
void norm(AtenCall& c, double p, const std::vector<int64_t>& dims, bool keepdim) {
  const Expr x = c.expr(0, compute_dtype(c.out().dtype));
  if (p == 2) return c.done(sqrt(sum(x * x, dims, keepdim)));
  if (p == 0) return c.done(sum(cast(ne(x, 0), x.dtype()), dims, keepdim));
  if (p == 1) return c.done(sum(abs(x), dims, keepdim));
  if (p == kInfinity) return c.done(amax(abs(x), dims, keepdim));
  if (p == -kInfinity) return c.done(reduce(ReduceOp::min, abs(x), dims, keepdim));
  c.done(pow(sum(pow(abs(x), p), dims, keepdim), 1 / p));
}

/// self, ord, dims or None, keepdim
void vector_norm(AtenCall& c) { norm(c, c.real_or(1, 2), c.dims(2, c.expr(0).rank()), c.flag(3)); }

/// self, p
void norm_all(AtenCall& c) { norm(c, c.real_or(1, 2), all_dims(c.expr(0).rank()), false); }

}  // namespace

std::vector<AtenRule> reduction_rules() {
  using S = ScalarOp;
  return {
      {"aten.sum.default", fold_all, S::add},
      {"aten.prod.default", fold_all, S::mul},
      {"aten.max.default", fold_all, S::maximum},
      {"aten.min.default", fold_all, S::minimum},
      {"aten.sum.dim_IntList", fold, S::add},
      {"aten.prod.dim_int", fold, S::mul},
      {"aten.amax.default", fold, S::maximum},
      {"aten.amin.default", fold, S::minimum},
      {"aten.mean.default", mean_all},
      {"aten.mean.dim", mean_dims},
      {"aten.any.default", truth_all, S::maximum},
      {"aten.all.default", truth_all, S::minimum},
      {"aten.any.dim", truth, S::maximum},
      {"aten.any.dims", truth, S::maximum},
      {"aten.all.dim", truth, S::minimum},
      {"aten.all.dims", truth, S::minimum},
      {"aten.argmax.default", arg_extreme, S::maximum},
      {"aten.argmin.default", arg_extreme, S::minimum},
      {"aten.max.dim", extreme_with_index, S::maximum},
      {"aten.min.dim", extreme_with_index, S::minimum},
      {"aten.aminmax.default", aminmax},
      {"aten.nansum.default", nansum},
      {"aten.cumsum.default", cumsum},
      {"aten.cumprod.default", cumprod},
      {"aten.logcumsumexp.default", logcumsumexp},
      {"aten.count_nonzero.default", count_nonzero},
      {"aten.count_nonzero.dim_IntList", count_nonzero},
      {"aten.logsumexp.default", logsumexp},
      {"aten.linalg_vector_norm.default", vector_norm},
      {"aten.norm.ScalarOpt_dim", vector_norm},
      {"aten.norm.ScalarOpt_dim_dtype", vector_norm},
      {"aten.norm.Scalar", norm_all},
      {"aten.norm.ScalarOpt_dtype", norm_all},
  };
}

}  // namespace ourjit
