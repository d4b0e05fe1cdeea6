// Gradients of pooling: each element collects from the windows that hold it.
#include <algorithm>
#include <optional>

#include "passes/decompose_rules.h"
#include "passes/indexing.h"
#include "passes/passes.h"
#include "passes/windows.h"

namespace ourjit {
namespace {

constexpr int64_t kMaxCollected = 4;  // windows to look through for those that took an element

/// The most windows that hold one element.
Sym windows_of_element(const Windows& w) {
  if (w.kernel == w.stride && w.dilation == 1) return 1;
  return ceildiv((w.kernel - 1) * w.dilation + 1, w.stride);
}

/// For tensors of one element a window: tap j along a dim is, for each element of the input, that
/// of the j-th last window that begins at it or before; zero where there is none. All taps of all
/// dims, of which there must be few, in row-major order.
std::vector<Expr> window_taps(const Expr& g, const Pooling& p) {
  std::vector<Expr> taps{g};
  for (size_t d = 0; d < p.dims.size(); ++d) {
    const Windows& w = p.dims[d];
    if (w.trivial()) continue;
    const int64_t dim = p.first + static_cast<int64_t>(d);
    const int64_t before = windows_of_element(w).value() - 1;
    int64_t behind = 0;  // windows behind the last one in whose strides elements may lie
    if (w.kernel.is_const() && w.stride.is_const()) {
      const int64_t stride = w.stride.value(), span = (w.kernel.value() - 1) * w.dilation + 1;
      behind = std::max<int64_t>(0, (span - w.padding - 2 + stride) / stride);
    }
    std::vector<Expr> next;
    for (const Expr& tap : taps) {
      const Expr windows = before + behind > 0 ? pad_zeros(tap, dim, before, behind) : tap;
      const Expr line = repeat_interleave(windows, dim, w.stride);
      for (int64_t j = 0; j <= before; ++j)
        next.push_back(narrow(line, dim, w.stride * (before - j) + w.padding, w.size));
    }
    taps = std::move(next);
  }
  return taps;
}

/// Sums of windows, [..., count, ...], go back to the elements of their windows, [..., size, ...]:
/// each element collects those of the windows that hold it.
Expr spread(const Expr& g, int64_t dim, const Windows& w) {
  Builder& b = *g.b;
  if (w.trivial()) return g;
  // Window o holds element h exactly if the intervals [h, h + 1) * count and [o, o + 1) * size
  // overlap, which is the rule of an adaptive pooling from `count` to `size`.
  if (w.adaptive) return reduced(g, {dim, {adaptive_windows(w.count, w.size)}}, ReduceOp::sum);
  const Sym taps = windows_of_element(w);
  const Expr place = iota(b, w.size, DType::i64, 0, 1) + static_cast<double>(w.padding);
  const Expr stride = size_of(b, w.stride), kernel = size_of(b, w.kernel);
  if (!few(taps, kMaxLineTaps)) {
    const Expr at = floor_div(unsqueeze(place, 1), stride) - iota(b, taps, DType::i64, 1, 2);
    const Expr exists = both(at >= 0, at < size_of(b, w.count));
    const Expr valid = both(exists, unsqueeze(place, 1) - at * stride < kernel);
    const Expr read = take(g, minimum(maximum(at, 0), size_of(b, w.count - 1)), dim, false);
    return sum(where(along_pair(valid, dim, read.rank()), read, 0), {dim + 1}, false);
  }
  std::vector<Expr> parts = window_taps(g, {dim, {w}});
  if (taps * w.stride != w.kernel) {
    // The earliest window ends before some of the elements.
    const Expr within = mod(place, stride) + size_of(b, w.stride * (taps - 1));
    parts.back() = where(along(within < kernel, dim, g.rank()), parts.back(), 0);
  }
  Expr total = parts[0];
  for (size_t j = 1; j < parts.size(); ++j) total = total + parts[j];
  return total;
}

void avg_pool_backward(AtenCall& c, const Pooling& p, const Expr& n) {
  Expr g = averaged(c.expr(0, n.dtype()), n);
  for (size_t d = 0; d < p.dims.size(); ++d)
    g = spread(g, p.first + static_cast<int64_t>(d), p.dims[d]);
  c.done(g);
}

/// Each element collects the gradients `g` of the windows that took it, which `places` say.
Expr collected(const Expr& g, const Expr& places, const Pooling& p) {
  Builder& b = *g.b;
  const DType t = place_dtype(p);
  const std::vector<Sym> strides = plane_strides(p);
  Expr here = number(b, 0, t);
  for (size_t d = 0; d < p.dims.size(); ++d)
    here = here + iota(b, p.dims[d].size, t, p.first + static_cast<int64_t>(d), g.rank()) *
                      number(b, strides[d], t);
  const std::vector<Expr> grads = window_taps(g, p), taken = window_taps(places, p);
  Expr total;
  for (size_t i = 0; i < grads.size(); ++i) {
    const Expr tap = where(eq(cast(taken[i], t), here), grads[i], 0);
    total = total.b ? total + tap : tap;
  }
  return total;
}

/// The windows of a max_pool backward, or of an adaptive one; none where they are not alike.
std::optional<Pooling> known_windows(const AtenCall& c, int n, int indices,
                                     const std::vector<Sym>& to) {
  const std::vector<Sym>& from = c.out().sizes;
  if (indices == 7) return sliding(c, n, 2, 6, true, from, to);
  if (indices != 2) return std::nullopt;  // fractional
  Pooling p = adaptive(n, from, to);
  const bool alike =
      std::none_of(p.dims.begin(), p.dims.end(), [](const Windows& w) { return w.adaptive; });
  return alike ? std::optional(p) : std::nullopt;
}

/// grad and, at argument `indices`, the places in the plane that windows took: they get it back.
template <int n, int indices>
void max_pool_backward(AtenCall& c) {
  const DType t = c.out().dtype;
  // The gradient may have other names of the same sizes.
  const Expr places = c.expr(indices, DType::i64), g = reshape(c.expr(0, t), places.sizes());
  if (prefers_channels_last(c.graph(), c.out())) {
    // Adding to places one by one would need each plane in one piece.
    const std::optional<Pooling> p = known_windows(c, n, indices, g.sizes());
    Sym taps = 1;
    if (p)
      for (const Windows& w : p->dims) taps *= windows_of_element(w);
    if (p && few(taps, kMaxCollected))
      return c.done(collected(cast(g, compute_dtype(t)), places, *p));
  }
  const auto flat = [](const Expr& e) {
    std::vector<Sym> sizes = e.sizes();
    const Sym plane = product({sizes.end() - n, sizes.end()});
    sizes.resize(sizes.size() - n);
    sizes.push_back(plane);
    return reshape(e, sizes);
  };
  const Expr base = flat(full(c.b, 0, t, c.out().sizes));
  const Attrs attrs{{"dim", Sym(base.rank() - 1)}, {"mode", std::string("add")}};
  const Expr out{&c.b, c.b.emit(Op::scatter, {base.v, flat(places).v, flat(g).v}, attrs)};
  c.done(reshape(out, c.out().sizes));
}

/// grad, self, and the arguments of avg_pool
template <int n>
void avg_pool_backward(AtenCall& c) {
  if (c.out().numel().is_const(0)) return no_elements(c);
  const Pooling p = sliding(c, n, 2, 5, false, c.out().sizes, c.expr(0).sizes());
  avg_pool_backward(c, p, divisor_or(c, 7, p, c.flag(6), compute_dtype(c.out().dtype)));
}

/// grad, self
template <int n>
void adaptive_avg_pool_backward(AtenCall& c) {
  if (c.expr(0).b->type(c.expr(0).v).numel().is_const(0)) return no_elements(c);
  const Pooling p = adaptive(n, c.out().sizes, c.expr(0).sizes());
  avg_pool_backward(c, p, divisor(c.b, p, true, compute_dtype(c.out().dtype), c.out().rank()));
}

}  // namespace

std::vector<AtenRule> pooling_backward_rules() {
  return {
      {"aten.max_pool2d_with_indices_backward.default", max_pool_backward<2, 7>},
      {"aten.max_pool3d_with_indices_backward.default", max_pool_backward<3, 7>},
      {"aten.adaptive_max_pool2d_backward.default", max_pool_backward<2, 2>},
      {"aten.adaptive_max_pool3d_backward.default", max_pool_backward<3, 2>},
      {"aten.fractional_max_pool2d_backward.default", max_pool_backward<2, 4>},
      {"aten.fractional_max_pool3d_backward.default", max_pool_backward<3, 4>},
      {"aten.avg_pool2d_backward.default", avg_pool_backward<2>},
      {"aten.avg_pool3d_backward.default", avg_pool_backward<3>},
      {"aten._adaptive_avg_pool2d_backward.default", adaptive_avg_pool_backward<2>},
      {"aten._adaptive_avg_pool3d_backward.default", adaptive_avg_pool_backward<3>},
  };
}

}  // namespace ourjit
