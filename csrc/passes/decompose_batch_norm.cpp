// Batch normalization: statistics of each channel (dim 1) over all other dims.
#include <optional>

#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

/// Where the overloads keep what they share; -1: absent.
struct Layout {
  int running_mean = 3, running_var = 4, momentum = -1, eps = -1;
  int new_mean = -1, new_var = -1;  // results
};

std::vector<int64_t> sample_dims(const Expr& x) { return other_dims(x.rank(), {1}); }
Expr per_channel(const Expr& v, int rank) { return along(v, 1, rank); }

struct Statistics {
  Expr mean, variance;  // 1-d, biased variance
};

/// One pass over x with sums in f64, which carry a variance 1e-15 of the squared mean; x of f64
/// is centred first.
Statistics statistics(const Expr& x) {
  const std::vector<int64_t> dims = sample_dims(x);
  const Expr wide = cast(x, DType::f64);
  const Expr n = number(*x.b, count(x, dims), DType::f64);
  const Expr centre = sum(wide, dims, false) / n;
  if (x.dtype() == DType::f64) {
    const Expr deviation = wide - per_channel(centre, x.rank());
    return {centre, sum(deviation * deviation, dims, false) / n};
  }
  const Expr squares = sum(wide * wide, dims, false) / n;
  return {centre, maximum(squares - centre * centre, 0)};
}

/// (x - mean) * (rstd * weight) + bias with weight and bias at arguments 1 and 2.
Expr normalized(AtenCall& c, const Expr& x, const Expr& mean, const Expr& rstd) {
  const Expr scale = c.none(1) ? rstd : rstd * c.expr(1, x.dtype());
  const Expr y = (x - per_channel(mean, x.rank())) * per_channel(scale, x.rank());
  return c.none(2) ? y : y + per_channel(c.expr(2, x.dtype()), x.rank());
}

/// momentum * batch + (1 - momentum) * running, of the mean and the unbiased variance.
void update_running(AtenCall& c, const Layout& at, const Expr& x, const Statistics& s) {
  const double momentum = c.real(at.momentum);
  const auto mixed = [&](int argument, const Expr& batch) {
    return momentum * batch + (1 - momentum) * c.expr(argument, batch.dtype());
  };
  if (at.new_mean >= 0 && c.wanted(at.new_mean))
    c.done(mixed(at.running_mean, s.mean), at.new_mean);
  if (at.new_var < 0 || !c.wanted(at.new_var)) return;
  const Sym n = count(x, sample_dims(x));
  const Expr unbiased = s.variance * (number(c.b, n, DType::f64) / number(c.b, n - 1, DType::f64));
  c.done(mixed(at.running_var, unbiased), at.new_var);
}

void train(AtenCall& c, const Layout& at) {
  const Expr x = c.expr(0, compute_dtype(c.captured(0).dtype));
  const Statistics s = statistics(x);
  const Expr mean = cast(s.mean, x.dtype());
  const Expr rstd = cast(rsqrt(s.variance + c.real(at.eps)), x.dtype());
  if (c.wanted(0)) c.done(normalized(c, x, mean, rstd), 0);
  if (c.wanted(1)) c.done(mean, 1);
  if (c.wanted(2)) c.done(rstd, 2);
  if (at.running_mean >= 0) update_running(c, at, x, s);
}

/// Uses the running statistics; what training would save is empty, and what it would update stays.
void evaluate(AtenCall& c, const Layout& at) {
  const Expr x = c.expr(0, compute_dtype(c.captured(0).dtype));
  const Expr mean = c.expr(at.running_mean, x.dtype());
  const Expr rstd = rsqrt(c.expr(at.running_var, x.dtype()) + c.real(at.eps));
  if (c.wanted(0)) c.done(normalized(c, x, mean, rstd), 0);
  for (const int k : {1, 2})
    if (c.wanted(k)) c.done(full(c.b, 0, c.out(k).dtype, c.out(k).sizes), k);
  if (at.new_mean >= 0 && c.wanted(at.new_mean)) c.done(c.expr(at.running_mean), at.new_mean);
  if (at.new_var >= 0 && c.wanted(at.new_var)) c.done(c.expr(at.running_var), at.new_var);
}

