// Gradients of activation functions, by the formulas of ATen's CPU kernels. Unless a comment says
// otherwise, the arguments are the gradient and the function's operand.

#include "passes/activations.h"
#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

void sigmoid_backward(AtenCall& c) {
  const Expr g = c.wide(0), y = c.wide(1);  // the result
  // ATen computes in f16 itself, but not in bf16.
  if (c.out().dtype == DType::f16) return c.done(c.stored(g * c.stored(1 - y)) * y);
  c.done(g * (1 - y) * y);
}

void tanh_backward(AtenCall& c) {
  const Expr y = c.wide(1);  // the result
  c.done(c.wide(0) * (1 - y * y));
}

/// grad, self or result, threshold
void threshold_backward(AtenCall& c) {
  const Expr x = c.wide(1);
  c.done(where(x <= c.wide(2), 0, c.wide(0)));
}

/// grad, self, approximate
void gelu_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1);
  if (c.text(2) == "tanh") {
    const Expr t = tanh(gelu_inner(x));
    const Expr slope = kSqrtTwoOverPi * (1 + 3 * kGeluCubic * x * x);
    return c.done(g * (0.5 * (1 + t) + 0.5 * x * ((1 - t * t) * slope)));
  }
  const Expr cdf = 0.5 * (1 + erf(x * kSqrtHalf));
  const Expr pdf = kInvSqrtTwoPi * exp(x * x * -0.5);
  c.done(g * (cdf + x * pdf));
}

void silu_backward(AtenCall& c) {
  const Expr x = c.wide(1), s = sigmoid(x);
  c.done(c.wide(0) * s * (1 + x * (1 - s)));
}

void mish_backward(AtenCall& c) {
  const Expr x = c.wide(1), e = exp_clamped(x);
  const Expr t = tanh_softplus(e), s = e / (1 + e);
  c.done(c.wide(0) * (t + x * s * (1 - t * t)));
}

/// grad, alpha, scale, input_scale, is_result, self or result
void elu_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(5);
  const double scale = c.real_or(2, 1), negative = c.real_or(1, 1) * scale,
               input_scale = c.real_or(3, 1);
  const Expr below = c.flag(4) ? g * input_scale * (x + negative)
                               : g * (input_scale * negative) * exp(x * input_scale);
  // NaN goes below: ATen's vectors have it so, its single elements do not.
  c.done(where(x > 0, g * scale, below));
}

/// grad, self, slope; the sign of the result is that of self
void leaky_relu_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1);
  c.done(where(x > 0, g, g * c.expr(2, g.dtype())));
}

/// grad, self, weight -> gradients of self and weight, both of self's shape
void prelu_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1);
  if (c.wanted(0)) c.done(where(x > 0, g, c.wide(2) * g), 0);
  if (c.wanted(1)) c.done(where(x > 0, 0, x * g), 1);
}

/// grad, self, beta, threshold
void softplus_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1);
  const Expr scaled = x * c.real_or(2, 1);
  const Expr z = exp(scaled);
  c.done(where(scaled > c.real_or(3, 20), g, g * z / (z + 1)));
}

/// grad, self, exp(-|self|)
void log_sigmoid_backward(AtenCall& c) {
  const Expr x = c.wide(1);
  const Expr z = c.stored(exp(-abs(x)));  // what the forward keeps
  const Expr part = z / (1 + z);
  c.done(c.wide(0) * where(x < 0, 1 - part, part));
}

/// grad, self, low, high
void hardtanh_backward(AtenCall& c) {
  const Expr x = c.wide(1);
  // NaN is not inside: ATen's vectors have it so, its single elements do not.
  const Expr inside = both(x > c.expr(2, x.dtype()), x < c.expr(3, x.dtype()));
  c.done(where(inside, c.wide(0), 0));
}

void hardswish_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1);
  c.done(where(x <= -3, 0, where(x >= 3, g, g * (x / 3 + 0.5))));  // NaN gives NaN
}

void hardsigmoid_backward(AtenCall& c) {
  constexpr double kSixth = 1.0F / 6;  // ATen's factor, for f64 too
  const Expr x = c.wide(1);
  c.done(where(both(x > -3, x < 3), c.wide(0) * kSixth, 0));
}

/// grad, self, lambda: of hardshrink and softshrink
void shrink_backward(AtenCall& c) {
  const Expr x = c.wide(1);
  const double lambda = c.real(2);
  // NaN is inside: ATen's vectors have it so, its single elements do not.
  c.done(where(either(x > lambda, x < -lambda), c.wide(0), 0));
}

/// grad, self, dim
void glu_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1);
  const int64_t dim = c.dim(2, x.rank());
  const Sym half = g.sizes()[static_cast<size_t>(dim)];
  const Expr s = sigmoid(narrow(x, dim, half, half));
  const Expr first = g * s;
  c.done(concat({first, first * (1 - s) * narrow(x, dim, 0, half)}, dim));
}

/// grad, self, eps: without eps NaN outside [0, 1], with it 0 outside [eps, 1 - eps]
void logit_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1);
  const double low = c.real_or(2, 0);
  const double outside = c.none(2) ? kNan : 0;
  const Expr inside = both(x >= low, x <= 1 - low);  // NaN is not
  c.done(where(inside, g / (x * (1 - x)), outside));
}

/// grad, mask, scale
void dropout_backward(AtenCall& c) {
  const Expr g = c.wide(0);
  c.done(g * cast(c.expr(1), g.dtype()) * c.expr(2, g.dtype()));
}

}  // namespace

std::vector<AtenRule> activation_backward_rules() {
  return {
      {"aten.sigmoid_backward.default", sigmoid_backward},
      {"aten.tanh_backward.default", tanh_backward},
      {"aten.threshold_backward.default", threshold_backward},
      {"aten.gelu_backward.default", gelu_backward},
      {"aten.silu_backward.default", silu_backward},
      {"aten.mish_backward.default", mish_backward},
      {"aten.elu_backward.default", elu_backward},
      {"aten.leaky_relu_backward.default", leaky_relu_backward},
      {"aten._prelu_kernel_backward.default", prelu_backward},
      {"aten.softplus_backward.default", softplus_backward},
      {"aten.log_sigmoid_backward.default", log_sigmoid_backward},
      {"aten.hardtanh_backward.default", hardtanh_backward},
      {"aten.hardswish_backward.default", hardswish_backward},
      {"aten.hardsigmoid_backward.default", hardsigmoid_backward},
      {"aten.hardshrink_backward.default", shrink_backward},
      {"aten.softshrink_backward.default", shrink_backward},
      {"aten.glu_backward.default", glu_backward},
      {"aten.logit_backward.default", logit_backward},
      {"aten.native_dropout_backward.default", dropout_backward},
  };
}

}  // namespace ourjit
