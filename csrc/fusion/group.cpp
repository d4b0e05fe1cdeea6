#include "fusion/group.h"

#include <algorithm>

namespace ourjit {
namespace {

constexpr int kMaxInlineConcat = 4;

}  // namespace

std::vector<Sym> kept_dims(const Group& group) {
  std::vector<Sym> out;
  for (size_t i = 0; i < group.dims.size(); ++i)
    if (group.reduced.empty() || !group.reduced[i]) out.push_back(group.dims[i]);
  return out;
}

NodeKind node_kind(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  switch (op_category(n.op)) {
    case OpCategory::Pointwise:
    case OpCategory::Reduce:
      return NodeKind::Member;
    case OpCategory::View:
    case OpCategory::Generate:
    case OpCategory::Gather:
      return NodeKind::Folded;
    case OpCategory::Join:
      return n.op == Op::pad || static_cast<int>(n.operands.size()) <= kMaxInlineConcat
                 ? NodeKind::Folded
                 : NodeKind::Barrier;
    case OpCategory::Call:
    case OpCategory::Scatter:
    case OpCategory::Scan:
    case OpCategory::Mutate:
      return NodeKind::Barrier;
  }
  return NodeKind::Barrier;
}

const std::vector<Sym>& iteration_shape(const Graph& g, const Node& n) {
  const bool reduces = op_category(n.op) == OpCategory::Reduce;
  return g.type(reduces ? n.operands[0] : n.results[0]).sizes;
}

IndexVector domain_variables(const Group& group, SymBounds* bounds) {
  IndexVector vars;
  for (size_t i = 0; i < group.dims.size(); ++i) {
    const std::string name = "d" + std::to_string(i);
    vars.push_back(Sym::symbol(name));
    if (bounds) bounds->set_extent(name, group.dims[i]);
  }
  return vars;
}

std::optional<MemberIndex> member_index(const Graph& g, const Group& group, NodeId n) {
  const std::vector<Sym>& shape = iteration_shape(g, g.node(n));
  const IndexVector vars = domain_variables(group, nullptr);
  if (auto index = align(group.dims, vars, shape)) return MemberIndex{*index, false};
  if (group.reduced.empty()) return std::nullopt;
  IndexVector kept;
  for (size_t i = 0; i < vars.size(); ++i)
    if (!group.reduced[i]) kept.push_back(vars[i]);
  if (auto index = align(kept_dims(group), kept, shape)) return MemberIndex{*index, true};
  return std::nullopt;
}

IndexVector result_index(const Node& n, const IndexVector& index) {
  if (op_category(n.op) != OpCategory::Reduce) return index;
  const std::vector<int64_t> dims = int_list_attr(n, "dims");
  const bool keepdim = n.op == Op::reduce && attr<bool>(n, "keepdim");
  IndexVector out;
  for (size_t i = 0; i < index.size(); ++i) {
    if (std::find(dims.begin(), dims.end(), static_cast<int64_t>(i)) == dims.end())
      out.push_back(index[i]);
    else if (keepdim)
      out.emplace_back(0);
  }
  return out;
}

}  // namespace ourjit
