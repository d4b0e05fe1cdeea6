#include <algorithm>
#include <functional>
#include <set>
#include <span>

#include "base/error.h"
#include "fusion/partitioner.h"

namespace ourjit {
namespace {

constexpr int kMaxRecomputed =
    12;  // nodes computed again to read a value elsewhere than where it is made

constexpr size_t kMaxReadersTried = 32;  // groups that read the same memory as a node

/// Of units that read a value, those to try: the others are far away in the program.
std::span<const int> latest(const std::vector<int>& units) {
  return std::span(units).last(std::min(units.size(), kMaxReadersTried));
}

}  // namespace

Fusion Partitioner::run() {
  for (size_t n = 0; n < g_.nodes.size(); ++n) place(static_cast<NodeId>(n));
  fold_cheap_members();
  merge_siblings();
  if (split_long_rows()) fold_cheap_members();
  return finish();
}

/// Units whose results `reads` are, and for mutation the units that must have read the target
/// before.
void Partitioner::depend(int u, const std::set<ValueId>& reads, NodeId n) {
  for (const ValueId v : reads)
    if (const NodeId d = def(v); d >= 0) order_.depend(u, unit(d));
  if (node(n).op == Op::copy_to) {
    leaves(n, [&](ValueId v) {
      for (const int w : readers_[v]) order_.depend(u, w);
    });
  }
  for (const ValueId v : reads)
    if (units_[static_cast<size_t>(u)].reads.insert(v).second) readers_[v].push_back(u);
}

int Partitioner::new_unit(NodeId n, const std::set<ValueId>& reads) {
  const int u = order_.add();
  units_.emplace_back();
  unit_of_[static_cast<size_t>(n)] = u;
  Unit& unit = units_.back();
  if (node_kind(g_, n) == NodeKind::Barrier) {
    unit.barrier = n;
  } else {
    Group& group = unit.group;
    Group empty;
    for (const Sym& s : iteration_shape(g_, node(n)))
      if (!s.is_const(1)) empty.dims.push_back(s);
    std::string why;
    const bool fits = shape_fits(g_, empty, n, &group, &why);
    OURJIT_CHECK(fits) << "node " << op_name(node(n).op) << " does not fit its own shape: " << why;
    group.members.push_back(n);
    if (node(n).op == Op::partial_reduce) group.sinks.push_back(n);
  }
  depend(u, reads, n);
  return u;
}

void Partitioner::place(NodeId n) {
  const NodeKind kind = node_kind(g_, n);
  if (kind == NodeKind::Folded) return;
  const std::set<ValueId> reads = leaf_set(n);
  if (kind == NodeKind::Member && options_.fuse) {
    // Producers first, the latest first; then units that read the same memory.
    std::set<int, std::greater<>> producers, readers;
    for (const ValueId v : reads) {
      const NodeId d = def(v);
      if (d >= 0 && units_[static_cast<size_t>(unit(d))].barrier < 0) producers.insert(unit(d));
      if (g_.type(v).numel() == product(iteration_shape(g_, node(n))))
        for (const int u : latest(readers_[v]))
          if (units_[static_cast<size_t>(u)].barrier < 0) readers.insert(u);
    }
    for (const auto* candidates : {&producers, &readers})
      for (const int u : *candidates) {
        std::string why;
        if (try_join(n, u, reads, &why)) {
          merge_into(u, producers);
          merge_into(u, readers);
          return;
        }
        if (candidates == &producers)
          not_fused_.push_back({units_[static_cast<size_t>(u)].group.members.back(), n, why});
      }
  }
  new_unit(n, reads);
}

void Partitioner::merge_into(int u, const std::set<int, std::greater<>>& others) {
  for (const int w : others)
    if (w != u && !units_[static_cast<size_t>(w)].group.members.empty()) try_merge(u, w);
}

/// Makes one group of two that a new member of `u` has in common.
bool Partitioner::try_merge(int u, int w) {
  Unit &into = units_[static_cast<size_t>(u)], &from = units_[static_cast<size_t>(w)];
  if (into.group.members.size() + from.group.members.size() >
      static_cast<size_t>(options_.max_members))
    return false;
  std::set<ValueId> reads = into.reads;
  reads.insert(from.reads.begin(), from.reads.end());
  if (static_cast<int>(reads.size()) > options_.max_buffers) return false;
  if (order_.something_between(u, w)) return false;
  std::vector<NodeId> members = into.group.members;
  members.insert(members.end(), from.group.members.begin(), from.group.members.end());
  std::sort(members.begin(), members.end());
  Group joined = into.group;
  std::string why;
  for (const NodeId n : from.group.members) {
    Group next;
    if (!shape_fits(g_, joined, n, &next, &why)) return false;
    if (node(n).op == Op::partial_reduce) next.sinks.push_back(n);
    joined = std::move(next);
  }
  joined.members = members;
  for (const NodeId n : from.group.members) unit_of_[static_cast<size_t>(n)] = u;
  for (const NodeId n : members)
    if (!reads_fit(joined, u, n, &why)) {
      for (const NodeId m : from.group.members) unit_of_[static_cast<size_t>(m)] = w;
      return false;
    }
  into.group = std::move(joined);
  order_.merge(u, w);
  for (const ValueId v : from.reads) {
    std::vector<int>& units = readers_[v];
    const auto at = std::find(units.begin(), units.end(), w);
    if (std::find(units.begin(), units.end(), u) == units.end())
      *at = u;
    else
      units.erase(at);
  }
  into.reads.insert(from.reads.begin(), from.reads.end());
  from = Unit{};
  return true;
}

bool Partitioner::try_join(NodeId n, int u, const std::set<ValueId>& reads, std::string* why) {
  Unit& unit = units_[static_cast<size_t>(u)];
  for (const ValueId v : reads) {
    const NodeId d = def(v);
    const int w = d < 0 ? -1 : this->unit(d);
    if (w >= 0 && w != u && order_.is_after(w, u)) {
      *why = "it also needs %" + g_.values[static_cast<size_t>(v)].name +
             ", which is computed from this group outside of it";
      return false;
    }
  }
  if (static_cast<int>(unit.group.members.size()) >= options_.max_members) {
    *why = "the group has " + std::to_string(options_.max_members) + " members already";
    return false;
  }
  std::set<ValueId> all = unit.reads;
  all.insert(reads.begin(), reads.end());
  if (static_cast<int>(all.size()) > options_.max_buffers) {
    *why = "the group would read more than " + std::to_string(options_.max_buffers) + " buffers";
    return false;
  }
  Group joined;
  if (!shape_fits(g_, unit.group, n, &joined, why)) return false;
  if (!reads_fit(joined, u, n, why)) return false;
  joined.members.push_back(n);
  if (node(n).op == Op::partial_reduce) joined.sinks.push_back(n);
  unit.group = std::move(joined);
  unit_of_[static_cast<size_t>(n)] = u;
  depend(u, reads, n);
  return true;
}

bool Partitioner::reads_fit(const Group& joined, int u, NodeId n, std::string* why) const {
  SymBounds bounds;
  domain_variables(joined, &bounds);
  const auto at = member_index(g_, joined, n);
  if (!at) {
    *why = "its shape does not fit the group's iteration domain";
    return false;
  }
  const Node& node = g_.node(n);
  for (const ValueId v : node.operands) {
    int budget = kMaxRecomputed;
    const IndexVector index = node.op == Op::reduce || node.op == Op::partial_reduce
                                  ? at->index
                                  : broadcast_index(at->index, g_.type(v).sizes);
    if (!value_fits(joined, u, v, index, bounds, &budget)) {
      *why = "it reads %" + g_.values[static_cast<size_t>(v)].name +
             " at other elements than the group computes in the same iteration";
      return false;
    }
  }
  return true;
}

/// True if the group can give element `index` of `v` in this iteration.
bool Partitioner::value_fits(const Group& joined, int u, ValueId v, const IndexVector& index,
                             const SymBounds& bounds, int* budget) const {
  const NodeId d = def(v);
  if (d < 0) return true;
  const Node& n = node(d);
  const auto operands_fit = [&](const IndexVector& at) {
    for (const ValueId o : n.operands)
      if (!value_fits(joined, u, o, broadcast_index(at, g_.type(o).sizes), bounds, budget))
        return false;
    return true;
  };
  if (is_folded(d)) {
    switch (op_category(n.op)) {
      case OpCategory::View:
        return value_fits(joined, u, n.operands[0], view_operand_index(g_, n, index, bounds),
                          bounds, budget);
      case OpCategory::Pointwise:
        return operands_fit(index);
      case OpCategory::Generate: {
        // The seed is read as a scalar.
        return n.operands.empty() || value_fits(joined, u, n.operands[0], {}, bounds, budget);
      }
      default: {
        // Pads, concats and gathers read elsewhere: what they read must be recomputable anywhere.
        IndexVector unknown;
        for (const ValueId o : n.operands) {
          unknown.clear();
          for (size_t i = 0; i < g_.type(o).sizes.size(); ++i)
            unknown.push_back(Sym::symbol("any" + std::to_string(i)));
          const bool same_rows = n.op == Op::gather || n.op == Op::index_select;
          if (same_rows) {
            // All dims but the indexed one are read in place.
            const auto dim = static_cast<size_t>(int_attr(n, "dim"));
            const bool is_data = o == n.operands[0];
            if (n.op == Op::gather)
              for (size_t i = 0; i < unknown.size(); ++i)
                if (!is_data || i != dim) unknown[i] = index[i];
            if (n.op == Op::index_select) {
              const size_t r = g_.type(n.operands[1]).sizes.size();
              for (size_t i = 0; i < unknown.size(); ++i) {
                if (!is_data)
                  unknown[i] = index[dim + i];
                else if (i < dim)
                  unknown[i] = index[i];
                else if (i > dim)
                  unknown[i] = index[i + r - 1];
              }
            }
          }
          if (!value_fits(joined, u, o, unknown, bounds, budget)) return false;
        }
        return true;
      }
    }
  }
  if (unit(d) != u) return true;
  if (n.op == Op::partial_reduce) return false;
  const auto at = member_index(g_, joined, d);
  OURJIT_CHECK(at) << "a member lost its place in the domain";
  const IndexVector here = result_index(n, at->index);
  bool same = true;
  for (size_t i = 0; i < here.size(); ++i)
    same &= bounds.simplify(here[i]) == bounds.simplify(index[i]);
  if (same) return true;
  if (n.op == Op::reduce || --*budget < 0) return false;
  return operands_fit(index);
}

/// Makes one group of those that turn out to read the same memory now that members are folded.
void Partitioner::merge_siblings() {
  for (size_t u = 0; u < units_.size(); ++u) {
    Unit& unit = units_[u];
    std::set<ValueId> found;
    for (const NodeId n : unit.group.members)
      leaves(n, [&](ValueId v) {
        if (unit.reads.insert(v).second && found.insert(v).second)
          readers_[v].push_back(static_cast<int>(u));
      });
    for (const ValueId v : found) {
      if (g_.type(v).numel() != product(unit.group.dims)) continue;
      const std::vector<int> others = readers_[v];
      for (const int w : latest(others))
        if (w != static_cast<int>(u) && !units_[static_cast<size_t>(w)].group.members.empty() &&
            !unit.group.members.empty())
          try_merge(w, static_cast<int>(u));
    }
  }
}

/// Takes groups apart that cannot keep their rows; true if there are any.
bool Partitioner::split_long_rows() {
  const size_t count = units_.size();
  for (size_t u = 0; u < count; ++u) {
    auto parts =
        split_rows(g_, units_[u].group, [&](NodeId n) { return is_folded(n); }, options_.kept_row);
    if (!parts) continue;
    for (const NodeId n : parts->second.members)
      unit_of_[static_cast<size_t>(n)] = static_cast<int>(units_.size());
    units_[u].group = std::move(parts->first);
    units_.emplace_back().group = std::move(parts->second);
  }
  return units_.size() > count;
}

Fusion Partitioner::finish() {
  Fusion out;
  out.materialized.assign(g_.values.size(), false);
  for (const GraphInput& in : g_.inputs)
    if (in.value >= 0) out.materialized[static_cast<size_t>(in.value)] = true;
  // Edges between units, after folding.
  const size_t count = units_.size();
  std::vector<std::set<size_t>> next(count);
  std::vector<int> waiting(count, 0);
  const auto edge = [&](int from, int to) {
    if (from < 0 || from == to) return;
    if (next[static_cast<size_t>(from)].insert(static_cast<size_t>(to)).second)
      ++waiting[static_cast<size_t>(to)];
  };
  std::map<ValueId, std::vector<int>> read_by;
  for (size_t i = 0; i < g_.nodes.size(); ++i) {
    const auto n = static_cast<NodeId>(i);
    if (is_folded(n)) continue;
    const int u = unit(n);
    if (g_.node(n).op == Op::copy_to)
      leaves(n, [&](ValueId v) {
        for (const int w : read_by[v]) edge(w, u);
      });
    leaves(n, [&](ValueId v) {
      const NodeId d = def(v);
      read_by[v].push_back(u);
      if (d < 0 || unit(d) == u) return;
      out.materialized[static_cast<size_t>(v)] = true;
      edge(unit(d), u);
    });
    for (const ValueId v : g_.node(n).results)
      if (v >= 0 && units_[static_cast<size_t>(u)].barrier >= 0)
        out.materialized[static_cast<size_t>(v)] = true;
  }
  for (const GraphOutput& o : g_.outputs) {
    ValueId v = o.value;
    while (v >= 0 && def(v) >= 0 && is_folded(def(v))) v = node(def(v)).operands[0];
    if (v >= 0) out.materialized[static_cast<size_t>(v)] = true;
  }
  // Ready units in order of their last node: what was written first in the program runs first.
  std::set<std::pair<NodeId, size_t>> ready;
  const auto key = [&](size_t u) {
    const Unit& x = units_[u];
    return std::make_pair(x.barrier >= 0 ? x.barrier : x.group.members.back(), u);
  };
  size_t done = 0, live = 0;
  for (size_t u = 0; u < count; ++u) {
    if (units_[u].barrier < 0 && units_[u].group.members.empty()) continue;
    ++live;
    if (waiting[u] == 0) ready.insert(key(u));
  }
  while (!ready.empty()) {
    const size_t u = ready.begin()->second;
    ready.erase(ready.begin());
    ++done;
    FusedStep step;
    if (units_[u].barrier >= 0) {
      step.node = units_[u].barrier;
    } else {
      Group group = units_[u].group;
      for (const NodeId n : group.members)
        for (const ValueId v : node(n).results)
          if (out.materialized[static_cast<size_t>(v)]) group.stores.push_back(v);
      step.group = std::move(group);
    }
    out.steps.push_back(std::move(step));
    for (const size_t w : next[u])
      if (--waiting[w] == 0) ready.insert(key(w));
  }
  OURJIT_CHECK(done == live) << "fusion made a cycle of groups";
  out.not_fused = std::move(not_fused_);
  return out;
}

Fusion fuse(const Graph& g, const FusionOptions& options) { return Partitioner(g, options).run(); }

}  // namespace ourjit
