#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "passes/expr.h"
#include "passes/facts.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

constexpr int64_t kLongRow = 16384;  // one row of this length is one block's work
constexpr int64_t kChunk = 4096;     // wanted
constexpr int64_t kLeastChunk = 1024, kMostChunk = 16384;
constexpr int64_t kVector = 8;  // elements that chunks should be a multiple of

/// A maximum m over the last dim, and sums of exp(x - m) over it.
struct Softmax {
  int64_t chunk;
  ValueId values = -1, maxima = -1;  // in the new graph: of chunks
};

const Node* made_by(const Graph& g, ValueId v, Op op) {
  const Node* d = g.def(v);
  return d && d->op == op ? d : nullptr;
}

bool reduces_last(const Graph& g, const Node& n, std::string_view op) {
  return n.op == Op::reduce && attr<std::string>(n, "op") == op &&
         int_list_attr(n, "dims") == std::vector<int64_t>{g.type(n.operands[0]).rank() - 1};
}

/// The divisor of `n` that is nearest to kChunk, of those within the limits; multiples of kVector
/// first. 0 if there is none.
int64_t chunk_of(int64_t n) {
  int64_t best = 0;
  const auto badness = [](int64_t c) {
    return std::abs(c - kChunk) + (c % kVector ? kMostChunk : 0);
  };
  for (int64_t c = kLeastChunk; c <= kMostChunk; ++c)
    if (n % c == 0 && (best == 0 || badness(c) < badness(best))) best = c;
  return best;
}

/// What `v` is a reshape of.
ValueId before_reshape(const Graph& g, ValueId v) {
  const Node* d = made_by(g, v, Op::reshape);
  return d ? before_reshape(g, d->operands[0]) : v;
}

/// What `v`, which broadcasts along the last dim of `x` and no other, broadcasts from; -1 if it
/// does something else.
ValueId before_broadcast(const Graph& g, ValueId v, const TensorType& x) {
  while (const Node* d = made_by(g, v, Op::expand)) v = d->operands[0];
  std::vector<Sym> sizes = x.sizes;
  sizes.back() = 1;
  // Dims of one element may be missing in front.
  const std::vector<Sym>& have = g.type(v).sizes;
  if (have.size() > sizes.size()) return -1;
  const auto front = sizes.end() - static_cast<int64_t>(have.size());
  const bool same = std::equal(have.begin(), have.end(), front) &&
                    std::all_of(sizes.begin(), front, [](const Sym& n) { return n.is_const(1); });
  return same ? before_reshape(g, v) : -1;
}

/// The maximum that `v` is, or that it is but for 0 in place of an infinite one.
ValueId maximum_of(const Graph& g, ValueId v) {
  const Node* choice = made_by(g, v, Op::where);
  const Node* test =
      choice ? made_by(g, before_reshape(g, choice->operands[0]), Op::isinf) : nullptr;
  if (!test) return v;
  const std::optional<Scalar> zero = splat(g, choice->operands[1]);
  const ValueId m = before_reshape(g, choice->operands[2]);
  return zero && zero->f == 0 && m == before_reshape(g, test->operands[0]) ? m : v;
}

/// A sum of exp(x - m), where m is the maximum of x or 0 in place of an infinite one.
struct SumOfExp {
  ValueId m;
  const Node* maximum;
};

std::optional<SumOfExp> sum_of_exp(const Graph& g, const Node& n) {
  if (!reduces_last(g, n, "sum")) return std::nullopt;
  const Node* e = made_by(g, n.operands[0], Op::exp);
  const Node* distance = e ? made_by(g, e->operands[0], Op::sub) : nullptr;
  if (!distance) return std::nullopt;
  const ValueId x = distance->operands[0];
  const ValueId m = before_broadcast(g, distance->operands[1], g.type(x));
  const Node* max = m < 0 ? nullptr : g.def(maximum_of(g, m));
  if (!max || !reduces_last(g, *max, "max") || max->operands[0] != x) return std::nullopt;
  return SumOfExp{m, max};
}

/// The last dim of `x` as chunks. Casts come after the view, which then moves no memory.
Expr chunks(const Expr& x, int64_t chunk) {
  if (const Node* c = made_by(x.b->graph(), x.v, Op::cast)) {
    const DType t = x.dtype();
    return cast(chunks({x.b, c->operands[0]}, chunk), t);
  }
  return split_dim(x, x.rank() - 1, exact_div(x.sizes().back(), chunk).value(), chunk);
}

Sym rows_of(const TensorType& t) {
  Sym rows = 1;
  for (size_t i = 0; i + 1 < t.sizes.size(); ++i) rows *= t.sizes[i];
  return rows;
}

}  // namespace

Graph split_softmax(const Graph& g, const PassContext& ctx) {
  std::map<ValueId, Softmax> found;  // by the maximum
  for (const Node& n : g.nodes) {
    const auto sum = sum_of_exp(g, n);
    if (!sum) continue;
    const TensorType& t = g.type(sum->maximum->operands[0]);
    const Sym rows = rows_of(t), &length = t.sizes.back();
    if (!rows.is_const() || rows.value() >= ctx.parallel_rows || !length.is_const() ||
        length.value() <= kLongRow)
      continue;
    if (const int64_t chunk = chunk_of(length.value())) found[sum->maximum->results[0]] = {chunk};
  }
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    const auto as_max = n.results.empty() ? found.end() : found.find(n.results[0]);
    if (as_max != found.end()) {
      const Expr x{&r.b, r(n.operands[0])};
      Softmax& s = as_max->second;
      const Expr values = chunks(x, s.chunk);
      const Expr maxima = amax(values, {x.rank()});
      s.values = values.v;
      s.maxima = maxima.v;
      return r.replace(n, reshape(amax(maxima, {x.rank() - 1}), g.type(n.results[0]).sizes).v);
    }
    const auto whole = sum_of_exp(g, n);
    const auto at = whole ? found.find(whole->maximum->results[0]) : found.end();
    if (at == found.end()) return r.keep(n);
    const Expr values{&r.b, at->second.values}, maxima{&r.b, at->second.maxima};
    const int64_t last = values.rank() - 1;
    // A chunk of which all values are -inf has the sum 0.
    const Expr sums = sum(exp(values - where(isinf(maxima), 0, maxima)), {last});
    std::vector<Sym> one = values.sizes();
    one[static_cast<size_t>(last)] = one[static_cast<size_t>(last - 1)] = 1;
    const Expr scales = exp(maxima - reshape({&r.b, r(whole->m)}, one));
    r.replace(n, reshape(sum(sums * scales, {last - 1}), g.type(n.results[0]).sizes).v);
  });
}

}  // namespace ourjit
