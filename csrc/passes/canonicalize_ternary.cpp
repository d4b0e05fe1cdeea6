// Pointwise calls of three operands: selection, clamping, interpolation.
#include "passes/canonicalize_rules.h"

namespace ourjit {
namespace {

void select(AtenCall& c) {
  const DType t = c.out().dtype;
  c.done(where(c.expr(0, DType::boolean), c.expr(1, t), c.expr(2, t)));
}

/// self, mask, value
void masked_fill(AtenCall& c) {
  const DType t = c.out().dtype;
  c.done(where(c.expr(1, DType::boolean), c.expr(2, t), c.expr(0, t)));
}

/// self, low or None, high or None: the upper bound wins where they cross.
void clamp(AtenCall& c) {
  const DType t = c.out().dtype;
  Expr x = c.expr(0, t);
  if (!c.none(1)) x = maximum(x, c.expr(1, t));
  if (!c.none(2)) x = minimum(x, c.expr(2, t));
  c.done(x);
}

/// clamp_min and clamp_max.
void clamp_one(AtenCall& c) {
  const DType t = c.out().dtype;
  c.done(apply(c.op, c.expr(0, t), c.expr(1, t)));
}

/// self + value * (tensor1 op tensor2)
void addc(AtenCall& c) {
  const DType t = c.out().dtype;
  Expr y = c.expr(1, t);
  if (c.real_or(3, 1) != 1) y = c.expr(3, t) * y;
  c.done(c.expr(0, t) + apply(c.op, y, c.expr(2, t)));
}

/// a * b + c. Both steps round, as in the operator's own definition for eager.
void multiply_add(AtenCall& c) {
  const DType t = c.out().dtype;
  c.done(c.expr(0, t) * c.expr(1, t) + c.expr(2, t));
}

/// ATen's form, exact at both ends: near `end` it counts from there.
void lerp(AtenCall& c) {
  const DType t = c.out().dtype;
  const Expr start = c.expr(0, t), end = c.expr(1, t), weight = c.expr(2, t);
  const Expr distance = end - start;
  if (!c.is_tensor(2)) {
    const double w = c.real(2);
    const bool near_start = w < 0.5 && w > -0.5;
    return c.done(near_start ? start + weight * distance : end - distance * (1 - weight));
  }
  c.done(where(abs(weight) < 0.5, start + weight * distance, end - distance * (1 - weight)));
}

}  // namespace

std::vector<AtenRule> ternary_rules() {
  using S = ScalarOp;
  return {
      {"aten.where.self", select},
      {"aten.where.ScalarSelf", select},
      {"aten.where.ScalarOther", select},
      {"aten.where.Scalar", select},
      {"aten.masked_fill.Scalar", masked_fill},
      {"aten.masked_fill.Tensor", masked_fill},
      {"aten.clamp.default", clamp},
      {"aten.clamp.Tensor", clamp},
      {"aten.hardtanh.default", clamp},
      {"aten.clamp_min.default", clamp_one, S::maximum},
      {"aten.clamp_min.Tensor", clamp_one, S::maximum},
      {"aten.clamp_max.default", clamp_one, S::minimum},
      {"aten.clamp_max.Tensor", clamp_one, S::minimum},
      {"aten.addcmul.default", addc, S::mul},
      {"aten.addcdiv.default", addc, S::div},
      {"prims.fma.default", multiply_add},
      {"aten.lerp.Scalar", lerp},
      {"aten.lerp.Tensor", lerp},
  };
}

}  // namespace ourjit
