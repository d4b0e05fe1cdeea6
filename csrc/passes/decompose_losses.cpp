// Elementwise losses with a reduction (0 none, 1 mean, 2 sum), and their gradients.
#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

constexpr int64_t kMean = 1, kNone = 0;

void done_reduced(AtenCall& c, const Expr& loss, int64_t reduction) {
  if (reduction == kNone) return c.done(loss);
  const std::vector<int64_t> dims = all_dims(loss.rank());
  c.done(reduction == kMean ? mean(loss, dims, false) : sum(loss, dims, false));
}

/// The gradient of one element's loss: divided by their number for a mean.
Expr element_gradient(AtenCall& c, int64_t reduction) {
  const Expr g = c.wide(0);
  return reduction == kMean ? g / number(c.b, c.out().numel(), g.dtype()) : g;
}

/// self, target, reduction
void mse(AtenCall& c) {
  const Expr d = c.stored(c.wide(0) - c.wide(1));
  done_reduced(c, d * d, c.integer(2));
}

/// grad, self, target, reduction
void mse_backward(AtenCall& c) {
  c.done(2 * c.stored(c.wide(1) - c.wide(2)) * element_gradient(c, c.integer(3)));
}

void l1(AtenCall& c) { done_reduced(c, abs(c.wide(0) - c.wide(1)), c.integer(2)); }

/// self, target, reduction, beta: quadratic within beta
void smooth_l1(AtenCall& c) {
  const Expr z = abs(c.wide(0) - c.wide(1));
  const double beta = c.real_or(3, 1);
  const Expr loss = beta == 0 ? z : where(z < beta, 0.5 * z * z / beta, z - 0.5 * beta);
  done_reduced(c, loss, c.integer(2));
}

/// `inner` within [-bound, bound], else the sign of d times `outer`.
Expr beyond(const Expr& d, double bound, const Expr& outer, const Expr& inner) {
  return where(d <= -bound, -outer, where(d >= bound, outer, inner));
}

/// grad, self, target, reduction, beta
void smooth_l1_backward(AtenCall& c) {
  const Expr d = c.wide(1) - c.wide(2), g = element_gradient(c, c.integer(3));
  const double beta = c.real(4);
  if (beta == 0) return c.done(sign(d) * g);
  c.done(beyond(d, beta, g, d * g / beta));
}

/// self, target, reduction, delta
void huber(AtenCall& c) {
  const Expr z = abs(c.wide(0) - c.wide(1));
  const double delta = c.real_or(3, 1);
  done_reduced(c, where(z <= delta, 0.5 * z * z, delta * (z - 0.5 * delta)), c.integer(2));
}

/// grad, self, target, reduction, delta
void huber_backward(AtenCall& c) {
  const Expr d = c.wide(1) - c.wide(2), g = element_gradient(c, c.integer(3));
  const double delta = c.real(4);
  c.done(beyond(d, delta, g * delta, d * g));
}

/// self, target, weight, reduction: logarithms are cut at -100
void binary_cross_entropy(AtenCall& c) {
  const Expr x = c.wide(0), t = c.wide(1);
  Expr loss = (t - 1) * maximum(log1p(-x), -100) - t * maximum(log(x), -100);
  if (!c.none(2)) loss = loss * c.wide(2);
  done_reduced(c, loss, c.integer(3));
}

/// grad, self, target, weight, reduction
void binary_cross_entropy_backward(AtenCall& c) {
  const Expr x = c.wide(1), t = c.wide(2), g = element_gradient(c, c.integer(4));
  const Expr result = g * (x - t) / maximum((1 - x) * x, 1e-12);
  c.done(c.none(3) ? result : result * c.wide(3));
}

/// self, target, weight, weight of positives, reduction
void binary_cross_entropy_with_logits(AtenCall& c) {
  const Expr x = c.wide(0), t = c.wide(1);
  Expr log_sigmoid = c.stored(minimum(x, 0) - log1p(exp(-abs(x))));
  if (!c.none(3)) log_sigmoid = log_sigmoid * ((c.wide(3) - 1) * t + 1);
  Expr loss = c.stored(c.stored(1 - t) * x) - log_sigmoid;
  if (!c.none(2)) loss = loss * c.wide(2);
  done_reduced(c, loss, c.integer(4));
}

/// self, target (1 or -1), reduction
void soft_margin(AtenCall& c) { done_reduced(c, log1p(exp(-c.wide(0) * c.wide(1))), c.integer(2)); }

/// grad, self, target, reduction
void soft_margin_backward(AtenCall& c) {
  const Expr t = c.wide(2);
  c.done(-t * sigmoid(-t * c.wide(1)) * element_gradient(c, c.integer(3)));
}

}  // namespace

std::vector<AtenRule> elementwise_loss_rules() {
  return {
      {"aten.mse_loss.default", mse},
      {"aten.mse_loss_backward.default", mse_backward},
      {"aten.l1_loss.default", l1},
      {"aten.smooth_l1_loss.default", smooth_l1},
      {"aten.smooth_l1_loss_backward.default", smooth_l1_backward},
      {"aten.huber_loss.default", huber},
      {"aten.huber_loss_backward.default", huber_backward},
      {"aten.binary_cross_entropy.default", binary_cross_entropy},
      {"aten.binary_cross_entropy_backward.default", binary_cross_entropy_backward},
      {"aten.binary_cross_entropy_with_logits.default", binary_cross_entropy_with_logits},
      {"aten.soft_margin_loss.default", soft_margin},
      {"aten.soft_margin_loss_backward.default", soft_margin_backward},
  };
}

}  // namespace ourjit
