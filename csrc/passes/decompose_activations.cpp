// Activation functions, by the formulas of ATen's CPU kernels.
#include "passes/activations.h"
#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

void relu(AtenCall& c) {
  const Expr x = c.expr(0);
  c.done(where(x < 0, 0, x));  // as in ATen, -0 stays
}

void relu6(AtenCall& c) { c.done(minimum(maximum(c.expr(0), 0), 6)); }

/// self, threshold, value
void threshold(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(where(x <= c.wide(1), c.wide(2), x));
}

/// self, approximate
void gelu(AtenCall& c) {
  const Expr x = c.wide(0);
  if (c.text(1) == "tanh") return c.done(0.5 * x * (1 + tanh(gelu_inner(x))));
  c.done(0.5 * x * (1 + erf(x * kSqrtHalf)));
}

void silu(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(x * sigmoid(x));
}

void mish(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(x * tanh_softplus(exp_clamped(x)));
}

/// scale * x above zero, scale * alpha * (exp(input_scale * x) - 1) below.
Expr elu(const Expr& x, double alpha, double scale, double input_scale) {
  const Expr negative = expm1(input_scale == 1 ? x : x * input_scale) * (alpha * scale);
  return where(x < 0, negative, scale == 1 ? x : x * scale);
}

/// self, alpha, scale, input_scale
void elu(AtenCall& c) { c.done(elu(c.wide(0), c.real_or(1, 1), c.real_or(2, 1), c.real_or(3, 1))); }
void selu(AtenCall& c) { c.done(elu(c.wide(0), kSeluAlpha, kSeluScale, 1)); }
void celu(AtenCall& c) {
  const double alpha = c.real_or(1, 1);
  c.done(elu(c.wide(0), alpha, 1, 1 / alpha));
}

/// self, slope
void leaky_relu(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(where(x > 0, x, x * c.expr(1, x.dtype())));
}

/// self, weight that broadcasts
void prelu(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(where(x > 0, x, c.wide(1) * x));
}

/// self, beta, threshold above which it is linear
void softplus(AtenCall& c) {
  const Expr x = c.wide(0);
  const double beta = c.real_or(1, 1);
  const Expr scaled = beta == 1 ? x : x * beta;
  const Expr soft = log1p(exp(scaled));
  c.done(where(scaled > c.real_or(2, 20), x, beta == 1 ? soft : soft / beta));
}

/// self -> result, exp(-|self|) for the backward; on GPUs the latter has no elements
void log_sigmoid(AtenCall& c) {
  const Expr x = c.wide(0);
  const Expr z = exp(-abs(x));
  if (c.wanted(0)) c.done(minimum(x, 0) - log1p(z), 0);
  if (!c.wanted(1)) return;
  const bool empty = c.out(1).sizes == std::vector<Sym>{Sym(0)};
  c.done(empty ? Expr{&c.b, c.b.constant(0.0, c.out(1).dtype)} : z, 1);
}

void hardswish(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(x * minimum(maximum(x + 3, 0), 6) / 6);
}

void hardsigmoid(AtenCall& c) { c.done(minimum(maximum(c.wide(0) + 3, 0), 6) / 6); }

/// self, lambda
void hardshrink(AtenCall& c) {
  const Expr x = c.wide(0);
  const double lambda = c.real_or(1, 0.5);
  c.done(where(both(x >= -lambda, x <= lambda), 0, x));
}

/// self, lambda; NaN stays
void softshrink(AtenCall& c) {
  const Expr x = c.wide(0);
  const double lambda = c.real_or(1, 0.5);
  c.done(where(x > lambda, x - lambda, where(x < -lambda, x + lambda, x * 0)));
}

/// self, dim: the first half times the sigmoid of the second
void glu(AtenCall& c) {
  const Expr x = c.wide(0);
  const int64_t dim = c.dim(1, x.rank());
  const Sym half = c.out().sizes[static_cast<size_t>(dim)];
  c.done(narrow(x, dim, 0, half) * sigmoid(narrow(x, dim, half, half)));
}

}  // namespace

Expr gelu_inner(const Expr& x) { return kSqrtTwoOverPi * (x + kGeluCubic * x * x * x); }

Expr exp_clamped(const Expr& x) { return exp(minimum(x, 40)); }

Expr tanh_softplus(const Expr& e) {
  const Expr n = e * (e + 2);
  return n / (n + 2);
}

std::vector<AtenRule> activation_rules() {
  return {
      {"aten.relu.default", relu},
      {"aten.relu6.default", relu6},
      {"aten.threshold.default", threshold},
      {"aten.gelu.default", gelu},
      {"aten.silu.default", silu},
      {"aten.mish.default", mish},
      {"aten.elu.default", elu},
      {"aten.selu.default", selu},
      {"aten.celu.default", celu},
      {"aten.leaky_relu.default", leaky_relu},
      {"aten._prelu_kernel.default", prelu},
      {"aten.softplus.default", softplus},
      {"aten.log_sigmoid_forward.default", log_sigmoid},
      {"aten.hardswish.default", hardswish},
      {"aten.hardsigmoid.default", hardsigmoid},
      {"aten.hardshrink.default", hardshrink},
      {"aten.softshrink.default", softshrink},
      {"aten.glu.default", glu},
  };
}

}  // namespace ourjit
