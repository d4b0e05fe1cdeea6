#include "lower/stages.h"

#include <algorithm>
#include <functional>

#include "base/error.h"

namespace ourjit {
namespace {

// Rough costs in units of one vector add; a value is kept where computing it again costs more than
// reading it back.
constexpr int kKeepLocal = 6;
constexpr int kKeepStored = 2;

int op_cost(const Node& n) {
  switch (op_category(n.op)) {
    case OpCategory::View:
      return 0;
    case OpCategory::Gather:
      return 6;
    case OpCategory::Join:
      return 2;
    case OpCategory::Generate:
      return n.op == Op::uniform || n.op == Op::normal ? 40 : 0;
    case OpCategory::Pointwise:
      break;
    default:
      return 0;
  }
  switch (scalar_op(n.op)) {
    case ScalarOp::div:
    case ScalarOp::sqrt:
    case ScalarOp::rsqrt:
    case ScalarOp::reciprocal:
      return 4;
    case ScalarOp::exp:
    case ScalarOp::exp2:
    case ScalarOp::log:
    case ScalarOp::tanh:
    case ScalarOp::sigmoid:
    case ScalarOp::erf:
      return 10;
    case ScalarOp::rand_uniform:
    case ScalarOp::rand_normal:
      return 40;
    default:
      return scalar_op_info(scalar_op(n.op)).domain == ScalarDomain::F &&
                     scalar_op(n.op) >= ScalarOp::exp && scalar_op(n.op) <= ScalarOp::digamma
                 ? 15
                 : 1;
  }
}

class Planner {
 public:
  Planner(const Graph& g, const Fusion& f, const Group& group)
      : g_(g), f_(f), group_(group), members_(group.members.begin(), group.members.end()) {
    for (const NodeId n : group.members) row_[n] = member_index(g, group, n)->row;
  }

  StagePlan run(int local_limit) {
    find_roots();
    find_kept(local_limit);
    for (const ValueId v : kept_) {
      if (f_.materialized[static_cast<size_t>(v)])
        plan_.reloaded.insert(v);
      else
        stage(level(v)).locals.push_back(v);
    }
    return std::move(plan_);
  }

 private:
  NodeId def(ValueId v) const { return g_.values[static_cast<size_t>(v)].def; }
  bool computed_here(NodeId d) const {
    if (d < 0) return false;
    if (members_.count(d)) return true;
    for (const ValueId v : g_.node(d).results)
      if (v >= 0 && f_.materialized[static_cast<size_t>(v)]) return false;
    return true;
  }
  Stage& stage(int i) {
    if (static_cast<int>(plan_.stages.size()) <= i) plan_.stages.resize(static_cast<size_t>(i) + 1);
    return plan_.stages[static_cast<size_t>(i)];
  }

  /// The first stage in which `v` can be evaluated.
  int level(ValueId v) {
    const NodeId d = def(v);
    if (!computed_here(d)) return 0;
    const auto it = levels_.find(v);
    if (it != levels_.end()) return it->second;
    int l = 0;
    for (const ValueId o : g_.node(d).operands) l = std::max(l, level(o));
    if (g_.node(d).op == Op::reduce && members_.count(d)) ++l;
    return levels_[v] = l;
  }

  void find_roots() {
    for (const NodeId n : group_.members) {
      const Node& node = g_.node(n);
      const ValueId v = node.results[0];
      const bool stored = f_.materialized[static_cast<size_t>(v)];
      if (node.op == Op::reduce) {
        const int l = level(node.operands[0]);
        stage(l).reductions.push_back(n);
        roots_.emplace_back(l, node.operands[0]);
        if (stored) plan_.row_stores.push_back(v);
      } else if (node.op == Op::partial_reduce) {
        const int l = level(node.operands[0]);
        stage(l).sinks.push_back(n);
        roots_.emplace_back(l, node.operands[0]);
      } else if (stored && row_[n]) {
        plan_.row_stores.push_back(v);
      } else if (stored) {
        stage(level(v)).stores.push_back(v);
        roots_.emplace_back(level(v), v);
      }
    }
    std::stable_sort(roots_.begin(), roots_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
  }

  /// Stages in which each full member is computed, given what is kept.
  std::map<ValueId, std::set<int>> uses() {
    std::map<ValueId, std::set<int>> out;
    std::set<std::pair<int, ValueId>> seen;
    const std::function<void(ValueId, int)> visit = [&](ValueId v, int s) {
      const NodeId d = def(v);
      if (!computed_here(d) || !seen.insert({s, v}).second) return;
      const Node& n = g_.node(d);
      if (n.op == Op::reduce && members_.count(d)) return;
      if (members_.count(d)) {
        if (row_[d]) return;
        if (kept_.count(v) && level(v) < s) return;
        out[v].insert(s);
      }
      for (const ValueId o : n.operands) visit(o, s);
    };
    for (const auto& [s, v] : roots_) visit(v, s);
    for (const ValueId v : kept_) visit(v, level(v));
    return out;
  }

  /// Cost of computing `v` from loads and kept values.
  int cost(ValueId v, int depth = 0) {
    const NodeId d = def(v);
    if (!computed_here(d)) return 1;
    const Node& n = g_.node(d);
    if (n.op == Op::reduce || (members_.count(d) && row_[d])) return 0;
    if (depth > 0 && kept_.count(v)) return 1;
    if (depth > 40) return 1000;
    int c = op_cost(n);
    for (const ValueId o : n.operands) c += cost(o, depth + 1);
    return std::min(c, 1000);
  }

  void find_kept(int local_limit) {
    if (plan_.stages.size() < 2) return;
    int locals = 0;
    // Early values first: what is kept makes later ones cheap.
    for (const NodeId n : group_.members) {
      const Node& node = g_.node(n);
      const ValueId v = node.results[0];
      if (op_category(node.op) == OpCategory::Reduce || row_[n]) continue;
      const auto all = uses();
      const auto it = all.find(v);
      if (it == all.end() || it->second.size() < 2) continue;
      const bool stored = f_.materialized[static_cast<size_t>(v)];
      if (!stored && locals >= local_limit) continue;
      if (cost(v) < (stored ? kKeepStored : kKeepLocal)) continue;
      if (!stored) {
        // Keeping its only reader instead serves as well.
        if (only_feeds_dearer(v, all)) continue;
        ++locals;
      }
      kept_.insert(v);
    }
  }

  /// True if one other full member is the only reader of `v` and is needed in the same stages.
  bool only_feeds_dearer(ValueId v, const std::map<ValueId, std::set<int>>& all) {
    int readers = 0;
    bool same = false;
    for (const NodeId m : group_.members) {
      const Node& node = g_.node(m);
      if (std::find(node.operands.begin(), node.operands.end(), v) == node.operands.end()) continue;
      ++readers;
      const auto it = all.find(node.results[0]);
      same = op_category(node.op) == OpCategory::Pointwise && it != all.end() &&
             it->second == all.at(v) && level(node.results[0]) == level(v);
    }
    return readers == 1 && same;
  }

  const Graph& g_;
  const Fusion& f_;
  const Group& group_;
  std::set<NodeId> members_;
  std::map<NodeId, bool> row_;
  std::map<ValueId, int> levels_;
  std::vector<std::pair<int, ValueId>> roots_;  // stage, full value evaluated there
  std::set<ValueId> kept_;
  StagePlan plan_;
};

}  // namespace

StagePlan plan_stages(const Graph& g, const Fusion& f, const Group& group, int local_limit) {
  return Planner(g, f, group).run(local_limit);
}

}  // namespace ourjit
