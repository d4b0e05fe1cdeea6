// Which members are computed where they are read, instead of once into memory.
#include <algorithm>
#include <functional>
#include <set>

#include "fusion/partitioner.h"

namespace ourjit {
namespace {

constexpr int kFoldedReads = 3;  // of a value that several units compute

/// True for pointwise operators of one instruction or two.
bool is_arithmetic(Op op) {
  constexpr Op kOps[] = {Op::add, Op::sub, Op::mul, Op::neg, Op::cast};
  return std::find(std::begin(kOps), std::end(kOps), op) != std::end(kOps);
}

}  // namespace

/// The units that read `v`, through folded nodes too; nothing if it must be in memory for others.
std::optional<Partitioner::Readers> Partitioner::readers(ValueId v) const {
  Readers out;
  Sym read;
  const std::function<bool(ValueId, bool)> scan = [&](ValueId x, bool injective) {
    for (const GraphOutput& o : g_.outputs)
      if (o.value == x) return false;
    for (const NodeId w : users_[static_cast<size_t>(x)]) {
      if (is_folded(w)) {
        const OpCategory category = op_category(node(w).op);
        const bool still = injective && node(w).op != Op::expand &&
                           (category == OpCategory::View || category == OpCategory::Join);
        if (!scan(node(w).results[0], still)) return false;
        continue;
      }
      const Unit& reader = units_[static_cast<size_t>(unit(w))];
      if (reader.barrier >= 0) return false;
      const Sym elements = g_.type(x).numel();
      out.once &= injective && product(iteration_shape(g_, node(w))) == elements;
      read += elements;
      out.units.insert(unit(w));
    }
    return true;
  };
  if (!scan(v, true)) return std::nullopt;
  out.once &= nonnegative(g_.type(v).numel() - read);
  return out;
}

/// True for a step on the way to other values of unit `u`, folded with them.
bool Partitioner::is_step(NodeId n, int u) const {
  if (n < 0 || is_folded(n) || unit(n) != u || !is_arithmetic(node(n).op)) return false;
  const auto r = readers(node(n).results[0]);
  return r && r->units == std::set<int>{u};
}

/// True if reading `n`'s value everywhere by computing it again costs no more bytes and little
/// arithmetic.
bool Partitioner::worth_folding(NodeId n) const {
  const Node& node = g_.node(n);
  if (!is_pointwise(node.op) || node.op == Op::rand_uniform || node.op == Op::rand_normal)
    return false;
  const int u = unit(n);
  const ValueId v = node.results[0];
  const auto r = readers(v);
  if (!r || r->units.empty() || r->units == std::set<int>{u}) return false;
  const bool cheap = is_arithmetic(node.op);
  if (r->units.count(u) && !cheap) return false;
  int reads = 0;
  int64_t bytes = 0;
  bool small = true, in_memory = true;
  const std::function<void(const Node&)> weigh = [&](const Node& of) {
    for (const ValueId x : of.operands) {
      const NodeId d = def(x);
      if (d >= 0 &&
          ((is_folded(d) && is_pointwise(this->node(d).op)) || (cheap && is_step(d, u)))) {
        weigh(this->node(d));
        continue;
      }
      const auto outside = [&](ValueId y) { in_memory &= def(y) < 0 || unit(def(y)) != u; };
      if (d >= 0 && is_folded(d))
        leaves(d, outside);
      else
        outside(x);
      ++reads;
      const Sym mine = g_.type(v).numel(), its = g_.type(x).numel();
      if (its == mine)
        bytes += dtype_bytes(g_.type(x).dtype);
      else if (!its.is_const(1))
        small &= its.is_const() && mine.is_const() && its.value() * 8 <= mine.value();
    }
  };
  weigh(node);
  if (!in_memory) return false;
  if (r->once && r->units.size() == 1) return reads <= 8;
  return small && bytes <= dtype_bytes(g_.type(v).dtype) && reads <= kFoldedReads;
}

void Partitioner::fold(NodeId n) {
  const int u = unit(n);
  std::erase(units_[static_cast<size_t>(u)].group.members, n);
  for (const ValueId x : node(n).operands)
    if (const NodeId d = def(x); is_step(d, u)) fold(d);
  folded_[static_cast<size_t>(n)] = true;
}

void Partitioner::fold_cheap_members() {
  if (!options_.fuse) return;
  // In graph order, so that a folded value's own leaves are decided before it.
  for (size_t i = 0; i < g_.nodes.size(); ++i) {
    const auto n = static_cast<NodeId>(i);
    if (!is_folded(n) && node_kind(g_, n) == NodeKind::Member && worth_folding(n)) fold(n);
  }
}

}  // namespace ourjit