/// The reserved buffer that CPU kernels leave empty.
void empty_reserve(AtenCall& c) {
  if (c.wanted(3)) c.done(full(c.b, 0, c.out(3).dtype, c.out(3).sizes), 3);
}

/// input, weight, bias, running mean, running var, training, momentum, eps
///   -> result, mean, rstd, new running mean, new running var
void legit_functional(AtenCall& c) {
  const Layout at{.momentum = 6, .eps = 7, .new_mean = 3, .new_var = 4};
  c.flag(5) ? train(c, at) : evaluate(c, at);
}

/// The same arguments where running statistics would be written in place: only if they are not.
void native(AtenCall& c) {
  const Layout at{.momentum = 6, .eps = 7};
  if (!c.flag(5)) return evaluate(c, at);
  require(c.none(3) && c.none(4), "running statistics written in place");
  train(c, {.running_mean = -1, .running_var = -1, .eps = 7});
}

/// input, weight, bias, training, momentum, eps
void no_stats(AtenCall& c) { train(c, {.running_mean = -1, .running_var = -1, .eps = 5}); }

/// input, weight, bias, running mean, running var, momentum, eps
void no_training(AtenCall& c) { evaluate(c, {.momentum = 5, .eps = 6}); }

void no_update(AtenCall& c) {
  evaluate(c, {.momentum = 5, .eps = 6});
  empty_reserve(c);
}

void with_update_functional(AtenCall& c) {
  train(c, {.momentum = 5, .eps = 6, .new_mean = 4, .new_var = 5});
  empty_reserve(c);
}

/// grad, input, weight, running mean, running var, saved mean, saved rstd, training, eps, mask
///   -> gradients of input, weight, bias
void backward(AtenCall& c) {
  const DType t = compute_dtype(c.captured(1).dtype);
  const Expr g = c.expr(0, t), x = c.expr(1, t);
  const std::vector<int64_t> dims = sample_dims(x);
  const int rank = x.rank();
  const bool training = c.flag(7);
  const Expr mean = c.expr(training ? 5 : 3, t);
  const Expr rstd = training ? c.expr(6, t) : rsqrt(c.expr(4, t) + c.real(8));
  const Expr deviation = x - per_channel(mean, rank);
  const Expr sum_g = sum(g, dims, false), dot = sum(g * deviation, dims, false);
  if (c.wanted(0)) {
    Expr centred = g;
    if (training) {
      const Expr n = number(c.b, count(x, dims), t);
      const Expr slope = dot * rstd * rstd / n;
      centred = g - per_channel(sum_g / n, rank) - deviation * per_channel(slope, rank);
    }
    const Expr scale = c.none(2) ? rstd : rstd * c.expr(2, t);
    c.done(centred * per_channel(scale, rank), 0);
  }
  if (c.wanted(1)) c.done(dot * rstd, 1);
  if (c.wanted(2)) c.done(sum_g, 2);
}

}  // namespace

std::vector<AtenRule> batch_norm_rules() {
  return {
      {"aten._native_batch_norm_legit_functional.default", legit_functional},
      {"aten.native_batch_norm.default", native},
      {"aten._native_batch_norm_legit.default", native},
      {"aten._native_batch_norm_legit.no_stats", no_stats},
      {"aten._native_batch_norm_legit_no_training.default", no_training},
      {"aten._batch_norm_no_update.default", no_update},
      {"aten._batch_norm_with_update_functional.default", with_update_functional},
      {"aten.native_batch_norm_backward.default", backward},
      {"aten.batch_norm_backward.default", backward},
  };
}

}  // namespace ourjit
