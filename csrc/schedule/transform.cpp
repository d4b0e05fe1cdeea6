#include "schedule/transform.h"

#include <map>

#include "base/error.h"
#include "loop/visit.h"

namespace ourjit::loop {
namespace {

/// Wraps `inner` in `outer`, which takes over its reductions.
For wrap(Kernel& k, For outer, For inner) {
  for (Reduction& r : inner.reductions) {
    const Reduction whole{r.op, r.dtype, static_cast<ValueId>(k.types.size()), r.result, r.line};
    k.types.push_back(r.dtype);
    r.result = whole.value;
    outer.reductions.push_back(whole);
  }
  outer.body.push_back({std::move(inner)});
  return outer;
}

/// s / m if that is exact; minima divide piece by piece.
std::optional<Sym> divided(const Sym& s, int64_t m) {
  if (const auto q = exact_div(s, m)) return q;
  const auto operands = s.as_min();
  if (!operands) return std::nullopt;
  const auto a = divided(operands->first, m), b = divided(operands->second, m);
  if (!a || !b) return std::nullopt;
  return min(*a, *b);
}

/// Copies of nodes with values of their own.
class Cloner {
 public:
  explicit Cloner(Kernel& k) : k_(k) {}

  std::vector<Node> clone(const std::vector<Node>& body) {
    std::vector<Node> out = body;
    rename(out);
    return out;
  }

 private:
  ValueId used(ValueId v) const {
    const auto it = names_.find(v);
    return it == names_.end() ? v : it->second;
  }
  ValueId defined(ValueId v) {
    k_.types.push_back(k_.types[static_cast<size_t>(v)]);
    return names_[v] = static_cast<ValueId>(k_.types.size() - 1);
  }

  void rename(std::vector<Node>& body) {
    for (Node& n : body) {
      if (For* f = std::get_if<For>(&n.v)) rename(f->body);
      map_operands(n, [&](ValueId v) { return used(v); });
      map_results(n, [&](ValueId v) { return defined(v); });
    }
  }

  Kernel& k_;
  std::map<ValueId, ValueId> names_;
};

}  // namespace

std::vector<Node> cloned(Kernel& k, const std::vector<Node>& body) { return Cloner(k).clone(body); }

bool has_positions(const For& f) {
  for (const Reduction& r : f.reductions)
    if (r.op == ReduceOp::argmax || r.op == ReduceOp::argmin) return true;
  return false;
}

For tiled(Kernel& k, For f, int64_t tile, const std::string& outer) {
  OURJIT_CHECK(!has_positions(f)) << "the loop " << f.var << " yields a position";
  const Sym length = f.end - f.begin;
  For over;
  over.kind = f.kind;
  f.kind = LoopKind::Serial;
  over.var = outer;
  over.begin = 0;
  over.end = ceildiv(length, tile);
  const Sym from = f.begin + Sym::symbol(outer) * tile;
  f.end = exact_div(length, tile) ? from + tile : min(f.end, from + tile);
  f.begin = from;
  return wrap(k, std::move(over), std::move(f));
}

std::optional<For> split(Kernel& k, const For& f, int64_t m, const std::string& outer,
                         const std::string& inner) {
  const auto begin = divided(f.begin, m), end = divided(f.end, m);
  if (!begin || !end || has_positions(f)) return std::nullopt;
  For over;
  over.kind = f.kind;
  over.var = outer;
  over.begin = *begin;
  over.end = *end;
  For under = f;
  under.kind = LoopKind::Serial;
  under.var = inner;
  under.begin = 0;
  under.end = m;
  const Sym v = Sym::symbol(outer) * m + Sym::symbol(inner);
  map_syms(under.body, [&](const Sym& s) {
    if (!s.mentions(f.var)) return s;
    return s.substitute([&](std::string_view name) -> std::optional<Sym> {
      if (name == f.var) return v;
      return std::nullopt;
    });
  });
  return wrap(k, std::move(over), std::move(under));
}

void privatize(Kernel& k, For& f, const std::set<std::string>& names, const Sym& origin,
               int lanes) {
  for (Local& l : k.locals)
    if (names.contains(l.name)) l.size *= lanes;
  const Sym lane = Sym::symbol(f.var) - origin;
  for_each_node(f.body, [&](Node& n) {
    if (Load* l = std::get_if<Load>(&n.v); l && names.contains(l->buffer))
      l->index = l->index * lanes + lane;
    if (Store* s = std::get_if<Store>(&n.v); s && names.contains(s->buffer))
      s->index = s->index * lanes + lane;
  });
}

}  // namespace ourjit::loop
