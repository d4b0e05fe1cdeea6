#include "lower/domain.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "loop/visit.h"
#include "lower/evaluate.h"

namespace ourjit {
namespace {

/// An element offset as a function of the domain variables.
struct Access {
  Sym offset;
  int weight;
};

struct Accesses {
  std::vector<Access> memory;
  std::vector<Sym> other;  // expressions that are not offsets
};

void collect(const std::vector<loop::Node>& body, Accesses& out) {
  loop::for_each_node(body, [&](const loop::Node& n) {
    if (const auto* x = std::get_if<loop::Index>(&n.v)) out.other.push_back(x->expr);
    if (const auto* x = std::get_if<loop::Bind>(&n.v)) out.other.push_back(x->extent);
    if (const auto* x = std::get_if<loop::Load>(&n.v)) out.memory.push_back({x->index, 1});
    if (const auto* x = std::get_if<loop::Store>(&n.v)) out.memory.push_back({x->index, 2});
  });
}

/// Builds all of the group's expressions in one nest over d0, d1, ... and returns the indices in
/// them.
Accesses probe(const Graph& g, const Fusion& f, const Group& group) {
  KernelBuilder b("probe");
  Evaluator e(g, f, b);
  e.set_members(group.members);
  for (size_t i = 0; i < group.dims.size(); ++i) {
    b.bounds().set_extent("d" + std::to_string(i), group.dims[i]);
    b.open(loop::LoopKind::Serial, "d" + std::to_string(i), 0, group.dims[i]);
  }
  for (const NodeId n : group.members) {
    const Node& node = g.node(n);
    const auto at = member_index(g, group, n);
    OURJIT_CHECK(at) << "member does not fit its group";
    const ValueId v = node.results[0];
    if (op_category(node.op) == OpCategory::Reduce) {
      const loop::ValueId x = e.element(node.operands[0], at->index);
      e.set_scalar(v, b.compute(ScalarOp::cast, compute_dtype(g.type(v).dtype), {x}));
      continue;
    }
    const loop::ValueId x = e.element(v, at->index);
    if (f.materialized[static_cast<size_t>(v)]) e.store(v, at->index, x);
  }
  for (size_t i = 0; i < group.dims.size(); ++i) b.close();
  const loop::Kernel k = b.take();
  Accesses out;
  collect(k.body, out);
  return out;
}

/// Finds floordiv(d, m) or mod(d, m) of a dim d by a part m of it; returns {dim, m}, m = 0 if there
/// is none.
std::pair<size_t, int64_t> wanted_split(const Sym& s, const Group& group) {
  for (const SymTerm& t : s.terms())
    for (const auto& atom : t.atoms) {
      if (atom->kind == SymAtomKind::Symbol) continue;
      if (const auto inner = wanted_split(atom->a, group); inner.second) return inner;
      if (atom->kind != SymAtomKind::FloorDiv && atom->kind != SymAtomKind::Mod) continue;
      if (!atom->b.is_const()) continue;
      const int64_t m = atom->b.value();
      for (size_t i = 0; i < group.dims.size(); ++i) {
        const auto linear = atom->a.linear_in("d" + std::to_string(i));
        if (!linear || !linear->first.is_const() || linear->first.is_const(0)) continue;
        if (!group.dims[i].is_const() || m <= 0) continue;
        // d counts steps of `c` in blocks of m: the block holds m / c of them.
        const int64_t c = linear->first.value(), extent = group.dims[i].value();
        if (c <= 0 || m % c != 0) continue;
        const int64_t part = m / c;
        if (part > 1 && part < extent && extent % part == 0) return {i, part};
      }
    }
  return {0, 0};
}

Group split(const Group& group, size_t dim, int64_t part) {
  Group out = group;
  out.dims[dim] = group.dims[dim].value() / part;
  out.dims.insert(out.dims.begin() + static_cast<int64_t>(dim) + 1, Sym(part));
  if (!group.reduced.empty())
    out.reduced.insert(out.reduced.begin() + static_cast<int64_t>(dim) + 1, group.reduced[dim]);
  return out;
}

std::string var(size_t i) { return "d" + std::to_string(i); }

/// Coefficient of dim i in an offset; absent if the offset is not linear in it.
std::optional<Sym> coefficient(const Sym& offset, size_t i) {
  const auto l = offset.linear_in(var(i));
  if (!l || l->second.mentions(var(i))) return std::nullopt;
  return l->first;
}

/// Larger steps sort before smaller ones; 0 if the order is unknown or does not matter.
int compare_steps(const Sym& a, const Sym& b) {
  if (a.is_const(0) || b.is_const(0) || a == b) return 0;
  if (a.is_const() && b.is_const()) return std::abs(a.value()) > std::abs(b.value()) ? 1 : -1;
  if (exact_div(a, b)) return 1;
  if (exact_div(b, a)) return -1;
  return 0;
}

/// Dims from the largest step in memory to the smallest, by the votes of all accesses.
std::vector<size_t> memory_order(const Group& group, const Accesses& accesses) {
  const size_t n = group.dims.size();
  std::vector<std::vector<int>> votes(n, std::vector<int>(n, 0));
  for (const Access& a : accesses.memory)
    for (size_t i = 0; i < n; ++i)
      for (size_t j = i + 1; j < n; ++j) {
        const auto x = coefficient(a.offset, i), y = coefficient(a.offset, j);
        if (!x || !y) continue;
        const int c = compare_steps(*x, *y) * a.weight;
        votes[i][j] += c;
        votes[j][i] -= c;
      }
  std::vector<size_t> order(n);
  for (size_t i = 0; i < n; ++i) order[i] = i;
  for (size_t round = 0; round < n; ++round)
    for (size_t k = 0; k + 1 < n; ++k)
      if (votes[order[k + 1]][order[k]] > 0) std::swap(order[k], order[k + 1]);
  return order;
}

/// True if all accesses step through dims (outer, inner) as through one dim of their product.
bool mergeable(const Group& group, const Accesses& accesses, size_t outer, size_t inner) {
  for (const Sym& s : accesses.other)
    if (s.mentions(var(outer)) || s.mentions(var(inner))) {
      const auto x = coefficient(s, outer), y = coefficient(s, inner);
      if (!x || !y || *x != *y * group.dims[inner]) return false;
    }
  for (const Access& a : accesses.memory) {
    const auto x = coefficient(a.offset, outer), y = coefficient(a.offset, inner);
    if (!x || !y || *x != *y * group.dims[inner]) return false;
  }
  return true;
}

/// Dims of different classes are never one loop.
int dim_class(const DomainPlan& p, size_t i) {
  const bool reduced = !p.group.reduced.empty() && p.group.reduced[i];
  const bool sink = !p.sink_dims.empty() && p.sink_dims[i];
  return (reduced ? 2 : 0) + (sink ? 1 : 0);
}

/// Notes an access that is contiguous in another loop than the innermost one.
void find_transpose(DomainPlan& p, const Accesses& accesses) {
  if (p.loops.size() < 2) return;
  const size_t last = p.loops.back().dims.back();
  for (const Access& a : accesses.memory) {
    const auto inner = coefficient(a.offset, last);
    if (!inner || inner->is_const(0) || inner->is_const(1)) continue;
    for (size_t l = 0; l + 1 < p.loops.size(); ++l) {
      const auto c = coefficient(a.offset, p.loops[l].dims.back());
      if (c && c->is_const(1) && p.loops[l].dims.size() == 1) {
        p.transposed = true;
        p.transposed_loop = l;
      }
    }
  }
}

}  // namespace

std::vector<bool> sink_marks(const Graph& g, const Group& group) {
  if (group.sinks.empty()) return {};
  const Node& n = g.node(group.sinks[0]);
  const auto at = member_index(g, group, group.sinks[0]);
  OURJIT_CHECK(at) << "sink does not fit its group";
  std::vector<bool> out(group.dims.size(), false);
  for (const int64_t d : int_list_attr(n, "dims"))
    for (size_t i = 0; i < out.size(); ++i)
      if (at->index[static_cast<size_t>(d)].mentions(var(i))) out[i] = true;
  return out;
}

DomainPlan plan_domain(const Graph& g, const Fusion& f, const Group& group) {
  DomainPlan p;
  p.group = group;
  Accesses accesses = probe(g, f, p.group);
  for (int rounds = 0; rounds < 8; ++rounds) {
    std::pair<size_t, int64_t> s{0, 0};
    for (const Access& a : accesses.memory)
      if (!s.second) s = wanted_split(a.offset, p.group);
    for (const Sym& x : accesses.other)
      if (!s.second) s = wanted_split(x, p.group);
    if (!s.second) break;
    p.group = split(p.group, s.first, s.second);
    accesses = probe(g, f, p.group);
  }
  p.sink_dims = sink_marks(g, p.group);
  for (const size_t i : memory_order(p.group, accesses)) {
    if (!p.loops.empty()) {
      LoopDims& above = p.loops.back();
      if (dim_class(p, above.dims.back()) == dim_class(p, i) &&
          mergeable(p.group, accesses, above.dims.back(), i)) {
        above.dims.push_back(i);
        above.extent *= p.group.dims[i];
        continue;
      }
    }
    p.loops.push_back({{i}, p.group.dims[i]});
  }
  find_transpose(p, accesses);
  return p;
}

}  // namespace ourjit
