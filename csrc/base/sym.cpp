#include "base/sym.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/error.h"

namespace ourjit {

using AtomPtr = std::shared_ptr<const SymAtom>;

namespace {

int compare_atoms(const SymAtom& a, const SymAtom& b) {
  if (&a == &b) return 0;
  if (a.kind != b.kind) return a.kind < b.kind ? -1 : 1;
  if (a.kind == SymAtomKind::Symbol) return a.name.compare(b.name);
  if (const int c = compare(a.a, b.a)) return c;
  return compare(a.b, b.b);
}

int compare_products(const std::vector<AtomPtr>& a, const std::vector<AtomPtr>& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (const int c = compare_atoms(*a[i], *b[i])) return c;
  if (a.size() == b.size()) return 0;
  return a.size() < b.size() ? -1 : 1;
}

int64_t checked(__int128 x) {
  if (x > std::numeric_limits<int64_t>::max() || x < std::numeric_limits<int64_t>::min())
    OURJIT_RAISE(UserError) << "a size does not fit 64 bits";
  return static_cast<int64_t>(x);
}
int64_t mul64(int64_t a, int64_t b) { return checked(static_cast<__int128>(a) * b); }
int64_t add64(int64_t a, int64_t b) { return checked(static_cast<__int128>(a) + b); }

int64_t floordiv64(int64_t a, int64_t b) {
  if (b == 0) OURJIT_RAISE(UserError) << "a size is divided by zero";
  const int64_t q = a / b;
  return (a % b != 0 && ((a % b < 0) != (b < 0))) ? q - 1 : q;
}
int64_t mod64(int64_t a, int64_t b) { return a - floordiv64(a, b) * b; }

int64_t apply(SymAtomKind kind, int64_t a, int64_t b) {
  switch (kind) {
    case SymAtomKind::FloorDiv:
      return floordiv64(a, b);
    case SymAtomKind::Mod:
      return mod64(a, b);
    case SymAtomKind::Min:
      return std::min(a, b);
    case SymAtomKind::Max:
      return std::max(a, b);
    case SymAtomKind::Symbol:
      break;
  }
  OURJIT_CHECK(false) << "a symbol is not an operation";
  return 0;
}

}  // namespace

/// Sorts, merges equal products and drops zeros.
Sym from_terms(std::vector<SymTerm> terms, int64_t constant) {
  std::sort(terms.begin(), terms.end(), [](const SymTerm& x, const SymTerm& y) {
    return compare_products(x.atoms, y.atoms) < 0;
  });
  std::vector<SymTerm> merged;
  for (SymTerm& t : terms) {
    if (t.atoms.empty()) {
      constant = add64(constant, t.coefficient);
    } else if (!merged.empty() && compare_products(merged.back().atoms, t.atoms) == 0) {
      merged.back().coefficient = add64(merged.back().coefficient, t.coefficient);
    } else {
      merged.push_back(std::move(t));
    }
  }
  std::erase_if(merged, [](const SymTerm& t) { return t.coefficient == 0; });
  Sym s(constant);
  if (!merged.empty()) s.terms_ = std::make_shared<const std::vector<SymTerm>>(std::move(merged));
  return s;
}

Sym to_sym(SymTerm t) { return from_terms({std::move(t)}, 0); }

Sym without_atom(SymTerm t, size_t i) {
  t.atoms.erase(t.atoms.begin() + static_cast<int64_t>(i));
  return to_sym(std::move(t));
}

Sym Sym::symbol(std::string_view name) {
  auto atom = std::make_shared<SymAtom>();
  atom->kind = SymAtomKind::Symbol;
  atom->name = name;
  return to_sym(SymTerm{1, {std::move(atom)}});
}

int64_t Sym::value() const {
  OURJIT_CHECK(is_const()) << str() << " is symbolic";
  return constant_;
}

/// The atom if this is exactly one, else null.
const SymAtom* Sym::as_atom() const {
  if (constant_ != 0 || terms().size() != 1) return nullptr;
  const SymTerm& t = terms()[0];
  return t.coefficient == 1 && t.atoms.size() == 1 ? t.atoms[0].get() : nullptr;
}

std::optional<std::string> Sym::as_symbol() const {
  const SymAtom* a = as_atom();
  if (!a || a->kind != SymAtomKind::Symbol) return std::nullopt;
  return a->name;
}

std::optional<std::pair<Sym, Sym>> Sym::as_min() const {
  const SymAtom* a = as_atom();
  if (!a || a->kind != SymAtomKind::Min) return std::nullopt;
  return std::pair(a->a, a->b);
}

bool nonnegative(const Sym& x) {
  if (x.constant() < 0) return false;
  for (const SymTerm& t : x.terms()) {
    if (t.coefficient < 0) return false;
    for (const auto& f : t.atoms)
      if (f->kind == SymAtomKind::Symbol ? !is_size(f->name)
                                         : !(nonnegative(f->a) && nonnegative(f->b)))
        return false;
  }
  return true;
}

const std::vector<SymTerm>& Sym::terms() const {
  static const std::vector<SymTerm> none;
  return terms_ ? *terms_ : none;
}

Sym operator+(const Sym& a, const Sym& b) {
  if (a.is_const() && b.is_const()) return Sym(add64(a.constant_, b.constant_));
  std::vector<SymTerm> terms = a.terms();
  terms.insert(terms.end(), b.terms().begin(), b.terms().end());
  return from_terms(std::move(terms), add64(a.constant_, b.constant_));
}

Sym operator-(const Sym& a, const Sym& b) { return a + Sym(-1) * b; }

Sym operator*(const Sym& a, const Sym& b) {
  if (a.is_const() && b.is_const()) return Sym(mul64(a.constant_, b.constant_));
  std::vector<SymTerm> terms;
  const auto with_constant = [](const Sym& x) {
    std::vector<SymTerm> all = x.terms();
    if (x.constant_ != 0) all.push_back({x.constant_, {}});
    return all;
  };
  for (const SymTerm& x : with_constant(a))
    for (const SymTerm& y : with_constant(b)) {
      SymTerm t{mul64(x.coefficient, y.coefficient), x.atoms};
      t.atoms.insert(t.atoms.end(), y.atoms.begin(), y.atoms.end());
      std::sort(t.atoms.begin(), t.atoms.end(),
                [](const AtomPtr& p, const AtomPtr& q) { return compare_atoms(*p, *q) < 0; });
      terms.push_back(std::move(t));
    }
  return from_terms(std::move(terms), 0);
}

int compare(const Sym& a, const Sym& b) {
  if (a.terms_ != b.terms_) {
    const auto &x = a.terms(), &y = b.terms();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (const int c = compare_products(x[i].atoms, y[i].atoms)) return c;
      if (x[i].coefficient != y[i].coefficient) return x[i].coefficient < y[i].coefficient ? -1 : 1;
    }
    if (x.size() != y.size()) return x.size() < y.size() ? -1 : 1;
  }
  if (a.constant_ == b.constant_) return 0;
  return a.constant_ < b.constant_ ? -1 : 1;
}

