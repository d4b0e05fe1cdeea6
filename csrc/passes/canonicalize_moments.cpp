// Variance and standard deviation, accumulated in f64 as ATen does, so that very small and very
// large scales keep their digits.
#include <algorithm>

#include "passes/canonicalize_rules.h"
#include "passes/moments.h"

namespace ourjit {
namespace {

struct Result {
  Expr variance, mean;  // f64, dims kept as asked
};

/// Sum of squared deviations divided by max(0, count - correction).
Result variance(AtenCall& c, const std::vector<int64_t>& dims, double correction, bool keepdim) {
  const Expr x = c.expr(0);
  Moments m = moments(x, dims, DType::f64);
  if (!keepdim && !dims.empty()) {
    std::vector<Sym> sizes;
    for (const int64_t d : other_dims(x.rank(), dims))
      sizes.push_back(x.sizes()[static_cast<size_t>(d)]);
    m = {reshape(m.mean, sizes), reshape(m.squares, sizes)};
  }
  const Sym n = count(x, dims);
  const Expr divisor =
      n.is_const() ? number(m.squares, std::max(0.0, static_cast<double>(n.value()) - correction))
                   : maximum(number(c.b, n, DType::f64) - correction, 0);
  return {m.squares / divisor, m.mean};
}

/// What the overload asks for: sqrt for the standard deviation, the mean as second result.
void finish(AtenCall& c, const Result& r) {
  if (c.wanted(0)) c.done(c.op == ScalarOp::sqrt ? sqrt(r.variance) : r.variance, 0);
  if (c.wanted(1)) c.done(r.mean, 1);
}

/// self, dims, correction or None (1), keepdim
void with_correction(AtenCall& c) {
  finish(c, variance(c, c.dims(1, c.expr(0).rank()), c.real_or(2, 1), c.flag(3)));
}

/// self, unbiased
void of_all(AtenCall& c) {
  finish(c, variance(c, all_dims(c.expr(0).rank()), c.flag(1) ? 1 : 0, false));
}

/// self, dims, unbiased, keepdim
void of_dims(AtenCall& c) {
  finish(c, variance(c, c.dims(1, c.expr(0).rank()), c.flag(2) ? 1 : 0, c.flag(3)));
}

}  // namespace

std::vector<AtenRule> moment_rules() {
  using S = ScalarOp;
  return {
      {"aten.var.correction", with_correction},
      {"aten.std.correction", with_correction, S::sqrt},
      {"aten.var_mean.correction", with_correction},
      {"aten.std_mean.correction", with_correction, S::sqrt},
      {"aten.var.default", of_all},
      {"aten.std.default", of_all, S::sqrt},
      {"aten.var_mean.default", of_all},
      {"aten.std_mean.default", of_all, S::sqrt},
      {"aten.var.dim", of_dims},
      {"aten.std.dim", of_dims, S::sqrt},
      {"aten.var_mean.dim", of_dims},
      {"aten.std_mean.dim", of_dims, S::sqrt},
  };
}

}  // namespace ourjit
