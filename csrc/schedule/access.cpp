#include "schedule/access.h"

#include <map>
#include <numeric>
#include <optional>

#include "loop/simplify.h"
#include "loop/visit.h"

namespace ourjit::loop {
namespace {

/// Adds what varies in `body` to `v`; values are defined before they are used, so one walk does.
void find_varying(const std::vector<Node>& body, Varying& v) {
  for (const Node& n : body) {
    bool varies = false;
    for (const ValueId o : operands(n)) varies |= v.value(o);
    std::visit(Overloaded{
                   [](const Const&) {},
                   [&](const Index& x) { varies |= v.mentioned(x.expr); },
                   [](const Compute&) {},
                   [&](const Load& x) { varies |= v.mentioned(x.index); },
                   [](const Store&) {},
                   [&](const Bind& x) {
                     if (varies || v.mentioned(x.extent)) v.symbols.insert(x.symbol);
                   },
                   [](const Barrier&) {},
                   [&](const For& x) {
                     if (!x.slot.empty() && is_thread_loop(x)) v.symbols.insert(x.slot);
                     find_varying(x.body, v);
                     for (const Reduction& r : x.reductions)
                       if (v.value(r.value)) v.values.insert(r.result);
                   },
               },
               n.v);
    if (varies)
      for (const ValueId r : results(n)) v.values.insert(r);
  }
}

bool mentions_any(const Sym& s, const std::set<std::string>& names) {
  for (const std::string& name : names)
    if (s.mentions(name)) return true;
  return false;
}

/// Symbols that the body of `f` defines.
std::set<std::string> inner_symbols(const For& f) {
  std::set<std::string> out;
  for_each_node(f.body, [&](const Node& n) {
    if (const For* loop = std::get_if<For>(&n.v)) out.insert(loop->var);
    if (const Bind* bind = std::get_if<Bind>(&n.v)) out.insert(bind->symbol);
  });
  return out;
}

/// An index as the sum of what depends on the loop's variable, what depends on symbols defined in
/// the loop's body, and the rest.
struct Parts {
  Sym lane, outer;
  std::vector<SymTerm> inner;
};

Parts parts_of(const Sym& index, const Varying& v, const std::set<std::string>& inner) {
  Parts p;
  p.outer = index.constant();
  for (const SymTerm& t : index.terms()) {
    const Sym term = to_sym(t);
    if (v.mentioned(term))
      p.lane += term;
    else if (mentions_any(term, inner))
      p.inner.push_back(t);
    else
      p.outer += term;
  }
  return p;
}

/// a*floordiv(e, m) + b*mod(e, m) with a a multiple of b*m: e can be read off.
bool is_digits(const Sym& lane, const std::string& var) {
  if (lane.terms().size() != 2) return false;
  const SymAtom* quotient = nullptr;
  const SymAtom* remainder = nullptr;
  Sym a = 1, b = 1;
  for (const SymTerm& t : lane.terms()) {
    Sym factor = t.coefficient;
    const SymAtom* operation = nullptr;
    for (const auto& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol)
        factor *= Sym::symbol(f->name);
      else if (operation)
        return false;
      else
        operation = f.get();
    }
    if (!operation) return false;
    if (operation->kind == SymAtomKind::FloorDiv) {
      quotient = operation;
      a = factor;
    } else if (operation->kind == SymAtomKind::Mod) {
      remainder = operation;
      b = factor;
    }
  }
  if (!quotient || !remainder || quotient->a != remainder->a || quotient->b != remainder->b)
    return false;
  const auto e = quotient->a.linear_in(var);
  return e && e->first.is_const() && !e->first.is_const(0) && !quotient->b.mentions(var) &&
         exact_div(a, b * quotient->b).has_value();
}

/// How far apart the lane parts of different iterations are: at least `step` each, less than `span`
/// in all.
struct Spacing {
  Sym step = 1;
  std::optional<Sym> span;
};

/// Different iterations have different lane parts.
bool tells_apart(const Parts& p, const Varying& v, const std::set<std::string>& inner,
                 const SymBounds& bounds, Spacing& spacing) {
  std::set<std::string> others = v.symbols;
  others.erase(v.var);
  if (mentions_any(p.lane, others) || mentions_any(p.lane, inner)) return false;
  const auto linear = p.lane.linear_in(v.var);
  if (!linear) return is_digits(p.lane, v.var);
  const Sym& step = linear->first;
  if (step.is_const(0)) return false;
  // A single positive term is a product of sizes, which is zero only where nothing is stored.
  if (!step.is_const() && (step.terms().size() != 1 || step.constant() != 0)) return false;
  const bool positive = step.is_const() ? step.value() > 0 : step.terms()[0].coefficient > 0;
  if (!positive) return true;
  spacing.step = step;
  if (const auto extent = bounds.extent(v.var)) spacing.span = step * *extent;
  return true;
}

/// Both are sums of terms that together stay below a step, which lead to no other lane, and of
/// multiples of at least the whole span, which lead past all lanes.
bool keep_lanes_apart(const std::vector<SymTerm>& a, const std::vector<SymTerm>& b,
                      const Spacing& spacing, const SymBounds& bounds) {
  int64_t common = 0;
  for (const std::vector<SymTerm>* inner : {&a, &b}) {
    Sym small;
    for (const SymTerm& t : *inner) {
      const Sym term = to_sym(t);
      const bool wide = spacing.span &&
                        (spacing.span->is_const() ? std::abs(t.coefficient) >= spacing.span->value()
                                                  : exact_div(term, *spacing.span).has_value());
      if (wide)
        common = std::gcd(common, t.coefficient);
      else
        small += term;
    }
    if (!small.is_const(0) && !bounds.in_range(small, spacing.step)) return false;
  }
  // Multiples of different numbers may come as close as their greatest common divisor.
  return common == 0 || !spacing.span->is_const() || common >= spacing.span->value();
}

/// Places `a` (whose lane parts are spaced so) and `b` of different iterations never meet.
bool apart(const Parts& a, const Parts& b, const Spacing& spacing, const SymBounds& bounds) {
  if (a.lane != b.lane) return false;
  if (a.outer == b.outer) return keep_lanes_apart(a.inner, b.inner, spacing, bounds);
  const Sym distance = a.outer - b.outer;
  return a.inner.empty() && b.inner.empty() && spacing.span && spacing.span->is_const() &&
         distance.is_const() && std::abs(distance.value()) >= spacing.span->value();
}

/// Adds what the body of a loop says about its symbols.
void add_bounds(const std::vector<Node>& body, SymBounds& bounds) {
  for (const Node& n : body) {
    if (const Bind* b = std::get_if<Bind>(&n.v)) bounds.set_extent(b->symbol, b->extent);
    if (const For* f = std::get_if<For>(&n.v)) {
      bounds = bounds_in(*f, std::move(bounds));
      add_bounds(f->body, bounds);
    }
  }
}

/// Every access of one memory in a loop.
struct Accesses {
  std::vector<Sym> loads, stores;  // atomic additions are stores where something else is met too
  std::vector<Sym> additions;
};

std::map<std::string, Accesses> collect_accesses(const std::vector<Node>& body) {
  std::map<std::string, Accesses> out;
  for_each_node(body, [&](const Node& n) {
    if (const Load* l = std::get_if<Load>(&n.v)) out[l->buffer].loads.push_back(l->index);
    if (const Store* s = std::get_if<Store>(&n.v))
      (s->atomic ? out[s->buffer].additions : out[s->buffer].stores).push_back(s->index);
  });
  for (auto& [name, a] : out)
    if (!a.loads.empty() || !a.stores.empty())
      a.stores.insert(a.stores.end(), a.additions.begin(), a.additions.end());
  return out;
}

bool inner_loops_fit(const std::vector<Node>& body, const Varying& v) {
  bool fit = true;
  for_each_node(body, [&](const Node& n) {
    if (const For* f = std::get_if<For>(&n.v))
      fit &= f->kind == LoopKind::Serial && !v.mentioned(f->begin) && !v.mentioned(f->end);
  });
  return fit;
}

}  // namespace

