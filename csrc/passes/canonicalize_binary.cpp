// Pointwise calls of two operands: arithmetic, comparison, logic, with torch's type promotion.
#include <cmath>

#include "passes/canonicalize_rules.h"

namespace ourjit {
namespace {

/// Computes in the result's dtype.
void binary(AtenCall& c) {
  const DType t = c.out().dtype;
  require(accepts(c.op, t), "not defined on this dtype");
  c.done(apply(c.op, c.expr(0, t), c.expr(1, t)));
}

/// Computes in the dtype that the operands promote to.
void comparison(AtenCall& c) {
  const DType t = c.promoted({0, 1});
  c.done(apply(c.op, c.expr(0, t), c.expr(1, t)));
}

/// Nonzero operands are true.
void logical(AtenCall& c) {
  c.done(apply(c.op, c.expr(0, DType::boolean), c.expr(1, DType::boolean)));
}

/// The operand of add and sub that `alpha`, argument 2, scales. ATen rounds alpha to the dtype.
Expr scaled(AtenCall& c, int i, DType t) {
  const Expr x = c.expr(i, t);
  if (c.none(2) || (!c.is_tensor(2) && c.real(2) == 1)) return x;
  const Expr alpha = c.expr(2, t);
  return x * (compute_dtype(t) == t ? alpha : rounded(alpha));
}

void add(AtenCall& c) {
  const DType t = c.out().dtype;
  c.done(apply(c.op, c.expr(0, t), scaled(c, 1, t)));
}

/// other - alpha * self
void rsub(AtenCall& c) {
  const DType t = c.out().dtype;
  c.done(c.expr(1, t) - scaled(c, 0, t));
}

void div_mode(AtenCall& c) {
  const DType t = c.out().dtype;
  const Expr x = c.expr(0, t), y = c.expr(1, t);
  if (c.none(2)) return c.done(x / y);
  const std::string& mode = c.text(2);
  require(mode == "floor" || mode == "trunc", "unknown rounding mode");
  if (mode == "floor") return c.done(apply(ScalarOp::floor_div, x, y));
  c.done(is_float(t) ? apply(ScalarOp::trunc, x / y) : apply(ScalarOp::trunc_div, x, y));
}

/// x log y, 0 where x is 0 unless y is NaN; `inner` is log or log1p.
void xlog(AtenCall& c) {
  const DType t = c.out().dtype;
  const Expr x = c.expr(0, t), y = c.expr(1, t);
  c.done(where(isnan(y), y, where(eq(x, 0), 0, x * c.stored(apply(c.op, y)))));
}

/// log(exp(a) + exp(b)) and the same in base 2, stable.
void log_add(AtenCall& c) {
  const DType t = c.out().dtype;
  const Expr x = c.expr(0, t), y = c.expr(1, t);
  const Expr below = -abs(x - y);
  const Expr rest = c.op == ScalarOp::exp2 ? log2(exp2(below) + 1) : log1p(exp(below));
  c.done(where(both(isinf(x), eq(x, y)), x, maximum(x, y) + rest));
}

/// sqrt(a^2 + b^2) without overflow of the squares.
void hypot(AtenCall& c) {
  const DType t = c.out().dtype;
  const Expr x = abs(c.expr(0, t)), y = abs(c.expr(1, t));
  const Expr big = maximum(x, y);
  const Expr ratio = minimum(x, y) / big;
  const Expr root = where(eq(big, 0), 0, big * sqrt(ratio * ratio + 1));
  c.done(where(either(isinf(x), isinf(y)), kInfinity, root));
}

/// |x / gcd * y|, of narrow integers in 32 bits as in C.
void lcm(AtenCall& c) {
  const DType t = dtype_bytes(c.out().dtype) < 4 ? DType::i32 : c.out().dtype;
  const Expr x = c.expr(0, t), y = c.expr(1, t);
  const Expr divisor = maximum(apply(ScalarOp::gcd, x, y), 1);
  c.done(abs(apply(ScalarOp::trunc_div, x, divisor) * y));
}

/// A number as exponent. For bf16 ATen multiplies in bf16 itself, so that products are rounded.
void pow_number(AtenCall& c) {
  const DType t = c.out().dtype;
  const Expr x = c.expr(0, t);
  const bool known = !c.is_integer(1) || c.sym(1).is_const();
  const double exponent = t == DType::bf16 && known ? c.real(1) : 0;
  if (exponent == 3) return c.done(c.stored(x * x) * x);
  if (exponent == -2) return c.done(reciprocal(c.stored(x * x)));
  c.done(apply(ScalarOp::pow, x, c.expr(1, t)));
}

/// x 2^y, where the power has a dtype of its own.
void ldexp(AtenCall& c) {
  const DType t = c.out().dtype, own = c.captured(1).dtype;
  const Expr y = c.expr(1, is_float(own) ? own : DType::f32);
  c.done(c.expr(0, t) * c.stored(cast(pow(2, y), t)));
}

/// 0 below zero and for NaN, 1 above, `values` at zero.
void heaviside(AtenCall& c) {
  const DType t = c.out().dtype;
  const Expr x = c.expr(0, t), values = c.expr(1, t);
  c.done(where(eq(x, 0), values, cast(x > 0, t)));
}

void copy(AtenCall& c) { c.done(c.expr(1, c.out().dtype)); }

/// Broadcasts a fill value over the operand's shape.
void fill(AtenCall& c) { c.done(expand(c.expr(1, c.out().dtype), c.out().sizes)); }

/// The graph's only write: into an input or a view of one.
void copy_in_place(AtenCall& c) {
  const TensorType& target = c.out();
  const Expr value = c.expr(1, target.dtype);
  const Expr fitted = value.sizes() == target.sizes ? value : expand(value, target.sizes);
  c.done_view({&c.b, c.b.emit(Op::copy_to, {c.tensor(0), fitted.v})});
}

}  // namespace

std::vector<AtenRule> binary_rules() {
  using S = ScalarOp;
  return {
      {"aten.add.Tensor", add, S::add},
      {"aten.add.Scalar", add, S::add},
      {"aten.sub.Tensor", add, S::sub},
      {"aten.sub.Scalar", add, S::sub},
      {"aten.rsub.Tensor", rsub},
      {"aten.rsub.Scalar", rsub},
      {"aten.mul.Tensor", binary, S::mul},
      {"aten.mul.Scalar", binary, S::mul},
      {"aten.div.Tensor", binary, S::div},
      {"aten.div.Scalar", binary, S::div},
      {"aten.true_divide.Tensor", binary, S::div},
      {"aten.div.Tensor_mode", div_mode},
      {"aten.div.Scalar_mode", div_mode},
      {"aten.floor_divide.default", binary, S::floor_div},
      {"aten.floor_divide.Scalar", binary, S::floor_div},
      {"aten.remainder.Tensor", binary, S::mod},
      {"aten.remainder.Scalar", binary, S::mod},
      {"aten.remainder.Scalar_Tensor", binary, S::mod},
      {"aten.fmod.Tensor", binary, S::fmod},
      {"aten.fmod.Scalar", binary, S::fmod},
      {"aten.pow.Tensor_Tensor", binary, S::pow},
      {"aten.pow.Tensor_Scalar", pow_number},
      {"aten.pow.Scalar", binary, S::pow},
      {"aten.atan2.default", binary, S::atan2},
      {"aten.minimum.default", binary, S::minimum},
      {"aten.maximum.default", binary, S::maximum},
      {"aten.min.other", binary, S::minimum},
      {"aten.max.other", binary, S::maximum},
      {"aten.fmin.default", binary, S::fmin},
      {"aten.fmax.default", binary, S::fmax},
      {"aten.copysign.Tensor", binary, S::copysign},
      {"aten.copysign.Scalar", binary, S::copysign},
      {"aten.bitwise_and.Tensor", binary, S::bitwise_and},
      {"aten.bitwise_and.Scalar", binary, S::bitwise_and},
      {"aten.bitwise_and.Scalar_Tensor", binary, S::bitwise_and},
      {"aten.__and__.Tensor", binary, S::bitwise_and},
      {"aten.__and__.Scalar", binary, S::bitwise_and},
      {"aten.bitwise_or.Tensor", binary, S::bitwise_or},
      {"aten.bitwise_or.Scalar", binary, S::bitwise_or},
      {"aten.bitwise_or.Scalar_Tensor", binary, S::bitwise_or},
      {"aten.__or__.Tensor", binary, S::bitwise_or},
      {"aten.__or__.Scalar", binary, S::bitwise_or},
      {"aten.bitwise_xor.Tensor", binary, S::bitwise_xor},
      {"aten.bitwise_xor.Scalar", binary, S::bitwise_xor},
      {"aten.bitwise_xor.Scalar_Tensor", binary, S::bitwise_xor},
      {"aten.__xor__.Tensor", binary, S::bitwise_xor},
      {"aten.__xor__.Scalar", binary, S::bitwise_xor},
      {"aten.bitwise_left_shift.Tensor", binary, S::shl},
      {"aten.bitwise_left_shift.Tensor_Scalar", binary, S::shl},
      {"aten.bitwise_left_shift.Scalar_Tensor", binary, S::shl},
      {"aten.__lshift__.Tensor", binary, S::shl},
      {"aten.__lshift__.Scalar", binary, S::shl},
      {"aten.bitwise_right_shift.Tensor", binary, S::shr},
      {"aten.bitwise_right_shift.Tensor_Scalar", binary, S::shr},
      {"aten.bitwise_right_shift.Scalar_Tensor", binary, S::shr},
      {"aten.__rshift__.Tensor", binary, S::shr},
      {"aten.__rshift__.Scalar", binary, S::shr},
      {"aten.eq.Tensor", comparison, S::eq},
      {"aten.eq.Scalar", comparison, S::eq},
      {"aten.ne.Tensor", comparison, S::ne},
      {"aten.ne.Scalar", comparison, S::ne},
      {"aten.lt.Tensor", comparison, S::lt},
      {"aten.lt.Scalar", comparison, S::lt},
      {"aten.le.Tensor", comparison, S::le},
      {"aten.le.Scalar", comparison, S::le},
      {"aten.gt.Tensor", comparison, S::gt},
      {"aten.gt.Scalar", comparison, S::gt},
      {"aten.ge.Tensor", comparison, S::ge},
      {"aten.ge.Scalar", comparison, S::ge},
      {"aten.logical_and.default", logical, S::bitwise_and},
      {"aten.logical_or.default", logical, S::bitwise_or},
      {"aten.logical_xor.default", logical, S::ne},
      {"aten.xlogy.Tensor", xlog, S::log},
      {"aten.xlogy.Scalar_Self", xlog, S::log},
      {"aten.xlogy.Scalar_Other", xlog, S::log},
      {"aten.special_xlog1py.default", xlog, S::log1p},
      {"aten.special_xlog1py.self_scalar", xlog, S::log1p},
      {"aten.special_xlog1py.other_scalar", xlog, S::log1p},
      {"aten.logaddexp.default", log_add, S::exp},
      {"aten.logaddexp2.default", log_add, S::exp2},
      {"aten.hypot.default", hypot},
      {"aten.gcd.default", binary, S::gcd},
      {"aten.lcm.default", lcm},
      {"aten.ldexp.Tensor", ldexp},
      {"aten.heaviside.default", heaviside},
      {"aten.copy.default", copy},
      {"aten.copy_.default", copy_in_place},
      {"aten.fill.Scalar", fill},
      {"aten.fill.Tensor", fill},
  };
}

}  // namespace ourjit
