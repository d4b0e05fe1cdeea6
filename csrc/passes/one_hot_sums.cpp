#include "passes/one_hot_sums.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "passes/expr.h"
#include "passes/facts.h"

namespace ourjit {
namespace {

constexpr size_t kMaxNodes = 16;  // computed again, for both kinds of elements

/// The elements of a value along a dim. Dims count from the end here, from 1 on: so they are the
/// same ones in all that broadcasts.
class OneHot {
 public:
  OneHot(Builder& b, int64_t dim, Sym positions)
      : b_(b), dim_(dim), positions_(std::move(positions)) {}

  /// True if `v` has one value where position == index, for one index, and one elsewhere.
  bool fits(ValueId v) {
    if (one(v) || !seen_.insert(v).second) return true;
    const Node* n = b_.graph().def(v);
    if (!n || seen_.size() > kMaxNodes) return false;
    if (n->op == Op::expand) return fits(n->operands[0]);
    if (const std::optional<ValueId> i = compared_with(*n)) {
      if (index_ && index_ != i) return false;
      index_ = i;
      return true;
    }
    return is_pointwise(n->op) &&
           std::all_of(n->operands.begin(), n->operands.end(), [&](ValueId x) { return fits(x); });
  }

  std::optional<ValueId> index() const { return index_; }

  /// The value of `v`, which fits, where position == index or where not.
  ValueId element(ValueId v, bool here) {
    if (const std::optional<ValueId> same = one(v)) return *same;
    std::map<ValueId, ValueId>& made = made_[here];
    if (const auto it = made.find(v); it != made.end()) return it->second;
    return made[v] = computed(*b_.graph().def(v), here);
  }

 private:
  /// `n` is a copy: nodes move as others are added.
  ValueId computed(const Node n, bool here) {
    if (n.op == Op::expand) return element(n.operands[0], here);
    if (compared_with(n)) return constant(b_, Scalar::integer(DType::boolean, here)).v;
    std::vector<ValueId> x;
    for (const ValueId v : n.operands) x.push_back(element(v, here));
    const std::optional<Scalar> first = splat(b_.graph(), x[0]);
    if (n.op == Op::where && first) return first->truth() ? x[1] : x[2];
    if (n.op == Op::bitwise_and && first && is_bool(first->dtype))
      return first->truth() ? x[1] : x[0];
    if (n.op == Op::cast && first) {
      const DType t = b_.type(n.results[0]).dtype;
      if (is_float(t) && first->is_float() && first->f == 0) return b_.constant(first->f, t);
    }
    return b_.emit(n.op, std::move(x), n.attrs);
  }

  const Sym* size(ValueId v) const {
    const auto& sizes = b_.type(v).sizes;
    const auto rank = static_cast<int64_t>(sizes.size());
    return dim_ <= rank ? &sizes[static_cast<size_t>(rank - dim_)] : nullptr;
  }

  /// What `v` broadcasts from, if it has one element along the dim.
  std::optional<ValueId> one(ValueId v) const {
    const Sym* n = size(v);
    if (!n || n->is_const(1)) return v;
    const Node* d = b_.graph().def(v);
    return d && d->op == Op::expand ? one(d->operands[0]) : std::nullopt;
  }

  /// True if each element of `v` is its position along the dim.
  bool is_position(ValueId v) const {
    const Node* d = b_.graph().def(v);
    if (!d || !size(v) || *size(v) != positions_) return false;
    if (d->op == Op::expand) return is_position(d->operands[0]);
    if (d->op == Op::iota) return dim_ == 1;
    if (d->op != Op::reshape) return false;
    const Node* from = b_.graph().def(d->operands[0]);
    const auto& sizes = b_.type(v).sizes;
    return from && from->op == Op::iota &&
           std::count_if(sizes.begin(), sizes.end(), [](const Sym& s) { return !s.is_const(1); }) ==
               1;
  }

  /// The index if `n` is `position == index`.
  std::optional<ValueId> compared_with(const Node& n) const {
    if (n.op != Op::eq) return std::nullopt;
    const size_t at = is_position(n.operands[0]) ? 0 : 1;
    const ValueId other = n.operands[1 - at];
    if (!is_position(n.operands[at]) || b_.type(other).dtype != DType::i64) return std::nullopt;
    return one(other);
  }

  Builder& b_;
  int64_t dim_;
  Sym positions_;
  std::set<ValueId> seen_;
  std::map<ValueId, ValueId> made_[2];
  std::optional<ValueId> index_;
};

}  // namespace

ValueId sum_of_one_hot(Rewriter& r, const Node& n) {
  const std::vector<int64_t> dims = int_list_attr(n, "dims");
  const TensorType of = r.old.type(n.operands[0]), &result = r.old.type(n.results[0]);
  if (attr<std::string>(n, "op") != "sum" || dims.size() != 1 || !is_float(of.dtype)) return -1;
  const Sym positions = of.sizes[static_cast<size_t>(dims[0])];
  OneHot row(r.b, of.rank() - dims[0], positions);
  const ValueId x = r(n.operands[0]);
  if (!row.fits(x) || !row.index()) return -1;
  const Expr index{&r.b, *row.index()};
  const Expr there = cast({&r.b, row.element(x, true)}, result.dtype);
  const Expr elsewhere = cast({&r.b, row.element(x, false)}, result.dtype);
  const Expr inside = both(index >= 0.0, index < number(r.b, positions, DType::i64));
  const std::optional<Scalar> nothing = splat(r.b.graph(), elsewhere.v);
  const auto times = [&](const Sym& count) { return elsewhere * number(r.b, count, result.dtype); };
  const Expr sum = nothing && nothing->f == 0
                       ? where(inside, there, 0)
                       : where(inside, there + times(positions - 1), times(positions));
  std::vector<Sym> kept = of.sizes;
  kept[static_cast<size_t>(dims[0])] = 1;
  return reshape(expand(sum, kept), result.sizes).v;
}

}  // namespace ourjit