Sym make_op(SymAtomKind kind, const Sym& a, const Sym& b) {
  if (a.is_const() && b.is_const()) return Sym(apply(kind, a.value(), b.value()));
  auto atom = std::make_shared<SymAtom>();
  atom->kind = kind;
  atom->a = a;
  atom->b = b;
  return to_sym(SymTerm{1, {std::move(atom)}});
}

std::optional<Sym> exact_div(const Sym& a, const Sym& b) {
  if (b.is_const(0)) return std::nullopt;
  if (b.is_const(1)) return a;
  if (a == b) return Sym(1);
  // One-term divisors only: every term of `a` must contain all of its atoms and its coefficient.
  if (!b.is_const() && (b.terms().size() != 1 || b.constant() != 0)) return std::nullopt;
  const SymTerm divisor = b.is_const() ? SymTerm{b.constant(), {}} : b.terms()[0];
  std::vector<SymTerm> quotient;
  std::vector<SymTerm> all = a.terms();
  if (a.constant() != 0) all.push_back({a.constant(), {}});
  for (SymTerm t : all) {
    if (t.coefficient % divisor.coefficient != 0) return std::nullopt;
    t.coefficient /= divisor.coefficient;
    for (const AtomPtr& d : divisor.atoms) {
      const auto it = std::find_if(t.atoms.begin(), t.atoms.end(),
                                   [&](const AtomPtr& x) { return compare_atoms(*x, *d) == 0; });
      if (it == t.atoms.end()) return std::nullopt;
      t.atoms.erase(it);
    }
    quotient.push_back(std::move(t));
  }
  return from_terms(std::move(quotient), 0);
}

