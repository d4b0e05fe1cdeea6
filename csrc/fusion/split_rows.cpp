// Column sums that share a group with reductions of long rows.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "fusion/group.h"

namespace ourjit {
namespace {

/// The members that the group's reductions need, those themselves, and its row members.
std::set<NodeId> first_pass(const Graph& g, const Group& group,
                            const std::function<bool(NodeId)>& is_folded) {
  const std::set<NodeId> members(group.members.begin(), group.members.end());
  std::set<NodeId> out;
  std::set<NodeId> seen;
  const std::function<void(NodeId)> need = [&](NodeId n) {
    if (n < 0 || !seen.insert(n).second) return;
    const bool member = members.contains(n);
    if (!member && !is_folded(n)) return;
    if (member) out.insert(n);
    for (const ValueId v : g.node(n).operands) need(g.values[static_cast<size_t>(v)].def);
  };
  for (const NodeId n : group.members)
    if (g.node(n).op == Op::reduce || member_index(g, group, n)->row) need(n);
  return out;
}

/// The group of `members`, of which the first one has the whole iteration domain.
Group group_of(const Graph& g, std::vector<NodeId> members) {
  Group out;
  for (const Sym& s : iteration_shape(g, g.node(members[0])))
    if (!s.is_const(1)) out.dims.push_back(s);
  for (const NodeId n : members) {
    Group next;
    std::string why;
    const bool fits = shape_fits(g, out, n, &next, &why);
    OURJIT_CHECK(fits) << "a part of a group does not fit together: " << why;
    if (g.node(n).op == Op::partial_reduce) next.sinks.push_back(n);
    out = std::move(next);
  }
  std::sort(members.begin(), members.end());
  out.members = std::move(members);
  return out;
}

}  // namespace

std::optional<std::pair<Group, Group>> split_rows(const Graph& g, const Group& group,
                                                  const std::function<bool(NodeId)>& is_folded,
                                                  int64_t kept_row) {
  if (group.sinks.empty() || group.reduced.empty()) return std::nullopt;
  Sym row = 1;
  for (size_t i = 0; i < group.dims.size(); ++i)
    if (group.reduced[i]) row *= group.dims[i];
  if (!row.is_const() || row.value() <= kept_row) return std::nullopt;
  const std::set<NodeId> needed = first_pass(g, group, is_folded);
  std::vector<NodeId> reductions, others, rest;
  for (const NodeId n : group.members) {
    const bool reduces = g.node(n).op == Op::reduce;
    (reduces ? reductions : needed.contains(n) ? others : rest).push_back(n);
  }
  reductions.insert(reductions.end(), others.begin(), others.end());
  return std::pair(group_of(g, std::move(reductions)), group_of(g, std::move(rest)));
}

}  // namespace ourjit
