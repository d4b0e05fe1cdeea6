// Layer, RMS and group normalization: statistics of one sample's rows.
#include "passes/decompose_rules.h"
#include "passes/moments.h"

namespace ourjit {
namespace {

std::vector<int64_t> last_dims(int rank, size_t n) {
  std::vector<int64_t> dims;
  for (int d = rank - static_cast<int>(n); d < rank; ++d) dims.push_back(d);
  return dims;
}

/// Sums over the dims that `dims` leaves, without them.
Expr sum_others(const Expr& e, const std::vector<int64_t>& dims) {
  return sum(e, other_dims(e.rank(), dims), false);
}

struct Normalized {
  Expr mean, rstd, value;  // value = (x - mean) * rstd
};

Normalized normalize(const Expr& x, const std::vector<int64_t>& dims, double eps) {
  const Moments m = moments(x, dims, x.dtype());
  const Expr rstd = rsqrt(m.squares / number(*x.b, count(x, dims), x.dtype()) + eps);
  return {m.mean, rstd, (x - m.mean) * rstd};
}

/// The gradient of x through value = (x - mean(x)) * rstd(x), given that of value.
Expr normalize_backward(const Expr& g, const Expr& value, const Expr& rstd,
                        const std::vector<int64_t>& dims) {
  return rstd * (g - mean(g, dims) - value * mean(g * value, dims));
}

/// input, normalized shape, weight, bias, eps -> result, mean, rstd
void layer_norm(AtenCall& c) {
  const Expr x = c.wide(0);
  const Normalized n = normalize(x, last_dims(x.rank(), c.syms(1).size()), c.real(4));
  Expr y = n.value;
  if (!c.none(2)) y = y * c.wide(2);
  if (!c.none(3)) y = y + c.wide(3);
  c.done(y, 0);
  if (c.wanted(1)) c.done(n.mean, 1);
  if (c.wanted(2)) c.done(n.rstd, 2);
}

/// grad, input, normalized shape, mean, rstd, weight, bias, mask -> gradients of input, weight,
/// bias
void layer_norm_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1), rstd = c.wide(4);
  const std::vector<int64_t> dims = last_dims(x.rank(), c.syms(2).size());
  const Expr value = (x - c.wide(3)) * rstd;
  if (c.wanted(0)) c.done(normalize_backward(c.none(5) ? g : g * c.wide(5), value, rstd, dims), 0);
  if (c.wanted(1)) c.done(sum_others(g * value, dims), 1);
  if (c.wanted(2)) c.done(sum_others(g, dims), 2);
}

double epsilon(DType t) {
  switch (t) {
    case DType::f16:
      return 0x1p-10;
    case DType::bf16:
      return 0x1p-7;
    case DType::f32:
      return 0x1p-23;
    default:
      return 0x1p-52;
  }
}

/// input, normalized shape, weight, eps -> result, rstd
void rms_norm(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.captured(0).dtype));
  const std::vector<int64_t> dims = last_dims(x.rank(), c.syms(1).size());
  const Expr rstd = rsqrt(mean(x * x, dims) + c.real_or(3, epsilon(c.captured(0).dtype)));
  const Expr y = x * rstd;
  if (c.wanted(0)) c.done(c.none(2) ? y : y * c.expr(2, x.dtype()), 0);
  if (c.wanted(1)) c.done(rstd, 1);
}

/// grad, input, normalized shape, rstd, weight, mask -> gradients of input, weight
void rms_norm_backward(AtenCall& c) {
  const Expr g = c.wide(0), x = c.wide(1), rstd = c.wide(3);
  const std::vector<int64_t> dims = last_dims(x.rank(), c.syms(2).size());
  const Expr value = x * rstd;
  if (c.wanted(0)) {
    const Expr gv = c.none(4) ? g : g * c.wide(4);
    c.done(rstd * (gv - value * mean(gv * value, dims)), 0);
  }
  if (c.wanted(1)) c.done(sum_others(g * value, dims), 1);
}

/// How group norm sees its tensors: (samples, groups, channels of a group, positions).
struct Groups {
  Sym samples, groups, channels, positions;

  std::vector<Sym> sizes() const { return {samples, groups, channels, positions}; }
  Expr tensor(const Expr& x) const { return reshape(x, sizes()); }
  Expr per_channel(const Expr& w) const { return reshape(w, {Sym(1), groups, channels, Sym(1)}); }
  Expr per_group(const Expr& m) const { return reshape(m, {samples, groups, Sym(1), Sym(1)}); }
};

/// Arguments N, C, HxW, group from `first` on.
Groups groups(AtenCall& c, int first) {
  const Sym group = c.sym(first + 3);
  const std::optional<Sym> channels = exact_div(c.sym(first + 1), group);
  require(channels.has_value(), "groups that do not divide the channels");
  return {c.sym(first), group, *channels, c.sym(first + 2)};
}

/// input, weight, bias, N, C, HxW, group, eps -> result, mean, rstd
void group_norm(AtenCall& c) {
  const Groups gs = groups(c, 3);
  const Normalized n = normalize(gs.tensor(c.wide(0)), {2, 3}, c.real(7));
  Expr y = n.value;
  if (!c.none(1)) y = y * gs.per_channel(c.wide(1));
  if (!c.none(2)) y = y + gs.per_channel(c.wide(2));
  if (c.wanted(0)) c.done(reshape(y, c.out(0).sizes), 0);
  if (c.wanted(1)) c.done(reshape(n.mean, c.out(1).sizes), 1);
  if (c.wanted(2)) c.done(reshape(n.rstd, c.out(2).sizes), 2);
}

/// grad, input, mean, rstd, weight, N, C, HxW, group, mask -> gradients of input, weight, bias
void group_norm_backward(AtenCall& c) {
  const Groups gs = groups(c, 5);
  const Expr g = gs.tensor(c.wide(0)), rstd = gs.per_group(c.wide(3));
  const Expr value = (gs.tensor(c.wide(1)) - gs.per_group(c.wide(2))) * rstd;
  if (c.wanted(0)) {
    const Expr gv = c.none(4) ? g : g * gs.per_channel(c.wide(4));
    c.done(reshape(normalize_backward(gv, value, rstd, {2, 3}), c.out(0).sizes), 0);
  }
  if (c.wanted(1)) c.done(reshape(sum(g * value, {0, 3}, false), c.out(1).sizes), 1);
  if (c.wanted(2)) c.done(reshape(sum(g, {0, 3}, false), c.out(2).sizes), 2);
}

}  // namespace

std::vector<AtenRule> row_norm_rules() {
  return {
      {"aten.native_layer_norm.default", layer_norm},
      {"aten.native_layer_norm_backward.default", layer_norm_backward},
      {"aten._fused_rms_norm.default", rms_norm},
      {"aten._fused_rms_norm_backward.default", rms_norm_backward},
      {"aten.native_group_norm.default", group_norm},
      {"aten.native_group_norm_backward.default", group_norm_backward},
  };
}

}  // namespace ourjit
