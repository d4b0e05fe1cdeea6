// Pointwise calls of one tensor: dtype conversion, elementary functions, predicates.
#include <cmath>
#include <limits>
#include <numbers>

#include "base/error.h"
#include "passes/canonicalize_rules.h"

namespace ourjit {
namespace {

/// The result has the operand's dtype, or its float dtype where integers are promoted.
void unary(AtenCall& c) {
  const DType t = c.out().dtype;
  require(accepts(c.op, t), "not defined on this dtype");
  c.done(apply(c.op, c.expr(0, t)));
}

/// floor, ceil, round, trunc: integers are their own result.
void rounding(AtenCall& c) {
  const Expr x = c.expr(0);
  c.done(is_float(x.dtype()) ? apply(c.op, x) : x);
}

void round_decimals(AtenCall& c) {
  const Expr x = c.wide(0);
  if (!is_float(x.dtype())) return c.done(x);
  const int64_t decimals = c.integer(1);
  const double power = std::pow(10.0, static_cast<double>(std::abs(decimals)));
  c.done(decimals < 0 ? round(x / power) * power : round(x * power) / power);
}

void predicate(AtenCall& c) { c.done(apply(c.op, c.expr(0))); }

void isfinite(AtenCall& c) {
  const Expr x = c.expr(0);
  if (!is_float(x.dtype())) return c.done(full(c.b, 1, DType::boolean, x.sizes()));
  c.done(abs(x) < kInfinity);
}

/// isposinf and isneginf: comparison with an infinity, false for integers.
void is_infinity(AtenCall& c, double value) {
  const Expr x = c.expr(0);
  if (!is_float(x.dtype())) return c.done(full(c.b, 0, DType::boolean, x.sizes()));
  c.done(eq(x, value));
}
void isposinf(AtenCall& c) { is_infinity(c, kInfinity); }
void isneginf(AtenCall& c) { is_infinity(c, -kInfinity); }

void logical_not(AtenCall& c) { c.done(logical_not(c.expr(0, DType::boolean))); }

void convert(AtenCall& c) { c.done(c.expr(0, c.out().dtype)); }
void alias(AtenCall& c) { c.done_view(c.expr(0)); }

void absolute(AtenCall& c) {
  const Expr x = c.expr(0);
  c.done(dtype_kind(x.dtype()) == DTypeKind::Unsigned || is_bool(x.dtype()) ? x : abs(x));
}

void square(AtenCall& c) {
  const Expr x = c.expr(0, c.out().dtype);
  c.done(x * x);
}

void frac(AtenCall& c) {
  const Expr x = c.expr(0);
  c.done(x - trunc(x));
}

void scaled(AtenCall& c, double factor) { c.done(c.expr(0, c.out().dtype) * factor); }
void deg2rad(AtenCall& c) { scaled(c, std::numbers::pi / 180); }
void rad2deg(AtenCall& c) { scaled(c, 180 / std::numbers::pi); }

/// sin(pi x) / (pi x), 1 at 0.
void sinc(AtenCall& c) {
  const Expr x = c.expr(0, c.out().dtype);
  const Expr y = x * std::numbers::pi;
  c.done(where(eq(x, 0), 1, sin(y) / y));
}

/// 0 for x >= 0, pi for x < 0; NaN stays.
void angle(AtenCall& c) {
  const Expr x = c.expr(0, c.out().dtype);
  c.done(where(isnan(x), x, where(x < 0, number(x, std::numbers::pi), number(x, 0))));
}

/// log(x / (1 - x)) with x clamped into [eps, 1 - eps] if eps is given.
void logit(AtenCall& c) {
  Expr x = c.expr(0, c.out().dtype);
  if (!c.none(1)) {
    const double eps = c.real(1);
    x = where(x < eps, eps, where(x > 1 - eps, 1 - eps, x));
  }
  c.done(log(c.stored(x / c.stored(1 - x))));
}

double largest(DType t) {
  switch (t) {
    case DType::f16:
      return 65504.0;
    case DType::bf16:
      return 0x1.FEp127;
    case DType::f32:
      return std::numeric_limits<float>::max();
    default:
      return std::numeric_limits<double>::max();
  }
}

void nan_to_num(AtenCall& c) {
  const Expr x = c.expr(0);
  if (!is_float(x.dtype())) return c.done(x);
  const double most = largest(x.dtype());
  const Expr infinite =
      where(eq(x, kInfinity), c.real_or(2, most), where(eq(x, -kInfinity), c.real_or(3, -most), x));
  c.done(where(isnan(x), c.real_or(1, 0), infinite));
}

/// -x log x, 0 at 0, -inf for negative x.
void entr(AtenCall& c) {
  const Expr x = c.expr(0, c.out().dtype);
  const Expr negative = where(eq(x, 0), number(x, 0), number(x, -kInfinity));
  c.done(where(isnan(x), x, where(x > 0, -x * c.stored(log(x)), negative)));
}

}  // namespace

std::vector<AtenRule> unary_rules() {
  using S = ScalarOp;
  return {
      {"aten.neg.default", unary, S::neg},
      {"aten.sign.default", unary, S::sign},
      {"aten.sgn.default", unary, S::sign},
      {"aten.exp.default", unary, S::exp},
      {"aten.exp2.default", unary, S::exp2},
      {"aten.special_exp2.default", unary, S::exp2},
      {"aten.expm1.default", unary, S::expm1},
      {"aten.log.default", unary, S::log},
      {"aten.log2.default", unary, S::log2},
      {"aten.log10.default", unary, S::log10},
      {"aten.log1p.default", unary, S::log1p},
      {"aten.sqrt.default", unary, S::sqrt},
      {"aten.rsqrt.default", unary, S::rsqrt},
      {"aten.reciprocal.default", unary, S::reciprocal},
      {"aten.sin.default", unary, S::sin},
      {"aten.cos.default", unary, S::cos},
      {"aten.tan.default", unary, S::tan},
      {"aten.asin.default", unary, S::asin},
      {"aten.acos.default", unary, S::acos},
      {"aten.atan.default", unary, S::atan},
      {"aten.sinh.default", unary, S::sinh},
      {"aten.cosh.default", unary, S::cosh},
      {"aten.tanh.default", unary, S::tanh},
      {"aten.asinh.default", unary, S::asinh},
      {"aten.acosh.default", unary, S::acosh},
      {"aten.atanh.default", unary, S::atanh},
      {"aten.sigmoid.default", unary, S::sigmoid},
      {"aten.erf.default", unary, S::erf},
      {"aten.erfc.default", unary, S::erfc},
      {"aten.erfinv.default", unary, S::erfinv},
      {"aten.lgamma.default", unary, S::lgamma},
      {"aten.digamma.default", unary, S::digamma},
      {"aten.bitwise_not.default", unary, S::bitwise_not},
      {"aten.floor.default", rounding, S::floor},
      {"aten.ceil.default", rounding, S::ceil},
      {"aten.round.default", rounding, S::round},
      {"aten.trunc.default", rounding, S::trunc},
      {"aten.round.decimals", round_decimals},
      {"aten.isnan.default", predicate, S::isnan},
      {"aten.isinf.default", predicate, S::isinf},
      {"aten.signbit.default", predicate, S::signbit},
      {"aten.isfinite.default", isfinite},
      {"aten.isposinf.default", isposinf},
      {"aten.isneginf.default", isneginf},
      {"aten.logical_not.default", logical_not},
      {"aten.abs.default", absolute},
      {"aten.square.default", square},
      {"aten.frac.default", frac},
      {"aten.deg2rad.default", deg2rad},
      {"aten.rad2deg.default", rad2deg},
      {"aten.sinc.default", sinc},
      {"aten.angle.default", angle},
      {"aten.logit.default", logit},
      {"aten.nan_to_num.default", nan_to_num},
      {"aten.special_entr.default", entr},
      {"aten.positive.default", alias},
      {"aten._to_copy.default", convert},
      {"aten.clone.default", convert},
      {"aten.lift_fresh_copy.default", convert},
      {"aten.detach_copy.default", convert},
      {"aten.alias_copy.default", convert},
      {"prims.convert_element_type.default", convert},
      {"aten.alias.default", alias},
      {"aten.detach.default", alias},
      {"aten.detach_.default", alias},
      {"aten.lift.default", alias},
      {"aten.lift_fresh.default", alias},
      {"aten._conj.default", alias},
      {"aten.conj.default", alias},
      {"aten.real.default", alias},
      {"aten.resolve_conj.default", alias},
      {"aten.resolve_neg.default", alias},
      {"prims.view_of.default", alias},
  };
}

}  // namespace ourjit
