#include <map>

#include "graph/builder.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

constexpr size_t kMaxNodes = 16;   // computed again, for each gather
constexpr size_t kMaxGathers = 4;  // in place of one

/// One element of each row along a dim, of a value that pointwise operators compute.
class Sinker {
 public:
  Sinker(Builder& b, ValueId index, const TensorType& from, size_t dim)
      : b_(b), index_(index), from_(from), dim_(dim) {}

  /// True if the elements of `v` can be computed from a few that are gathered.
  bool can(ValueId v) {
    if (!seen_.emplace(v, -1).second || row(v) || seen_.size() > kMaxNodes)
      return seen_.size() <= kMaxNodes;
    const Node* n = b_.graph().def(v);
    if (!n || !is_pointwise(n->op)) return ++gathers_ <= kMaxGathers;
    for (const ValueId x : n->operands)
      if (!can(x)) return false;
    return true;
  }

  ValueId gathered(ValueId v) {
    if (row(v)) return v;
    ValueId& made = seen_.at(v);
    if (made >= 0) return made;
    const Node* at = b_.graph().def(v);
    if (!at || !is_pointwise(at->op)) {
      const Sym dim(static_cast<int64_t>(dim_));
      return made = b_.emit(Op::gather, {b_.expand(v, from_.sizes), index_}, {{"dim", dim}});
    }
    const Node n = *at;  // nodes move as others are added
    std::vector<ValueId> operands;
    for (const ValueId x : n.operands) operands.push_back(gathered(x));
    return made = b_.emit(n.op, std::move(operands), n.attrs);
  }

 private:
  /// True if `v` is the same along the dim.
  bool row(ValueId v) const {
    const std::vector<Sym>& sizes = b_.type(v).sizes;
    const size_t missing = from_.sizes.size() - sizes.size();
    return dim_ < missing || sizes[dim_ - missing].is_const(1);
  }

  Builder& b_;
  ValueId index_;
  const TensorType& from_;
  size_t dim_;
  std::map<ValueId, ValueId> seen_;  // values met, and what was made for them
  size_t gathers_ = 0;
};

}  // namespace

Graph sink_gathers(const Graph& g, const PassContext&) {
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (n.op != Op::gather) return r.keep(n);
    const ValueId from = r(n.operands[0]), index = r(n.operands[1]);
    const Node* computed = r.b.graph().def(from);
    const auto dim = static_cast<size_t>(int_attr(n, "dim"));
    const TensorType type = r.b.type(from);
    std::vector<Sym> one = type.sizes;
    if (!one.empty()) one[dim] = 1;
    Sinker s(r.b, index, type, dim);
    if (!computed || !is_pointwise(computed->op) || type.sizes.empty() ||
        type.sizes[dim].is_const(1) || r.b.type(index).sizes != one || !s.can(from))
      return r.keep(n);
    r.replace(n, r.b.expand(s.gathered(from), one));
  });
}

}  // namespace ourjit