std::pair<Sym, Sym> split_by(const Sym& a, const Sym& b) {
  Sym quotient, rest;
  for (const SymTerm& t : a.terms()) {
    const Sym term = to_sym(t);
    if (auto q = exact_div(term, b))
      quotient += *q;
    else
      rest += term;
  }
  if (b.is_const() && !b.is_const(0)) {
    quotient += floordiv64(a.constant(), b.value());
    rest += mod64(a.constant(), b.value());
  } else {
    rest += a.constant();
  }
  return {quotient, rest};
}

namespace {

/// b > 0 surely: a positive number, or a product of sizes (assumed nonzero where it divides).
bool positive_divisor(const Sym& b) {
  if (b.is_const()) return b.value() > 0;
  return b.terms().size() == 1 && b.constant() == 0 && b.terms()[0].coefficient > 0;
}

}  // namespace

Sym floordiv(const Sym& a, const Sym& b) {
  if (b.is_const(1)) return a;
  if (a.is_const(0) && !b.is_const(0)) return 0;
  if (!positive_divisor(b)) return make_op(SymAtomKind::FloorDiv, a, b);
  const auto [q, r] = split_by(a, b);
  if (r.is_const() && b.is_const()) return q + floordiv64(r.value(), b.value());
  if (r.is_const(0)) return q;
  // floordiv(floordiv(x, m), n) = floordiv(x, m*n) for positive numbers.
  if (b.is_const() && r.constant() == 0 && r.terms().size() == 1 && r.terms()[0].coefficient == 1 &&
      r.terms()[0].atoms.size() == 1) {
    const SymAtom& inner = *r.terms()[0].atoms[0];
    if (inner.kind == SymAtomKind::FloorDiv && inner.b.is_const() && inner.b.value() > 0)
      return q + floordiv(inner.a, inner.b * b);
  }
  return q + make_op(SymAtomKind::FloorDiv, r, b);
}

Sym mod(const Sym& a, const Sym& b) {
  if (b.is_const(1)) return 0;
  if (a.is_const(0) && !b.is_const(0)) return 0;
  if (!positive_divisor(b)) return make_op(SymAtomKind::Mod, a, b);
  const Sym r = split_by(a, b).second;
  if (r.is_const() && b.is_const()) return mod64(r.value(), b.value());
  if (r.is_const(0)) return 0;
  if (b.is_const() && r.constant() == 0 && r.terms().size() == 1 && r.terms()[0].coefficient == 1 &&
      r.terms()[0].atoms.size() == 1) {
    const SymAtom& inner = *r.terms()[0].atoms[0];
    if (inner.kind == SymAtomKind::Mod && inner.b.is_const() && inner.b.value() > 0 &&
        inner.b.value() % b.value() == 0)
      return mod(inner.a, b);
  }
  return make_op(SymAtomKind::Mod, r, b);
}

Sym min(const Sym& a, const Sym& b) {
  const Sym d = a - b;
  if (d.is_const()) return d.value() <= 0 ? a : b;
  return compare(a, b) <= 0 ? make_op(SymAtomKind::Min, a, b) : make_op(SymAtomKind::Min, b, a);
}

Sym max(const Sym& a, const Sym& b) {
  const Sym d = a - b;
  if (d.is_const()) return d.value() >= 0 ? a : b;
  return compare(a, b) <= 0 ? make_op(SymAtomKind::Max, a, b) : make_op(SymAtomKind::Max, b, a);
}

