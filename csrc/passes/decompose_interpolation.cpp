// Interpolation to other sizes, dim by dim: an element of the result is a weighted sum of a few
// neighbours in the input, and in the backward an element of the input collects from the range of
// results that it is a neighbour of.
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "passes/decompose_rules.h"
#include "passes/indexing.h"

namespace ourjit {
namespace {

enum class Filter { nearest, nearest_exact, linear, cubic };

constexpr int64_t kMaxCollected = 32;  // results that one element is collected from

/// One dim: result o lies at scale * (o + shift) - back of the input, whose elements lie at 0, 1,
/// ..., where scale is `step` or the ratio of the sizes.
struct Resized {
  Filter filter = Filter::nearest;
  Sym size, count;  // of the input and of the result
  bool align_corners = false;
  std::optional<double> step;

  /// Nothing changes. ATen's linear kernels take equal sizes so whatever the scale.
  bool same() const {
    return size == count && (filter == Filter::linear || (is_nearest() && step.value_or(1) == 1));
  }
  double shift() const { return filter == Filter::nearest || align_corners ? 0 : 0.5; }
  double back() const { return filter == Filter::nearest_exact ? 0 : shift(); }
  bool is_nearest() const { return filter == Filter::nearest || filter == Filter::nearest_exact; }
  /// A neighbour of a place is less than this away from it.
  int64_t reach() const { return is_nearest() ? 0 : filter == Filter::linear ? 1 : 2; }
  /// Result o is a copy of element o / 2.
  bool doubles() const {
    return filter == Filter::nearest && count == size * 2 && step.value_or(0.5) == 0.5;
  }
};

Expr scale_of(Builder& b, const Resized& r, DType t) {
  if (r.align_corners) {
    if (r.count.is_const(1)) return number(b, 0, t);
    return number(b, r.size - 1, t) / number(b, r.count - 1, t);
  }
  if (r.step) return cast(number(b, *r.step, DType::f64), t);
  return number(b, r.size, t) / number(b, r.count, t);
}

/// The same number as scale_of() computes, where sizes are known.
double known_scale(const Resized& r) {
  const auto size = static_cast<double>(r.size.value()),
             count = static_cast<double>(r.count.value());
  if (r.align_corners) return count == 1 ? 0 : (size - 1) / (count - 1);
  return r.step ? *r.step : size / count;
}

/// An element of the input, and its weight; without one, 1.
struct Neighbour {
  Expr place;
  std::optional<Expr> weight;
};

/// Convolution coefficients of cubic interpolation with a = -0.75, as OpenCV and ATen have it
/// (https://en.wikipedia.org/wiki/Bicubic_interpolation): at distance x <= 1, and 1 < x < 2.
Expr cubic_near(const Expr& x) { return (1.25 * x - 2.25) * x * x + 1; }
Expr cubic_far(const Expr& x) { return ((-0.75 * x + 3.75) * x - 6) * x + 3; }

/// The neighbours of results `at`, i64 of any shape; `t`: the dtype of weights.
std::vector<Neighbour> neighbours(const Expr& at, const Resized& r, DType t) {
  Builder& b = *at.b;
  const Expr last = number(b, r.size - 1, DType::i64);
  if (r.same()) return {{at, {}}};
  if (r.doubles()) return {{floor_div(at, 2), {}}};
  if (r.is_nearest()) {
    const Expr place = (cast(at, DType::f32) + r.shift()) * scale_of(b, r, DType::f32);
    return {{minimum(cast(floor(place), DType::i64), last), {}}};
  }
  Expr place = (cast(at, t) + r.shift()) * scale_of(b, r, t) - r.back();
  if (r.filter == Filter::linear) place = maximum(place, 0);
  const Expr first = minimum(cast(floor(place), DType::i64), last);
  const Expr beyond = minimum(maximum(place - cast(first, t), 0), 1);
  if (r.filter == Filter::linear) return {{first, 1 - beyond}, {minimum(first + 1, last), beyond}};
  std::vector<Neighbour> all;
  for (int64_t k = -1; k <= 2; ++k) {
    const Expr distance =
        k <= 0 ? beyond - static_cast<double>(k) : static_cast<double>(k) - beyond;
    const Expr weight = k == 0 || k == 1 ? cubic_near(distance) : cubic_far(distance);
    all.push_back({minimum(maximum(first + static_cast<double>(k), 0), last), weight});
  }
  return all;
}

/// By how much a place that a kernel computes in f32 may be off.
double slack(const Resized& r) { return 1e-4 + 5e-7 * static_cast<double>(r.size.value()); }

/// A result before all that element h may be a neighbour of.
double begin_of(const Resized& r, int64_t h) {
  const double place = static_cast<double>(h - r.reach()) + (r.back() - slack(r));
  return std::max(0.0, std::floor(place / known_scale(r) - r.shift()));
}

/// From begin_of() on, the most results that neighbour one element; nullopt unless sizes are known
/// and these are few.
std::optional<int64_t> results_of_element(const Resized& r) {
  if (!r.size.is_const() || !r.count.is_const() || known_scale(r) <= 0) return std::nullopt;
  const int64_t size = r.size.value(), count = r.count.value();
  int64_t most = 0;
  for (int64_t o = 0; o < count; ++o) {
    const double place = known_scale(r) * (static_cast<double>(o) + r.shift()) - r.back();
    // The first element that may have o as a result has the earliest begin.
    const double lowest = std::floor(place - slack(r)) - static_cast<double>(r.reach() == 2);
    const auto first =
        static_cast<int64_t>(std::clamp<double>(lowest, 0, static_cast<double>(size - 1)));
    most = std::max(most, o - static_cast<int64_t>(begin_of(r, first)) + 1);
    if (most > kMaxCollected) return std::nullopt;
  }
  return most;
}

/// [size] i64: what begin_of() gives for each element.
Expr begins(Builder& b, const Resized& r) {
  const Expr h = iota(b, r.size, DType::f64, 0, 1);
  const Expr place = h - static_cast<double>(r.reach()) + (r.back() - slack(r));
  return cast(maximum(floor(place / known_scale(r) - r.shift()), 0), DType::i64);
}

/// How many results in a row are copies of each element, if all elements have as many.
std::optional<Sym> copies(const Resized& r) {
  if (r.doubles()) return Sym(2);
  if (!r.is_nearest() || !r.size.is_const() || !r.count.is_const()) return std::nullopt;
  const int64_t size = r.size.value(), count = r.count.value();
  if (size == 0 || count % size != 0) return std::nullopt;
  const auto scale = static_cast<float>(known_scale(r));
  for (int64_t o = 0; o < count; ++o) {
    const float place = std::floor((static_cast<float>(o) + static_cast<float>(r.shift())) * scale);
    if (std::min(static_cast<int64_t>(place), size - 1) != o / (count / size)) return std::nullopt;
  }
  return Sym(count / size);
}

/// Dim `dim` resized, of `x` in the dtype of weights.
Expr resized(const Expr& x, int64_t dim, const Resized& r) {
  if (r.same()) return x;
  if (const std::optional<Sym> n = copies(r)) return repeat_interleave(x, dim, *n);
  std::optional<Expr> total;
  for (const Neighbour& n : neighbours(iota(*x.b, r.count, DType::i64, 0, 1), r, x.dtype())) {
    Expr part = take(x, n.place, dim, false);
    if (n.weight) part = part * along(*n.weight, dim, x.rank());
    total = total ? *total + part : part;
  }
  return *total;
}

/// The gradient `g` of results along `dim` gathered at the elements that they came from.
Expr collected(const Expr& g, int64_t dim, const Resized& r) {
  Builder& b = *g.b;
  if (r.same()) return g;
  if (const std::optional<Sym> n = copies(r)) {
    if (!n->is_const() || n->value() > kMaxCollected)
      return sum(split_dim(g, dim, r.size, *n), {dim + 1}, false);
    Expr total = {&b, b.slice(g.v, dim, 0, *n, r.size)};
    for (int64_t j = 1; j < n->value(); ++j)
      total = total + Expr{&b, b.slice(g.v, dim, j, *n, r.size)};
    return total;
  }
  const std::optional<int64_t> most = results_of_element(r);
  if (!most) {
    std::vector<Sym> sizes = g.sizes();
    sizes[static_cast<size_t>(dim)] = r.size;
    Expr base = full(b, 0, g.dtype(), sizes);
    for (const Neighbour& n : neighbours(iota(b, r.count, DType::i64, 0, 1), r, g.dtype()))
      base = put(base, dim, {n.place}, n.weight ? g * along(*n.weight, dim, g.rank()) : g, true);
    return base;
  }
  // [size, most]: the results of each element, and what each is worth to it.
  const Expr last = number(b, r.count - 1, DType::i64);
  const Expr at = unsqueeze(begins(b, r), 1) + iota(b, *most, DType::i64, 1, 2);
  const Expr within = minimum(at, last), element = iota(b, r.size, DType::i64, 0, 2);
  Expr weight = number(b, 0, g.dtype());
  for (const Neighbour& n : neighbours(within, r, g.dtype())) {
    const Expr hit = both(eq(n.place, element), at <= last);
    weight = weight + (n.weight ? where(hit, *n.weight, 0) : cast(hit, g.dtype()));
  }
  const auto column = [](const Expr& e, int64_t j) { return squeeze(narrow(e, 1, j, 1), 1); };
  std::optional<Expr> total;
  for (int64_t j = 0; j < *most; ++j) {
    const Expr part =
        take(g, column(within, j), dim, false) * along(column(weight, j), dim, g.rank());
    total = total ? *total + part : part;
  }
  return *total;
}

/// The last `n` dims, whose sizes before and after are `from` and `to`; align_corners, if the
/// filter has it, and scales stand at arguments `at` and following.
std::vector<Resized> resizings(const AtenCall& c, Filter filter, int n, int at,
                               const std::vector<Sym>& from, const std::vector<Sym>& to) {
  const bool nearest = filter == Filter::nearest || filter == Filter::nearest_exact;
  const bool align_corners = !nearest && c.flag(at);
  std::vector<Resized> dims;
  for (int d = 0; d < n; ++d) {
    const size_t dim = from.size() - static_cast<size_t>(n - d);
    const int scale = at + (nearest ? 0 : 1) + d;
    Resized r{filter, from[dim], to[dim], align_corners, {}};
    if (!c.none(scale) && c.real(scale) > 0) r.step = 1 / c.real(scale);
    dims.push_back(r);
  }
  return dims;
}

/// self, output size, align_corners, scales
template <Filter filter, int n>
void forward(AtenCall& c) {
  const bool exact = filter == Filter::nearest || filter == Filter::nearest_exact;
  require(exact || is_float(c.out().dtype), "interpolation between integers");
  Expr x = c.expr(0, exact ? c.out().dtype : compute_dtype(c.out().dtype));
  const std::vector<Resized> dims = resizings(c, filter, n, 2, x.sizes(), c.out().sizes);
  // Of images that keep their sizes ATen makes copies whatever the scales.
  if (exact && n == 2 && x.sizes() == c.out().sizes) return c.done(x);
  for (size_t d = dims.size(); d-- > 0;)
    x = resized(x, x.rank() - n + static_cast<int64_t>(d), dims[d]);
  c.done(x);
}

/// grad, output size, input size, align_corners, scales
template <Filter filter, int n>
void backward(AtenCall& c) {
  Expr g = c.expr(0, compute_dtype(c.out().dtype));
  std::vector<Resized> dims = resizings(c, filter, n, 3, c.out().sizes, g.sizes());
  // ATen's backward takes these for exact, whatever the scales.
  for (Resized& r : dims)
    if (filter == Filter::nearest && (r.size == r.count || r.count == r.size * 2)) r.step.reset();
  for (size_t d = dims.size(); d-- > 0;)
    g = collected(g, g.rank() - n + static_cast<int64_t>(d), dims[d]);
  c.done(g);
}

}  // namespace

std::vector<AtenRule> interpolation_rules() {
  using F = Filter;
  return {
      {"aten.upsample_nearest1d.default", forward<F::nearest, 1>},
      {"aten.upsample_nearest2d.default", forward<F::nearest, 2>},
      {"aten.upsample_nearest3d.default", forward<F::nearest, 3>},
      {"aten._upsample_nearest_exact1d.default", forward<F::nearest_exact, 1>},
      {"aten._upsample_nearest_exact2d.default", forward<F::nearest_exact, 2>},
      {"aten._upsample_nearest_exact3d.default", forward<F::nearest_exact, 3>},
      {"aten.upsample_linear1d.default", forward<F::linear, 1>},
      {"aten.upsample_bilinear2d.default", forward<F::linear, 2>},
      {"aten.upsample_trilinear3d.default", forward<F::linear, 3>},
      {"aten.upsample_bicubic2d.default", forward<F::cubic, 2>},
      {"aten.upsample_nearest1d_backward.default", backward<F::nearest, 1>},
      {"aten.upsample_nearest2d_backward.default", backward<F::nearest, 2>},
      {"aten.upsample_nearest3d_backward.default", backward<F::nearest, 3>},
      {"aten._upsample_nearest_exact1d_backward.default", backward<F::nearest_exact, 1>},
      {"aten._upsample_nearest_exact2d_backward.default", backward<F::nearest_exact, 2>},
      {"aten._upsample_nearest_exact3d_backward.default", backward<F::nearest_exact, 3>},
      {"aten.upsample_linear1d_backward.default", backward<F::linear, 1>},
      {"aten.upsample_bilinear2d_backward.default", backward<F::linear, 2>},
      {"aten.upsample_trilinear3d_backward.default", backward<F::linear, 3>},
      {"aten.upsample_bicubic2d_backward.default", backward<F::cubic, 2>},
  };
}

}  // namespace ourjit
