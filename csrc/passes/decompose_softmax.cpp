// Softmax and log-softmax along one dim, and their gradients.

#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

std::vector<int64_t> one_dim(AtenCall& c, int i, const Expr& x) {
  if (x.rank() == 0) return {};
  return {c.dim(i, x.rank())};
}

/// exp(x - max) over its sum.
Expr softmax_of(const Expr& x, const std::vector<int64_t>& dims) {
  const Expr e = exp(x - amax(x, dims));
  return e * reciprocal(sum(e, dims));
}

/// self, dim
void softmax(AtenCall& c) {
  const Expr x = c.wide(0);
  c.done(softmax_of(x, one_dim(c, 1, x)));
}

/// self, dim: rows that are -inf throughout give zeros instead of NaN
void safe_softmax(AtenCall& c) {
  const Expr x = c.wide(0);
  const std::vector<int64_t> dims = one_dim(c, 1, x);
  const Expr masked = eq(amax(x, dims), -kInfinity);
  c.done(where(masked, 0, softmax_of(x, dims)));
}

void log_softmax(AtenCall& c) {
  const Expr x = c.wide(0);
  const std::vector<int64_t> dims = one_dim(c, 1, x);
  const Expr shifted = x - amax(x, dims);
  c.done(shifted - log(sum(exp(shifted), dims)));
}

/// grad, result, dim
void softmax_backward(AtenCall& c) {
  const Expr g = c.wide(0), y = c.wide(1);
  c.done(y * (g - sum(g * y, one_dim(c, 2, y))));
}

void log_softmax_backward(AtenCall& c) {
  const Expr g = c.wide(0), y = c.wide(1);
  c.done(g - exp(y) * sum(g, one_dim(c, 2, y)));
}

}  // namespace

std::vector<AtenRule> softmax_rules() {
  return {
      {"aten._softmax.default", softmax},
      {"aten._safe_softmax.default", safe_softmax},
      {"aten._log_softmax.default", log_softmax},
      {"aten._softmax_backward_data.default", softmax_backward},
      {"aten._log_softmax_backward_data.default", log_softmax_backward},
  };
}

}  // namespace ourjit
