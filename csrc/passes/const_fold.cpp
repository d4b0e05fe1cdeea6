#include <cmath>

#include "passes/facts.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// Equal bit for bit, so that zeros of different sign stay apart.
bool identical(const Scalar& a, const Scalar& b) {
  return a.dtype == b.dtype && a.bits() == b.bits();
}

std::optional<Scalar> fold_pointwise(const Node& n, const std::vector<Scalar>& args, DType dtype) {
  const ScalarOp op = scalar_op(n.op);
  if (op == ScalarOp::rand_uniform || op == ScalarOp::rand_normal) return std::nullopt;
  const Evaluated e = eval_scalar(op, dtype, args);
  if (e.zero_division) return std::nullopt;  // is reported when the kernel runs
  return e.value;
}

/// Sums of equal integers that every order of adding gets right.
std::optional<Scalar> fold_sum(const Scalar& x, const Sym& count, DType dtype) {
  if (!count.is_const()) return std::nullopt;
  const double value = x.is_float() ? x.f : static_cast<double>(x.i);
  const double sum = value * static_cast<double>(count.value());
  const double limit = dtype == DType::f64 || !is_float(dtype) ? 0x1p52 : 0x1p24;
  if (std::trunc(value) != value || !(std::abs(sum) <= limit) || std::signbit(value) != (value < 0))
    return std::nullopt;
  return Scalar::number(dtype, sum);
}

std::optional<Scalar> fold_reduce(const Node& n, const Scalar& x, const Sym& count, DType dtype) {
  const std::string& op = attr<std::string>(n, "op");
  if (op == "sum") return fold_sum(x, count, dtype);
  const bool extreme = op == "max" || op == "min";
  if (extreme && count.is_const() && count.value() > 0) return x;
  return std::nullopt;
}

std::optional<Scalar> fold_pad(const Node& n, const Scalar& x) {
  const Attr& value = n.attrs.find("value")->second;
  if (const double* d = std::get_if<double>(&value)) {
    if (identical(x, Scalar::number(x.dtype, *d))) return x;
  } else if (const Sym& s = std::get<Sym>(value); s.is_const()) {
    if (identical(x, Scalar::integer(x.dtype, s.value()))) return x;
  }
  return std::nullopt;
}

/// The number that all elements of the result are, given the numbers that those of the operands
/// are.
std::optional<Scalar> fold(const Graph& old, const Node& n, const std::vector<Scalar>& args) {
  const DType dtype = old.type(n.results[0]).dtype;
  if (is_pointwise(n.op)) return fold_pointwise(n, args, dtype);
  if (op_category(n.op) == OpCategory::View) return args[0];
  if (n.op == Op::pad) return fold_pad(n, args[0]);
  if (n.op == Op::concat) {
    for (const Scalar& x : args)
      if (!identical(x, args[0])) return std::nullopt;
    return args[0];
  }
  if (n.op == Op::reduce) {
    Sym count = 1;
    for (const int64_t d : int_list_attr(n, "dims"))
      count *= old.type(n.operands[0]).sizes[static_cast<size_t>(d)];
    return fold_reduce(n, args[0], count, dtype);
  }
  return std::nullopt;
}

}  // namespace

Graph const_fold(const Graph& g, const PassContext& ctx) {
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (n.op == Op::call || n.op == Op::copy_to || n.operands.empty()) return r.keep(n);
    const TensorType& type = r.old.type(n.results[0]);
    const auto fold_to = [&](const Scalar& x) {
      const ValueId v = make_splat(r.b, x, type.sizes);
      r.b.rename(v, r.old.values[static_cast<size_t>(n.results[0])].name);
      r.replace(n, v);
    };
    // Without elements nothing may be read, and no division by zero happens.
    if (type.numel().is_const(0) && op_category(n.op) != OpCategory::View)
      return fold_to(Scalar::integer(type.dtype, 0));
    // Numbers here are rounded before and after; a kernel rounds where the cast says so.
    const bool narrow = compute_dtype(type.dtype) != type.dtype;
    if (ctx.exact_rounding && narrow && is_pointwise(n.op) && n.op != Op::cast) return r.keep(n);
    std::vector<Scalar> args;
    for (const ValueId v : n.operands) {
      const auto x = splat(r.b.graph(), r(v));
      if (!x) return r.keep(n);
      args.push_back(*x);
    }
    const Node* def = r.b.graph().def(r(n.operands[0]));
    if (n.op == Op::expand && def->op == Op::constant) return r.keep(n);
    const auto x = fold(r.old, n, args);
    if (!x) return r.keep(n);
    fold_to(*x);
  });
}

}  // namespace ourjit
