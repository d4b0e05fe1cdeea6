// Pooling: one number of each window that slides over the last dims.
//
// A window of few elements is taken apart into taps: its i-th elements of all windows are a strided
// slice of the padded input, so that a chain of pointwise operators computes all windows at once.
// Longer windows become dims of their own, which are reduced: a reshape where windows tile their
// dim, a gather elsewhere.
#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "base/scalar_eval.h"
#include "passes/decompose_rules.h"
#include "passes/indexing.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

constexpr int64_t kMaxTaps = 32;      // of a window
constexpr int64_t kMaxCollected = 4;  // windows to look through for those that took an element

/// The windows along one dim of `size` elements; there are `count`. Window o of an adaptive pooling
/// holds the elements from floor(o * size / count) up to ceil((o + 1) * size / count), and `kernel`
/// is the most that one can hold; any other begins at o * stride - padding.
struct Windows {
  Sym size, count;
  Sym kernel, stride = 1;
  int64_t padding = 0, dilation = 1;
  bool adaptive = false;
  bool overhang = false;  // the last window may end behind the padding

  /// Reshaping the dim gives the windows.
  bool tile() const {
    return !adaptive && kernel == stride && padding == 0 && dilation == 1 && size == count * stride;
  }
  bool trivial() const { return tile() && kernel.is_const(1); }
};

/// The pooled dims are the last; `first` is the first of them.
struct Pooling {
  int64_t first = 0;
  std::vector<Windows> dims;

  Sym kernel() const {
    Sym n = 1;
    for (const Windows& w : dims) n *= w.kernel;
    return n;
  }
};

bool few(const Sym& n, int64_t most = kMaxTaps) { return n.is_const() && n.value() <= most; }

std::vector<Sym> pooled_sizes(const std::vector<Sym>& sizes, size_t n) {
  return {sizes.end() - static_cast<int64_t>(n), sizes.end()};
}

/// kernel size, stride, padding, and dilation at arguments `at` and following, over the last `n`
/// dims: `from` are their sizes before pooling and `to` after it.
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

