#include "passes/one_hot_sums.h"

#include <algorithm>
#include <optional>

#include "passes/expr.h"
#include "passes/facts.h"

namespace ourjit {
namespace {

/// Dims count from the end here, from 1 on: so they are the same ones in all that broadcasts.
struct Along {
  const Graph& g;
  int64_t dim;

  const Sym* size(ValueId v) const {
    const auto& sizes = g.type(v).sizes;
    const auto rank = static_cast<int64_t>(sizes.size());
    return dim <= rank ? &sizes[static_cast<size_t>(rank - dim)] : nullptr;
  }

  /// What `v` broadcasts from, if it has one element along the dim.
  std::optional<ValueId> one(ValueId v) const {
    const Sym* n = size(v);
    if (!n || n->is_const(1)) return v;
    const Node* d = g.def(v);
    return d && d->op == Op::expand ? one(d->operands[0]) : std::nullopt;
  }

  /// True if each element of `v` is its position along the dim.
  bool is_position(ValueId v) const {
    const Node* d = g.def(v);
    if (!d || !size(v)) return false;
    if (d->op == Op::expand) return is_position(d->operands[0]);
    if (d->op == Op::iota) return dim == 1;
    if (d->op != Op::reshape) return false;
    const Node* from = g.def(d->operands[0]);
    if (!from || from->op != Op::iota) return false;
    const auto& sizes = g.type(v).sizes;
    const auto others =
        std::count_if(sizes.begin(), sizes.end(), [](const Sym& s) { return !s.is_const(1); });
    return others == 1 && *size(v) == g.type(d->operands[0]).sizes[0];
  }
};

/// Splits `a & b & c` into its parts.
std::vector<ValueId> conditions(const Graph& g, ValueId v) {
  const Node* d = g.def(v);
  if (d && d->op == Op::expand) return conditions(g, d->operands[0]);
  if (!d || d->op != Op::bitwise_and) return {v};
  std::vector<ValueId> all = conditions(g, d->operands[0]);
  const std::vector<ValueId> more = conditions(g, d->operands[1]);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

ValueId sum_of_one_hot(Rewriter& r, const Node& n) {
  if (n.op != Op::reduce || attr<std::string>(n, "op") != "sum") return -1;
  const std::vector<int64_t> dims = int_list_attr(n, "dims");
  const TensorType of = r.old.type(n.operands[0]);
  if (dims.size() != 1 || !is_float(of.dtype)) return -1;
  const Along along{r.b.graph(), of.rank() - dims[0]};
  std::vector<DType> casts;  // of the element that is not zero, the last one first
  const Node* d = along.g.def(r(n.operands[0]));
  for (; d && d->op == Op::cast; d = along.g.def(d->operands[0])) {
    const DType t = along.g.type(d->results[0]).dtype;
    if (!is_float(t)) return -1;
    casts.push_back(t);
  }
  if (!d || d->op != Op::where || !is_float(along.g.type(d->results[0]).dtype)) return -1;
  const std::optional<Scalar> otherwise = splat(along.g, d->operands[2]);
  const std::optional<ValueId> x = along.one(d->operands[1]);
  if (!x || !otherwise || otherwise->f != 0) return -1;
  std::optional<ValueId> index;
  std::vector<ValueId> others;
  for (const ValueId c : conditions(along.g, d->operands[0])) {
    if (const std::optional<ValueId> same = along.one(c)) {
      others.push_back(*same);
      continue;
    }
    const Node* eq = along.g.def(c);
    if (index || !eq || eq->op != Op::eq) return -1;
    const int at = along.is_position(eq->operands[0]) ? 0 : 1;
    if (!along.is_position(eq->operands[static_cast<size_t>(at)])) return -1;
    index = along.one(eq->operands[static_cast<size_t>(1 - at)]);
    if (!index) return -1;
  }
  if (!index) return -1;
  const Expr i{&r.b, *index};
  if (i.dtype() != DType::i64) return -1;
  const Sym positions = of.sizes[static_cast<size_t>(dims[0])];
  Expr hit = both(i >= 0.0, i < number(r.b, positions, DType::i64));
  for (const ValueId c : others) hit = both(hit, {&r.b, c});
  Expr sum = where(hit, Expr{&r.b, *x}, 0);
  for (auto t = casts.rbegin(); t != casts.rend(); ++t) sum = cast(sum, *t);
  const TensorType& result = r.old.type(n.results[0]);
  std::vector<Sym> kept = of.sizes;
  kept[static_cast<size_t>(dims[0])] = 1;
  return reshape(expand(cast(sum, result.dtype), kept), result.sizes).v;
}

}  // namespace ourjit
