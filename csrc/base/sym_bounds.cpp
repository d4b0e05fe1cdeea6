// What follows from known bounds of symbols.
#include <algorithm>

#include "base/sym.h"

namespace ourjit {

void SymBounds::set_extent(std::string_view name, const Sym& extent) {
  extents_.insert_or_assign(std::string(name), extent);
}

std::optional<Sym> SymBounds::extent(std::string_view name) const {
  const auto it = extents_.find(name);
  if (it == extents_.end()) return std::nullopt;
  return it->second;
}

bool SymBounds::in_range(const Sym& x, const Sym& limit) const {
  // Largest and smallest value by replacing each variable by an end of its range.
  Sym largest = x.constant(), smallest = x.constant();
  for (const SymTerm& t : x.terms()) {
    Sym top = t.coefficient;
    for (const auto& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol) {
        const auto e = extent(f->name);
        if (!e && !is_size(f->name)) return false;
        top *= e ? *e - 1 : to_sym(*f);
      } else if (f->kind == SymAtomKind::Mod && in_range(f->a, f->a + 1)) {
        top *= f->b - 1;
      } else if (f->kind == SymAtomKind::Mod && f->b.is_const() && f->b.value() > 0) {
        top *= f->b - 1;
      } else {
        return false;
      }
    }
    (t.coefficient > 0 ? largest : smallest) += top;
  }
  const auto nonnegative = [](const Sym& s) {
    if (s.constant() < 0) return false;
    return std::all_of(s.terms().begin(), s.terms().end(),
                       [](const SymTerm& t) { return t.coefficient > 0; });
  };
  return nonnegative(smallest) && nonnegative(limit - largest - 1);
}

namespace {

/// Rewrites k*b*floordiv(a, b) + k*mod(a, b) to k*a where a sum has both.
Sym join_quotients(const Sym& x) {
  for (const SymTerm& t : x.terms())
    for (size_t i = 0; i < t.atoms.size(); ++i) {
      const SymAtom& m = *t.atoms[i];
      if (m.kind != SymAtomKind::Mod) continue;
      const Sym k = without_atom(t, i);
      const Sym quotient = k * m.b * floordiv(m.a, m.b);
      if (quotient.terms().size() != 1) continue;
      const Sym wanted = to_sym(quotient.terms()[0]);
      for (const SymTerm& u : x.terms())
        if (to_sym(u) == wanted) return join_quotients(x - to_sym(t) - quotient + k * m.a);
    }
  return x;
}

}  // namespace

Sym SymBounds::simplify(const Sym& x) const {
  if (x.is_const()) return x;
  Sym sum = x.constant();
  for (const SymTerm& t : x.terms()) {
    Sym p = t.coefficient;
    for (const auto& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol) {
        p *= to_sym(*f);
        continue;
      }
      const Sym a = simplify(f->a), b = simplify(f->b);
      if (f->kind == SymAtomKind::FloorDiv || f->kind == SymAtomKind::Mod) {
        const auto [q, r] = split_by(a, b);
        if (in_range(r, b)) {
          p *= f->kind == SymAtomKind::FloorDiv ? q : r;
          continue;
        }
      }
      p *= to_sym(SymAtom{f->kind, {}, a, b});
    }
    sum += p;
  }
  return join_quotients(sum);
}

}  // namespace ourjit
