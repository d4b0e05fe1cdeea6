#include "passes/moments.h"

#include "passes/facts.h"

namespace ourjit {
namespace {

Moments centred(const Expr& x, const std::vector<int64_t>& dims) {
  const Expr centre = mean(x, dims);
  const Expr deviation = x - centre;
  return {centre, sum(deviation * deviation, dims)};
}

/// The first element of each row; 0 in place of one that is not finite, and where there is none.
Expr first(const Expr& x, const std::vector<int64_t>& dims) {
  Expr e = x;
  for (const int64_t d : dims) {
    const bool may_be_empty = !e.sizes()[static_cast<size_t>(d)].is_const();
    e = narrow(may_be_empty ? pad_zeros(e, d, 0, 1) : e, d, 0, 1);
  }
  return where(abs(e) < kInfinity, e, 0);
}

/// One pass over deviations d from an element of the row. Of n elements it is at most sqrt(n)
/// standard deviations from the mean, so that sum(d^2) - sum(d)^2 / n loses at most log2(n) of the
/// 53 bits of f64: nothing of a narrower x.
Moments shifted(const Expr& x, const std::vector<int64_t>& dims) {
  const Expr shift = cast(first(x, dims), DType::f64);
  const Expr d = cast(x, DType::f64) - shift;
  const Expr centre = mean(d, dims), n = number(*x.b, count(x, dims), DType::f64);
  return {shift + centre, maximum(sum(d * d, dims) - n * centre * centre, 0)};
}

}  // namespace

Moments moments(const Expr& x, const std::vector<int64_t>& dims, DType accumulated) {
  if (x.dtype() == DType::f64 || !is_long_row(count(x, dims)))
    return centred(cast(x, accumulated), dims);
  const Moments m = shifted(x, dims);
  return {cast(m.mean, accumulated), cast(m.squares, accumulated)};
}

}  // namespace ourjit