Sym product(const std::vector<Sym>& xs) {
  Sym p = 1;
  for (const Sym& x : xs) p *= x;
  return p;
}

int64_t Sym::eval(const SymEnv& env) const {
  int64_t sum = constant_;
  for (const SymTerm& t : terms()) {
    int64_t p = t.coefficient;
    for (const AtomPtr& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol) {
        const std::optional<int64_t> v = env(f->name);
        if (!v) OURJIT_RAISE(UserError) << "the size " << f->name << " has no value";
        p = mul64(p, *v);
      } else {
        p = mul64(p, apply(f->kind, f->a.eval(env), f->b.eval(env)));
      }
    }
    sum = add64(sum, p);
  }
  return sum;
}

Sym to_sym(const SymAtom& f) {
  switch (f.kind) {
    case SymAtomKind::Symbol:
      return Sym::symbol(f.name);
    case SymAtomKind::FloorDiv:
      return floordiv(f.a, f.b);
    case SymAtomKind::Mod:
      return mod(f.a, f.b);
    case SymAtomKind::Min:
      return min(f.a, f.b);
    case SymAtomKind::Max:
      return max(f.a, f.b);
  }
  OURJIT_CHECK(false) << "an atom has no kind";
  return 0;
}

Sym Sym::substitute(const std::function<std::optional<Sym>(std::string_view)>& map) const {
  if (is_const()) return *this;
  Sym sum = constant_;
  for (const SymTerm& t : terms()) {
    Sym p = t.coefficient;
    for (const AtomPtr& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol) {
        const std::optional<Sym> v = map(f->name);
        p *= v ? *v : to_sym(SymTerm{1, {f}});
      } else {
        p *= to_sym(SymAtom{f->kind, {}, f->a.substitute(map), f->b.substitute(map)});
      }
    }
    sum += p;
  }
  return sum;
}

namespace {
void collect(const Sym& s, std::set<std::string>& out) {
  for (const SymTerm& t : s.terms())
    for (const AtomPtr& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol) {
        out.insert(f->name);
      } else {
        collect(f->a, out);
        collect(f->b, out);
      }
    }
}
}  // namespace

std::vector<std::string> Sym::symbols() const {
  std::set<std::string> names;
  collect(*this, names);
  return {names.begin(), names.end()};
}

bool Sym::mentions(std::string_view name) const {
  for (const SymTerm& t : terms())
    for (const AtomPtr& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol ? f->name == name
                                         : f->a.mentions(name) || f->b.mentions(name))
        return true;
    }
  return false;
}

std::optional<std::pair<Sym, Sym>> Sym::linear_in(std::string_view name) const {
  Sym slope, rest = constant_;
  for (const SymTerm& t : terms()) {
    const Sym term = to_sym(t);
    if (!term.mentions(name)) {
      rest += term;
      continue;
    }
    const auto at = std::find_if(t.atoms.begin(), t.atoms.end(), [&](const AtomPtr& f) {
      return f->kind == SymAtomKind::Symbol && f->name == name;
    });
    if (at == t.atoms.end()) return std::nullopt;
    const Sym c = without_atom(t, static_cast<size_t>(at - t.atoms.begin()));
    if (c.mentions(name)) return std::nullopt;
    slope += c;
  }
  return std::make_pair(slope, rest);
}

size_t Sym::hash() const {
  size_t h = std::hash<int64_t>()(constant_);
  const auto mix = [&h](size_t x) { h = (h ^ x) * 0x9E3779B97F4A7C15ull + (h >> 29); };
  for (const SymTerm& t : terms()) {
    mix(std::hash<int64_t>()(t.coefficient));
    for (const AtomPtr& f : t.atoms) {
      mix(static_cast<size_t>(f->kind));
      mix(std::hash<std::string>()(f->name));
      if (f->kind != SymAtomKind::Symbol) {
        mix(f->a.hash());
        mix(f->b.hash());
      }
    }
  }
  return h;
}

}  // namespace ourjit
