// Greedy grouping in graph order; the rule is at the top of group.h. What `fuse` is made of:
// partition.cpp places and joins nodes, fold_members.cpp decides which are computed where they are
// read.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "fusion/group.h"
#include "fusion/unit_order.h"

namespace ourjit {

/// A group being built, or a barrier.
struct Unit {
  Group group;
  NodeId barrier = -1;
  std::set<ValueId> reads;  // values in memory or of other units that it reads
};

class Partitioner {
 public:
  Partitioner(const Graph& g, const FusionOptions& options)
      : g_(g),
        options_(options),
        unit_of_(g.nodes.size(), -1),
        folded_(g.nodes.size(), false),
        users_(users(g)) {}

  Fusion run();

 private:
  struct Readers {
    std::set<int> units;
    bool once = true;  // no more elements are read than there are
  };

  const Node& node(NodeId n) const { return g_.node(n); }
  NodeId def(ValueId v) const { return g_.values[static_cast<size_t>(v)].def; }
  int unit(NodeId n) const { return unit_of_[static_cast<size_t>(n)]; }
  bool is_folded(NodeId n) const {
    return folded_[static_cast<size_t>(n)] || node_kind(g_, n) == NodeKind::Folded;
  }

  /// Calls `f` for every value that `n` reads once folded nodes are seen through.
  void leaves(NodeId n, const std::function<void(ValueId)>& f) const {
    for (const ValueId v : node(n).operands) {
      const NodeId d = def(v);
      if (d >= 0 && is_folded(d))
        leaves(d, f);
      else
        f(v);
    }
  }

  std::set<ValueId> leaf_set(NodeId n) const {
    std::set<ValueId> out;
    leaves(n, [&](ValueId v) { out.insert(v); });
    return out;
  }

  void place(NodeId n);
  void merge_into(int u, const std::set<int, std::greater<>>& others);
  bool try_merge(int u, int w);
  int new_unit(NodeId n, const std::set<ValueId>& reads);
  bool try_join(NodeId n, int u, const std::set<ValueId>& reads, std::string* why);
  bool reads_fit(const Group& joined, int u, NodeId n, std::string* why) const;
  bool value_fits(const Group& joined, int u, ValueId v, const IndexVector& index,
                  const SymBounds& bounds, int* budget) const;
  void depend(int u, const std::set<ValueId>& reads, NodeId n);
  void merge_siblings();
  bool split_long_rows();
  void fold_cheap_members();
  void fold(NodeId n);
  std::optional<Readers> readers(ValueId v) const;
  bool is_step(NodeId n, int u) const;
  bool worth_folding(NodeId n) const;
  Fusion finish();

  const Graph& g_;
  const FusionOptions& options_;
  std::vector<Unit> units_;
  UnitOrder order_;
  std::vector<int> unit_of_;
  std::vector<bool> folded_;
  std::vector<std::vector<NodeId>> users_;
  std::map<ValueId, std::vector<int>> readers_;  // units that read a value
  std::vector<NotFused> not_fused_;
};

}  // namespace ourjit
