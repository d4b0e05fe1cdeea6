#include <algorithm>

#include "graph/builder.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

using Sizes = std::vector<Sym>;

/// Two factors of a product over their last two dims, and leading dims that both have.
struct Factors {
  ValueId a, b;
};

/// The value that `v` reshapes if that keeps the last two dims and only merges the ones before;
/// else -1.
ValueId unmerged(const Builder& b, ValueId v) {
  const Node* n = b.graph().def(v);
  if (!n || n->op != Op::reshape) return -1;
  const ValueId x = n->operands[0];
  const Sizes &from = b.type(x).sizes, &to = b.type(v).sizes;
  if (from.size() <= to.size()) return -1;
  const bool kept =
      from[from.size() - 1] == to[to.size() - 1] && from[from.size() - 2] == to[to.size() - 2];
  return kept ? x : -1;
}

/// The factors before their batch dims were merged, if they were and agree: what was broadcast
/// along one of them then need not be copied.
Factors split_batch(const Builder& b, Factors f) {
  const Factors inner{unmerged(b, f.a), unmerged(b, f.b)};
  if (inner.a < 0 || inner.b < 0) return f;
  const Sizes &x = b.type(inner.a).sizes, &y = b.type(inner.b).sizes;
  const bool agree = x.size() == y.size() && std::equal(x.begin(), x.end() - 2, y.begin());
  return agree ? inner : f;
}

ValueId transposed(Builder& b, ValueId v) {
  std::vector<int64_t> dims;
  for (int d = 0; d < b.type(v).rank(); ++d) dims.push_back(d);
  std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
  return b.permute(v, dims);
}

/// The product as pointwise work and a sum, -1 where a library does better.
ValueId expand_product(Builder& b, Factors f, bool batched) {
  const Sizes &x = b.type(f.a).sizes, &y = b.type(f.b).sizes;
  const size_t last = x.size() - 1;
  const bool outer = x[last].is_const(1), row = x[last - 1].is_const(1),
             column = y[last].is_const(1);
  if (!outer && !(batched && (row || column))) return -1;
  f = split_batch(b, f);
  const DType dtype = b.type(f.a).dtype, compute = compute_dtype(dtype);
  const auto rank = static_cast<int64_t>(b.type(f.a).rank());
  const ValueId p = b.cast(f.a, compute), q = b.cast(f.b, compute);
  ValueId v = -1;
  if (outer)
    v = b.mul(p, q);
  else if (column)
    v = b.reduce(ReduceOp::sum, b.mul(p, transposed(b, q)), {rank - 1}, true);
  else
    v = b.reduce(ReduceOp::sum, b.mul(transposed(b, p), q), {rank - 2}, true);
  return b.cast(v, dtype);
}

}  // namespace

Graph simplify_matmul(const Graph& g, const PassContext&) {
  return rewrite(g, [](Rewriter& r, const Node& n) {
    const bool bmm = n.op == Op::call && call_target(n) == "aten.bmm.default";
    const bool mm = n.op == Op::call && call_target(n) == "aten.mm.default";
    const bool fits = (bmm || mm) && n.operands.size() == 2 && n.results[0] >= 0 &&
                      is_float(r.old.type(n.results[0]).dtype) &&
                      r.old.type(n.operands[0]).dtype == r.old.type(n.results[0]).dtype;
    if (!fits) return r.keep(n);
    const ValueId v = expand_product(r.b, {r(n.operands[0]), r(n.operands[1])}, bmm);
    if (v < 0) return r.keep(n);
    r.replace(n, r.b.reshape(v, r.old.type(n.results[0]).sizes));
  });
}

}  // namespace ourjit