/// The most elements that one window of an adaptive pooling holds; a bound where sizes are symbols.
Sym largest_window(const Sym& size, const Sym& count) {
  if (!size.is_const() || !count.is_const()) return ceildiv(size, count) + 1;
  const int64_t n = size.value(), windows = count.value();
  int64_t largest = 0;
  for (int64_t o = 0; o < windows; ++o)
    largest = std::max(largest, ((o + 1) * n + windows - 1) / windows - o * n / windows);
  return largest;
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

Expr size_of(Builder& b, const Sym& n) { return number(b, n, DType::i64); }

/// The first element of each window, [count]; negative in the padding.
Expr begins(Builder& b, const Windows& w) {
  const Expr window = iota(b, w.count, DType::i64, 0, 1);
  if (w.adaptive) return floor_div(window * size_of(b, w.size), size_of(b, w.count));
  return window * size_of(b, w.stride) - static_cast<double>(w.padding);
}

/// One behind the last element of each adaptive window, [count].
Expr adaptive_ends(Builder& b, const Windows& w) {
  const Expr next = iota(b, w.count, DType::i64, 0, 1) + 1;
  return floor_div(next * size_of(b, w.size) + size_of(b, w.count - 1), size_of(b, w.count));
}

/// Windows along a dim made a dim of their own behind it, with the places of the elements,
/// [count, kernel], and which of these there are; `all` if every one.
struct Elements {
  Expr place, valid;
  bool all = false;
};

Elements elements(Builder& b, const Windows& w) {
  const Expr offset = iota(b, w.kernel, DType::i64, 1, 2) * static_cast<double>(w.dilation);
  const Expr place = unsqueeze(begins(b, w), 1) + offset;
  if (w.tile()) return {place, {}, true};
  Expr valid = both(place >= 0, place < size_of(b, w.size));
  if (w.adaptive) valid = both(valid, place < unsqueeze(adaptive_ends(b, w), 1));
  return {place, valid};
}

/// `e`, [count, kernel], along dims `dim` and `dim + 1` of a tensor of rank `rank`.
Expr along_pair(const Expr& e, int64_t dim, int rank) {
  std::vector<Sym> sizes(static_cast<size_t>(rank), Sym(1));
  sizes[static_cast<size_t>(dim)] = e.sizes()[0];
  sizes[static_cast<size_t>(dim) + 1] = e.sizes()[1];
  return reshape(e, std::move(sizes));
}

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

/// Calls `visit` with the i-th elements of all windows and with i, dim by dim, in row-major order
/// of i. What windows lack is `fill`.
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

/// A tensor whose pooled dims are each replaced by [count, kernel].
struct Unfolded {
  Expr value;
  std::vector<Elements> at;          // of each pooled dim
  std::vector<int64_t> window_dims;  // the kernel dims

  /// `e`, [count, kernel] of pooled dim `d`, against the value.
  Expr fit(const Expr& e, size_t d) const {
    return along_pair(e, window_dims[d] - 1, value.rank());
  }
};

/// Elements that a window lacks, since it reaches into padding, are `fill`.
Unfolded unfold(const Expr& x, const Pooling& p, const Expr& fill) {
  Unfolded u{x, {}, {}};
  int64_t dim = p.first;
  for (const Windows& w : p.dims) {
    const Elements at = elements(*x.b, w);
    if (at.all) {
      std::vector<Sym> sizes = u.value.sizes();
      sizes[static_cast<size_t>(dim)] = w.count;
      sizes.insert(sizes.begin() + dim + 1, w.kernel);
      u.value = reshape(u.value, std::move(sizes));
    } else {
      const Expr last = size_of(*x.b, w.size - 1);
      u.value = take(u.value, minimum(maximum(at.place, 0), last), dim, false);
    }
    u.at.push_back(at);
    u.window_dims.push_back(dim + 1);
    dim += 2;
  }
  for (size_t d = 0; d < u.at.size(); ++d)
    if (!u.at[d].all) u.value = where(u.fit(u.at[d].valid, d), u.value, fill);
  return u;
}

/// Each window reduced by `op`, sum or max. Windows of several dims that neither have taps nor tile
/// are reduced dim by dim.
Expr reduced(const Expr& x, const Pooling& p, ReduceOp op) {
  if (few(p.kernel())) {
    const ScalarOp combine = op == ReduceOp::sum ? ScalarOp::add : ScalarOp::maximum;
    Expr total;
    for_each_tap(x, p, reduce_identity(op, x.dtype()),
                 [&](const Expr& tap, const std::vector<int64_t>&) {
                   total = total.b ? apply(combine, total, tap) : tap;
                 });
    return total;
  }
  const bool tiles =
      std::all_of(p.dims.begin(), p.dims.end(), [](const Windows& w) { return w.tile(); });
  if (p.dims.size() > 1 && !tiles) {
    Expr y = x;
    for (size_t d = p.dims.size(); d-- > 0;)
      y = reduced(y, {p.first + static_cast<int64_t>(d), {p.dims[d]}}, op);
    return y;
  }
  const Unfolded u = unfold(x, p, neutral(*x.b, op, x.dtype()));
  return reduce(op, u.value, u.window_dims, false);
}

/// How far elements of each pooled dim are apart in a row-major plane of them.
std::vector<Sym> plane_strides(const Pooling& p) {
  std::vector<Sym> strides(p.dims.size(), Sym(1));
  for (size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * p.dims[d].size;
  return strides;
}

/// The dtype to compute places in a plane in: i32, of which a vector holds more, where it suffices.
DType place_dtype(const Pooling& p) {
  Sym plane = 1;
  for (const Windows& w : p.dims) plane *= w.size;
  const bool small = plane.is_const() && plane.value() < std::numeric_limits<int32_t>::max() / 2;
  return small ? DType::i32 : DType::i64;
}

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
    place = place + u.fit(u.at[d].place * size_of(b, strides[d]), d);
    if (!u.at[d].all) candidate = both(candidate, u.fit(u.at[d].valid, d));
  }
  const Expr behind = size_of(b, std::numeric_limits<int64_t>::max());
  Expr first = reduce(ReduceOp::min, where(candidate, place, behind), u.window_dims, false);
  const Expr largest = reduce(ReduceOp::max, u.value, u.window_dims, false);
  if (is_float(x.dtype()))
    first =
        where(isnan(largest), amax(where(isnan(u.value), place, -1), u.window_dims, false), first);
  return {largest, first};
}

/// Results without elements, or sums of none.
void empty(AtenCall& c) {
  for (int k = 0; k < c.results(); ++k)
    if (c.wanted(k)) c.done(full(c.b, 0, c.out(k).dtype, c.out(k).sizes), k);
}

void max_pool(AtenCall& c, const Pooling& p) {
  const Expr x = c.expr(0);
  if (c.out(c.wanted(0) ? 0 : 1).numel().is_const(0)) return empty(c);
  if (!c.wanted(1)) return c.done(reduced(x, p, ReduceOp::max));
  const auto [best, place] = few(p.kernel()) ? largest_of_taps(x, p) : largest_of_windows(x, p);
  if (c.wanted(0)) c.done(best, 0);
  c.done(place, 1);
}

/// The number by which each window's sum is divided, broadcast against the result.
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

