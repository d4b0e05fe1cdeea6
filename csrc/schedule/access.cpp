#include "schedule/access.h"

#include <map>

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
                   [&](const For& x) {
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

/// Some floordiv(.., m) and mod(.., m) of the variable with the same m stand side by side, so that the
/// index tells iterations apart.
void collect_divisions(const Sym& s, const std::string& var, std::set<std::string>& quotients,
                       std::set<std::string>& remainders) {
  for (const SymTerm& t : s.terms())
    for (const auto& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol || !f->a.mentions(var)) continue;
      if (f->kind == SymAtomKind::FloorDiv) quotients.insert(f->a.str() + "/" + f->b.str());
      if (f->kind == SymAtomKind::Mod) remainders.insert(f->a.str() + "/" + f->b.str());
      collect_divisions(f->a, var, quotients, remainders);
    }
}

/// Different iterations surely store to different places.
bool tells_apart(const Sym& index, const Varying& v) {
  for (const std::string& s : v.symbols)
    if (s != v.var && index.mentions(s)) return false;
  if (const auto linear = index.linear_in(v.var))
    return linear->first.is_const() && !linear->first.is_const(0)
               ? true
               : linear->first.terms().size() == 1 && linear->first.constant() == 0;
  std::set<std::string> quotients, remainders;
  collect_divisions(index, v.var, quotients, remainders);
  for (const std::string& q : quotients)
    if (remainders.contains(q)) return true;
  return false;
}

/// `a` and `b` never meet in different iterations of the loop.
bool same_or_disjoint(const Sym& a, const Sym& b, const Varying& v,
                      const std::optional<Sym>& extent) {
  if (a == b) return true;
  const auto x = a.linear_in(v.var), y = b.linear_in(v.var);
  if (!extent || !x || !y || x->first != y->first) return false;
  // Both are var * c + (multiples of at least c * extent) + the same constant: var can be read off.
  const Sym span = x->first * *extent;
  const auto step = [&](const Sym& rest) {
    for (const SymTerm& t : rest.terms()) {
      Sym term = t.coefficient;
      for (const auto& f : t.atoms)
        term *= f->kind == SymAtomKind::Symbol ? Sym::symbol(f->name) : Sym(1);
      const bool multiple = exact_div(term, span).has_value() ||
                            (span.is_const() && span.value() > 0 &&
                             std::abs(t.coefficient) % span.value() == 0);
      if (!multiple) return false;
    }
    return true;
  };
  return x->second.constant() == y->second.constant() && step(x->second) && step(y->second);
}

/// Every access of one memory in a loop.
struct Accesses {
  std::vector<Sym> loads, stores;
};

std::map<std::string, Accesses> collect_accesses(const std::vector<Node>& body) {
  std::map<std::string, Accesses> out;
  for_each_node(body, [&](const Node& n) {
    if (const Load* l = std::get_if<Load>(&n.v)) out[l->buffer].loads.push_back(l->index);
    if (const Store* s = std::get_if<Store>(&n.v)) out[s->buffer].stores.push_back(s->index);
  });
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

bool can_vectorize(const For& f, const std::optional<Sym>& extent,
                   const std::set<std::string>& own) {
  const Varying v = varying_in(f);
  if (!inner_loops_fit(f.body, v)) return false;
  for (const auto& [name, a] : collect_accesses(f.body)) {
    if (a.stores.empty() || own.contains(name)) continue;
    for (const Sym& s : a.stores) {
      if (!tells_apart(s, v)) return false;
      if (!same_or_disjoint(s, a.stores[0], v, extent)) return false;
    }
    for (const Sym& l : a.loads)
      if (!same_or_disjoint(l, a.stores[0], v, extent)) return false;
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