bool Varying::mentioned(const Sym& s) const {
  for (const std::string& name : symbols)
    if (s.mentions(name)) return true;
  return false;
}

Varying varying_in(const For& f) {
  Varying v;
  v.var = f.var;
  v.symbols.insert(f.var);
  if (!f.slot.empty()) v.symbols.insert(f.slot);
  find_varying(f.body, v);
  return v;
}

Step step_of(const Sym& index, const Varying& v) {
  if (!v.mentioned(index)) return Step::Same;
  for (const std::string& s : v.symbols)
    if (s != v.var && index.mentions(s)) return Step::Far;
  const auto linear = index.linear_in(v.var);
  return linear && linear->first.is_const(1) ? Step::Next : Step::Far;
}

bool can_vectorize(const For& f, const SymBounds& around, const std::set<std::string>& own) {
  const Varying v = varying_in(f);
  if (!inner_loops_fit(f.body, v)) return false;
  SymBounds bounds = bounds_in(f, around);
  add_bounds(f.body, bounds);
  const std::set<std::string> inner = inner_symbols(f);
  for (const auto& [name, a] : collect_accesses(f.body)) {
    if (a.stores.empty() || own.contains(name)) continue;
    for (const Sym& store : a.stores) {
      const Parts p = parts_of(store, v, inner);
      Spacing spacing;
      if (!tells_apart(p, v, inner, bounds, spacing)) return false;
      for (const std::vector<Sym>* indices : {&a.stores, &a.loads})
        for (const Sym& index : *indices)
          if (!apart(p, parts_of(index, v, inner), spacing, bounds)) return false;
    }
  }
  return true;
}

std::set<std::string> shared_locals(const Kernel& k, const For& f) {
  const Varying v = varying_in(f);
  std::set<std::string> out;
  for_each_node(f.body, [&](const Node& n) {
    if (const Store* s = std::get_if<Store>(&n.v))
      if (is_local(k, s->buffer) && !v.mentioned(s->index)) out.insert(s->buffer);
  });
  if (out.empty()) return out;
  std::map<std::string, int> uses;  // in the kernel less those in the loop
  const auto count = [&uses](const std::vector<Node>& body, int weight) {
    for (const auto& [name, a] : collect_accesses(body))
      uses[name] += weight * static_cast<int>(a.loads.size() + a.stores.size());
  };
  count(k.body, 1);
  count(f.body, -1);
  std::erase_if(out, [&](const std::string& name) { return uses[name] != 0; });
  return out;
}

}  // namespace ourjit::loop