/// `x` divided by the number of elements of each window, of which `x` has one element each.
Expr averaged(const Expr& x, const Expr& n) {
  return apply(is_float(x.dtype()) ? ScalarOp::div : ScalarOp::trunc_div, x, n);
}

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
    int64_t behind =
        0;  // windows that would begin behind the last one, but for elements in their stride
    if (w.kernel.is_const() && w.stride.is_const()) {
      const int64_t stride = w.stride.value(), span = (w.kernel.value() - 1) * w.dilation + 1;
      behind = std::max<int64_t>(0, (span - w.padding - 2 + stride) / stride);
    }
    std::vector<Expr> next;
    for (const Expr& tap : taps) {
      Expr line = before + behind > 0 ? pad_zeros(tap, dim, before, behind) : tap;
      if (!w.stride.is_const(1)) {
        line = unsqueeze(line, dim + 1);
        std::vector<Sym> sizes = line.sizes();
        sizes[static_cast<size_t>(dim) + 1] = w.stride;
        line = expand(line, sizes);
        sizes[static_cast<size_t>(dim)] *= w.stride;
        sizes.erase(sizes.begin() + dim + 1);
        line = reshape(line, sizes);
      }
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
  if (!few(taps)) {
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

/// Dividing by `divisor_override` (argument i) or by the number of elements.
Expr divisor_or(AtenCall& c, int i, const Pooling& p, bool count_padding, DType t) {
  if (c.none(i)) return divisor(c.b, p, count_padding, t, c.out().rank());
  return number(c.b, c.sym(i), t);
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
  const Expr g = c.expr(0, t), places = c.expr(indices, DType::i64);
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
    const Sym plane = product(pooled_sizes(sizes, n));
    sizes.resize(sizes.size() - n);
    sizes.push_back(plane);
    return reshape(e, sizes);
  };
  const Expr base = flat(full(c.b, 0, t, c.out().sizes));
  const Attrs attrs{{"dim", Sym(base.rank() - 1)}, {"mode", std::string("add")}};
  const Expr out{&c.b, c.b.emit(Op::scatter, {base.v, flat(places).v, flat(g).v}, attrs)};
  c.done(reshape(out, c.out().sizes));
}

/// self, kernel size, stride, padding, ceil mode, padding counts, divisor
template <int n>
void avg_pool(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.out().dtype));
  if (c.out().numel().is_const(0)) return empty(c);
  const Pooling p = sliding(c, n, 1, 4, false, x.sizes(), c.out().sizes);
  c.done(averaged(reduced(x, p, ReduceOp::sum), divisor_or(c, 6, p, c.flag(5), x.dtype())));
}

/// grad, self, and the arguments of avg_pool
template <int n>
void avg_pool_backward(AtenCall& c) {
  if (c.out().numel().is_const(0)) return empty(c);
  const Pooling p = sliding(c, n, 2, 5, false, c.out().sizes, c.expr(0).sizes());
  avg_pool_backward(c, p, divisor_or(c, 7, p, c.flag(6), compute_dtype(c.out().dtype)));
}

/// self, output size
template <int n>
void adaptive_avg_pool(AtenCall& c) {
  const Expr x = c.expr(0, compute_dtype(c.out().dtype));
  if (c.out().numel().is_const(0)) return empty(c);
  const Pooling p = adaptive(n, x.sizes(), c.out().sizes);
  c.done(averaged(reduced(x, p, ReduceOp::sum), divisor(c.b, p, true, x.dtype(), x.rank())));
}

/// grad, self
template <int n>
void adaptive_avg_pool_backward(AtenCall& c) {
  if (c.expr(0).b->type(c.expr(0).v).numel().is_const(0)) return empty(c);
  const Pooling p = adaptive(n, c.out().sizes, c.expr(0).sizes());
  avg_pool_backward(c, p, divisor(c.b, p, true, compute_dtype(c.out().dtype), c.out().rank()));
}

}  // namespace

std::vector<AtenRule> pooling_rules() {
  return {
      {"aten.max_pool2d_with_indices.default", max_pool<2>},
      {"aten.max_pool3d_with_indices.default", max_pool<3>},
      {"aten.max_pool2d_with_indices_backward.default", max_pool_backward<2, 7>},
      {"aten.max_pool3d_with_indices_backward.default", max_pool_backward<3, 7>},
      {"aten.adaptive_max_pool2d.default", adaptive_max_pool<2>},
      {"aten.adaptive_max_pool3d.default", adaptive_max_pool<3>},
      {"aten.adaptive_max_pool2d_backward.default", max_pool_backward<2, 2>},
      {"aten.adaptive_max_pool3d_backward.default", max_pool_backward<3, 2>},
      {"aten.fractional_max_pool2d_backward.default", max_pool_backward<2, 4>},
      {"aten.fractional_max_pool3d_backward.default", max_pool_backward<3, 4>},
      {"aten.avg_pool2d.default", avg_pool<2>},
      {"aten.avg_pool3d.default", avg_pool<3>},
      {"aten.avg_pool2d_backward.default", avg_pool_backward<2>},
      {"aten.avg_pool3d_backward.default", avg_pool_backward<3>},
      {"aten._adaptive_avg_pool2d.default", adaptive_avg_pool<2>},
      {"aten._adaptive_avg_pool3d.default", adaptive_avg_pool<3>},
      {"aten._adaptive_avg_pool2d_backward.default", adaptive_avg_pool_backward<2>},
      {"aten._adaptive_avg_pool3d_backward.default", adaptive_avg_pool_backward<3>},
  };
}

}  // namespace ourjit
