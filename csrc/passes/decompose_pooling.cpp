// Pooling: one number of each window that slides over the last dims.
#include <limits>
#include <utility>

#include "passes/decompose_rules.h"
#include "passes/windows.h"

namespace ourjit {
namespace {

/// The largest element of each window and its place in the plane. As in ATen's loops, the first of
/// equal elements wins, and of NaNs, which beat all others, the last.
std::pair<Expr, Expr> largest_of_taps(const Expr& x, const Pooling& p) {
  Builder& b = *x.b;
  const std::vector<Sym> strides = plane_strides(p);
  const DType t = place_dtype(p);
  // Without an element that is larger than the padding, the first that is no padding stands.
  Expr best = neutral(b, ReduceOp::max, x.dtype()), place = number(b, 0, t), origin = place;
  for (size_t d = 0; d < p.dims.size(); ++d) {
    const Windows& w = p.dims[d];
    const auto placed = [&](const Expr& e) {
      const Expr scaled = cast(e * number(b, strides[d], DType::i64), t);
      return along(scaled, p.first + static_cast<int64_t>(d), x.rank());
    };
    const Expr begin = begins(b, w);
    const auto step = static_cast<double>(w.dilation);
    if (w.padding > 0)
      place = place + placed(floor_div(maximum(-begin, 0) + (step - 1), step) * step);
    origin = origin + placed(begin);
  }
  for_each_tap(x, p, reduce_identity(ReduceOp::max, x.dtype()),
               [&](const Expr& tap, const std::vector<int64_t>& i) {
                 Sym offset = 0;
                 for (size_t d = 0; d < i.size(); ++d)
                   offset += strides[d] * (i[d] * p.dims[d].dilation);
                 Expr wins = tap > best;
                 if (is_float(x.dtype())) wins = either(wins, isnan(tap));
                 best = where(wins, tap, best);
                 place = where(wins, number(b, offset, t), place);
               });
  return {best, place + origin};
}

/// The same by reductions.
std::pair<Expr, Expr> largest_of_windows(const Expr& x, const Pooling& p) {
  Builder& b = *x.b;
  const Unfolded u = unfold(x, p, neutral(b, ReduceOp::max, x.dtype()));
  const Expr best = amax(u.value, u.window_dims);
  const std::vector<Sym> strides = plane_strides(p);
  Expr place = number(b, 0, DType::i64), candidate = eq(u.value, best);
  for (size_t d = 0; d < p.dims.size(); ++d) {
    place = place + u.fit(places(b, p.dims[d]) * size_of(b, strides[d]), d);
    if (u.exists[d]) candidate = both(candidate, *u.exists[d]);
  }
  const Expr behind = size_of(b, std::numeric_limits<int64_t>::max());
  Expr first = reduce(ReduceOp::min, where(candidate, place, behind), u.window_dims, false);
  const Expr largest = reshape(best, first.sizes());
  if (is_float(x.dtype()))
    first =
        where(isnan(largest), amax(where(isnan(u.value), place, -1), u.window_dims, false), first);
  return {largest, first};
}

void max_pool(AtenCall& c, const Pooling& p) {
  const Expr x = c.expr(0);
  if (c.out(c.wanted(0) ? 0 : 1).numel().is_const(0)) return no_elements(c);
  if (!c.wanted(1)) return c.done(reduced(x, p, ReduceOp::max));
  const auto [best, place] = few(p.kernel()) ? largest_of_taps(x, p) : largest_of_windows(x, p);
  if (c.wanted(0)) c.done(best, 0);
  c.done(place, 1);
}

/// self, kernel size, stride, padding, dilation, ceil mode -> values, places
template <int n>
void max_pool(AtenCall& c) {
  max_pool(c, sliding(c, n, 1, 5, true, c.expr(0).sizes(), c.out(c.wanted(0) ? 0 : 1).sizes));
}

/// self, output size -> values, places
template <int n>
void adaptive_max_pool(AtenCall& c) {
  max_pool(c, adaptive(n, c.expr(0).sizes(), c.out(c.wanted(0) ? 0 : 1).sizes));
}

/// self, kernel size, stride, padding, ceil mode, padding counts, divisor
template <int n>
void avg_pool(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.out().dtype));
  if (c.out().numel().is_const(0)) return no_elements(c);
  const Pooling p = sliding(c, n, 1, 4, false, x.sizes(), c.out().sizes);
  c.done(averaged(reduced(x, p, ReduceOp::sum), divisor_or(c, 6, p, c.flag(5), x.dtype())));
}

/// self, output size
template <int n>
void adaptive_avg_pool(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.out().dtype));
  if (c.out().numel().is_const(0)) return no_elements(c);
  const Pooling p = adaptive(n, x.sizes(), c.out().sizes);
  c.done(averaged(reduced(x, p, ReduceOp::sum), divisor(c.b, p, true, x.dtype(), x.rank())));
}

}  // namespace

std::vector<AtenRule> pooling_rules() {
  return {
      {"aten.max_pool2d_with_indices.default", max_pool<2>},
      {"aten.max_pool3d_with_indices.default", max_pool<3>},
      {"aten.adaptive_max_pool2d.default", adaptive_max_pool<2>},
      {"aten.adaptive_max_pool3d.default", adaptive_max_pool<3>},
      {"aten.avg_pool2d.default", avg_pool<2>},
      {"aten.avg_pool3d.default", avg_pool<3>},
      {"aten._adaptive_avg_pool2d.default", adaptive_avg_pool<2>},
      {"aten._adaptive_avg_pool3d.default", adaptive_avg_pool<3>},
  };
}

}  // namespace ourjit
