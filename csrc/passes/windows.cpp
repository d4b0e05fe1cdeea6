#include "passes/windows.h"

#include <algorithm>
#include <limits>

#include "passes/indexing.h"

namespace ourjit {
namespace {

/// The most elements that one window of an adaptive pooling holds; a bound where sizes are symbols.
Sym largest_window(const Sym& size, const Sym& count) {
  if (!size.is_const() || !count.is_const()) return ceildiv(size, count) + 1;
  const int64_t n = size.value(), windows = count.value();
  int64_t largest = 0;
  for (int64_t o = 0; o < windows; ++o)
    largest = std::max(largest, ((o + 1) * n + windows - 1) / windows - o * n / windows);
  return largest;
}

/// One behind the last element of each adaptive window, [count].
Expr adaptive_ends(Builder& b, const Windows& w) {
  const Expr next = iota(b, w.count, DType::i64, 0, 1) + 1;
  return floor_div(next * size_of(b, w.size) + size_of(b, w.count - 1), size_of(b, w.count));
}

/// The elements of each window that there are, [count, kernel]; nullopt: all.
std::optional<Expr> existing(Builder& b, const Windows& w) {
  if (w.tile()) return std::nullopt;
  const Expr place = places(b, w);
  const Expr inside = both(place >= 0, place < size_of(b, w.size));
  return w.adaptive ? both(inside, place < unsqueeze(adaptive_ends(b, w), 1)) : inside;
}

/// `x` with what windows reach of the padding.
Expr padded(const Expr& x, const Pooling& p, const Scalar& value) {
  std::vector<Sym> low(static_cast<size_t>(x.rank()), Sym(0)), high = low;
  bool any = false;
  for (size_t d = 0; d < p.dims.size(); ++d) {
    const Windows& w = p.dims[d];
    const size_t dim = static_cast<size_t>(p.first) + d;
    low[dim] = w.padding;
    high[dim] = w.overhang ? w.stride + w.padding - 1 : Sym(w.padding);
    any |= !low[dim].is_const(0) || !high[dim].is_const(0);
  }
  if (!any) return x;
  const Attr fill = value.is_float() ? Attr(value.f) : Attr(Sym(value.i));
  return {x.b, x.b->emit(Op::pad, {x.v}, {{"low", low}, {"high", high}, {"value", fill}})};
}

/// The i-th elements along dim `dim` of all windows of `x`, which is padded; `fill` where a window
/// has none.
Expr tap_of(const Expr& x, int64_t dim, const Windows& w, int64_t i, const Scalar& fill) {
  if (w.trivial()) return x;
  if (!w.adaptive) return {x.b, x.b->slice(x.v, dim, i * w.dilation, w.stride, w.count)};
  const Expr place = begins(*x.b, w) + static_cast<double>(i);
  const Expr tap = take(x, minimum(place, size_of(*x.b, w.size - 1)), dim, false);
  const Sym least = floordiv(w.size, w.count);  // elements of each window
  if (least.is_const() && i < least.value()) return tap;
  return where(along(place < adaptive_ends(*x.b, w), dim, x.rank()), tap, constant(*x.b, fill));
}

}  // namespace

Pooling sliding(const AtenCall& c, int n, int at, int ceil_mode, bool dilated,
                const std::vector<Sym>& from, const std::vector<Sym>& to) {
  const auto numbers = [&](int i) {
    std::vector<int64_t> list = c.integers(i);
    if (list.size() == 1) list.resize(static_cast<size_t>(n), list[0]);
    return list;
  };
  const std::vector<int64_t> kernel = numbers(at), strides = numbers(at + 1),
                             padding = numbers(at + 2);
  const std::vector<int64_t> stride = strides.empty() ? kernel : strides;
  const std::vector<int64_t> dilation =
      dilated ? numbers(at + 3) : std::vector<int64_t>(static_cast<size_t>(n), 1);
  Pooling p{static_cast<int64_t>(from.size()) - n, {}};
  for (size_t d = 0; d < static_cast<size_t>(n); ++d) {
    const size_t dim = static_cast<size_t>(p.first) + d;
    p.dims.push_back({.size = from[dim],
                      .count = to[dim],
                      .kernel = kernel[d],
                      .stride = stride[d],
                      .padding = padding[d],
                      .dilation = dilation[d],
                      .overhang = c.flag(ceil_mode)});
  }
  return p;
}

Windows adaptive_windows(const Sym& size, const Sym& count) {
  if (const std::optional<Sym> k = exact_div(size, count))
    return {.size = size, .count = count, .kernel = *k, .stride = *k};
  return {.size = size, .count = count, .kernel = largest_window(size, count), .adaptive = true};
}

Pooling adaptive(int n, const std::vector<Sym>& from, const std::vector<Sym>& to) {
  Pooling p{static_cast<int64_t>(from.size()) - n, {}};
  for (size_t dim = static_cast<size_t>(p.first); dim < from.size(); ++dim)
    p.dims.push_back(adaptive_windows(from[dim], to[dim]));
  return p;
}

Expr begins(Builder& b, const Windows& w) {
  const Expr window = iota(b, w.count, DType::i64, 0, 1);
  if (w.adaptive) return floor_div(window * size_of(b, w.size), size_of(b, w.count));
  return window * size_of(b, w.stride) - static_cast<double>(w.padding);
}

void for_each_tap(const Expr& x, const Pooling& p, const Scalar& fill,
                  const std::function<void(const Expr&, const std::vector<int64_t>&)>& visit) {
  const Expr whole = padded(x, p, fill);
  std::vector<int64_t> i(p.dims.size(), 0);
  for (;;) {
    Expr tap = whole;
    for (size_t d = 0; d < i.size(); ++d)
      tap = tap_of(tap, p.first + static_cast<int64_t>(d), p.dims[d], i[d], fill);
    visit(tap, i);
    size_t d = i.size();
    while (d > 0 && ++i[d - 1] == p.dims[d - 1].kernel.value()) i[--d] = 0;
    if (d == 0) return;
  }
}

Expr places(Builder& b, const Windows& w) {
  const Expr offset = iota(b, w.kernel, DType::i64, 1, 2) * static_cast<double>(w.dilation);
  return unsqueeze(begins(b, w), 1) + offset;
}

Expr along_pair(const Expr& e, int64_t dim, int rank) {
  std::vector<Sym> sizes(static_cast<size_t>(rank), Sym(1));
  sizes[static_cast<size_t>(dim)] = e.sizes()[0];
  sizes[static_cast<size_t>(dim) + 1] = e.sizes()[1];
  return reshape(e, std::move(sizes));
}

Unfolded unfold(const Expr& x, const Pooling& p, const Expr& fill) {
  Builder& b = *x.b;
  Unfolded u{x, {}, {}};
  int64_t dim = p.first;
  for (const Windows& w : p.dims) {
    if (w.tile()) {
      u.value = split_dim(u.value, dim, w.count, w.kernel);
    } else {
      const Expr last = size_of(b, w.size - 1);
      u.value = take(u.value, minimum(maximum(places(b, w), 0), last), dim, false);
    }
    u.exists.push_back(existing(b, w));
    u.window_dims.push_back(dim + 1);
    dim += 2;
  }
  for (size_t d = 0; d < p.dims.size(); ++d) {
    if (!u.exists[d]) continue;
    u.exists[d] = u.fit(*u.exists[d], d);
    u.value = where(*u.exists[d], u.value, fill);
  }
  return u;
}

Expr reduced(const Expr& x, const Pooling& p, ReduceOp op) {
  const bool tiles =
      std::all_of(p.dims.begin(), p.dims.end(), [](const Windows& w) { return w.tile(); });
  const bool line = p.dims.size() == 1 && !tiles && !p.dims[0].adaptive;
  if (few(p.kernel(), line ? kMaxLineTaps : kMaxTaps)) {
    const ScalarOp combine = op == ReduceOp::sum ? ScalarOp::add : ScalarOp::maximum;
    Expr total;
    for_each_tap(x, p, reduce_identity(op, x.dtype()),
                 [&](const Expr& tap, const std::vector<int64_t>&) {
                   total = total.b ? apply(combine, total, tap) : tap;
                 });
    return total;
  }
  if (p.dims.size() > 1 && !tiles) {
    Expr y = x;
    for (size_t d = p.dims.size(); d-- > 0;)
      y = reduced(y, {p.first + static_cast<int64_t>(d), {p.dims[d]}}, op);
    return y;
  }
  const Unfolded u = unfold(x, p, neutral(*x.b, op, x.dtype()));
  return reduce(op, u.value, u.window_dims, false);
}

std::vector<Sym> plane_strides(const Pooling& p) {
  std::vector<Sym> strides(p.dims.size(), Sym(1));
  for (size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * p.dims[d].size;
  return strides;
}

DType place_dtype(const Pooling& p) {
  Sym plane = 1;
  for (const Windows& w : p.dims) plane *= w.size;
  const bool small = plane.is_const() && plane.value() < std::numeric_limits<int32_t>::max() / 2;
  return small ? DType::i32 : DType::i64;
}

Expr divisor(Builder& b, const Pooling& p, bool count_padding, DType t, int rank) {
  Expr n = number(b, 1, DType::i64);
  for (size_t d = 0; d < p.dims.size(); ++d) {
    const Windows& w = p.dims[d];
    if (w.trivial()) continue;
    const bool whole = !w.adaptive && !w.overhang && (count_padding || w.padding == 0);
    if (whole) {
      n = n * size_of(b, w.kernel);
      continue;
    }
    const Expr begin = begins(b, w);
    Expr held = begin;  // elements in each window
    if (w.adaptive) {
      held = adaptive_ends(b, w) - begin;
    } else {
      const Expr end = minimum(begin + size_of(b, w.kernel), size_of(b, w.size + w.padding));
      held = count_padding ? end - begin : minimum(end, size_of(b, w.size)) - maximum(begin, 0);
    }
    n = n * along(held, p.first + static_cast<int64_t>(d), rank);
  }
  return cast(n, t);
}

Expr averaged(const Expr& x, const Expr& n) {
  return apply(is_float(x.dtype()) ? ScalarOp::div : ScalarOp::trunc_div, x, n);
}

Expr divisor_or(AtenCall& c, int i, const Pooling& p, bool count_padding, DType t) {
  if (c.none(i)) return divisor(c.b, p, count_padding, t, c.out().rank());
  return number(c.b, c.sym(i), t);
}

void no_elements(AtenCall& c) {
  for (int k = 0; k < c.results(); ++k)
    if (c.wanted(k)) c.done(full(c.b, 0, c.out(k).dtype, c.out(k).sizes), k);
}

}  // namespace ourjit
