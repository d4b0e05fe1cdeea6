#include "base/sym.h"

#include <algorithm>
#include <cctype>
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

Sym one_term(SymTerm t);

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

namespace {
Sym one_term(SymTerm t) { return from_terms({std::move(t)}, 0); }

Sym term_without(const SymTerm& t, size_t i) {
  SymTerm r = t;
  r.atoms.erase(r.atoms.begin() + static_cast<int64_t>(i));
  return one_term(std::move(r));
}
}  // namespace

Sym Sym::symbol(std::string_view name) {
  auto atom = std::make_shared<SymAtom>();
  atom->kind = SymAtomKind::Symbol;
  atom->name = name;
  return one_term({1, {std::move(atom)}});
}

int64_t Sym::value() const {
  OURJIT_CHECK(is_const()) << str() << " is symbolic";
  return constant_;
}

std::optional<std::string> Sym::as_symbol() const {
  if (constant_ != 0 || terms().size() != 1) return std::nullopt;
  const SymTerm& t = terms()[0];
  if (t.coefficient != 1 || t.atoms.size() != 1 || t.atoms[0]->kind != SymAtomKind::Symbol)
    return std::nullopt;
  return t.atoms[0]->name;
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
  return one_term({1, {std::move(atom)}});
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

namespace {

/// Splits `a` into q * b + r with q as large a part as divides exactly; for a numeric b the
/// constant's remainder is brought into [0, b).
std::pair<Sym, Sym> split_by(const Sym& a, const Sym& b) {
  Sym quotient, rest;
  for (const SymTerm& t : a.terms()) {
    const Sym term = one_term(t);
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

namespace {
Sym rebuild(SymAtomKind kind, const Sym& a, const Sym& b) {
  switch (kind) {
    case SymAtomKind::FloorDiv:
      return floordiv(a, b);
    case SymAtomKind::Mod:
      return mod(a, b);
    case SymAtomKind::Min:
      return min(a, b);
    case SymAtomKind::Max:
      return max(a, b);
    case SymAtomKind::Symbol:
      break;
  }
  OURJIT_CHECK(false) << "a symbol is not an operation";
  return 0;
}
}  // namespace

Sym Sym::substitute(const std::function<std::optional<Sym>(std::string_view)>& map) const {
  if (is_const()) return *this;
  Sym sum = constant_;
  for (const SymTerm& t : terms()) {
    Sym p = t.coefficient;
    for (const AtomPtr& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol) {
        const std::optional<Sym> v = map(f->name);
        p *= v ? *v : one_term({1, {f}});
      } else {
        p *= rebuild(f->kind, f->a.substitute(map), f->b.substitute(map));
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
    const Sym term = one_term(t);
    if (!term.mentions(name)) {
      rest += term;
      continue;
    }
    const auto at = std::find_if(t.atoms.begin(), t.atoms.end(), [&](const AtomPtr& f) {
      return f->kind == SymAtomKind::Symbol && f->name == name;
    });
    if (at == t.atoms.end()) return std::nullopt;
    const Sym c = term_without(t, static_cast<size_t>(at - t.atoms.begin()));
    if (c.mentions(name)) return std::nullopt;
    slope += c;
  }
  return std::make_pair(slope, rest);
}

namespace {

std::string atom_str(const SymAtom& f) {
  static constexpr std::string_view kNames[] = {"", "floordiv", "mod", "min", "max"};
  if (f.kind == SymAtomKind::Symbol) return f.name;
  return std::string(kNames[static_cast<int>(f.kind)]) + "(" + f.a.str() + ", " + f.b.str() + ")";
}

/// Recursive descent over the grammar in sym.h.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Sym all() {
    const Sym s = sum();
    skip();
    if (at_ != text_.size()) fail();
    return s;
  }

 private:
  [[noreturn]] void fail() {
    OURJIT_RAISE(UserError) << "bad size expression '" << text_ << "' at column " << at_ + 1;
  }
  void skip() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool eat(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Sym sum() {
    Sym s = eat('-') ? Sym(-1) * factors() : factors();
    for (;;) {
      if (eat('+'))
        s += factors();
      else if (eat('-'))
        s = s - factors();
      else
        return s;
    }
  }
  Sym factors() {
    Sym s = primary();
    while (eat('*')) s *= primary();
    return s;
  }
  Sym primary() {
    if (++depth_ > 200) fail();
    const Sym s = primary_unchecked();
    --depth_;
    return s;
  }
  Sym primary_unchecked() {
    skip();
    if (eat('(')) {
      const Sym s = sum();
      if (!eat(')')) fail();
      return s;
    }
    if (at_ >= text_.size()) fail();
    const size_t begin = at_;
    if (std::isdigit(static_cast<unsigned char>(text_[at_]))) {
      int64_t v = 0;
      while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])))
        v = add64(mul64(v, 10), text_[at_++] - '0');
      return v;
    }
    const auto is_name = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
    };
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    if (at_ == begin) fail();
    const std::string_view name = text_.substr(begin, at_ - begin);
    static const std::map<std::string_view, SymAtomKind> ops = {{"floordiv", SymAtomKind::FloorDiv},
                                                                {"mod", SymAtomKind::Mod},
                                                                {"min", SymAtomKind::Min},
                                                                {"max", SymAtomKind::Max}};
    const auto op = ops.find(name);
    if (op == ops.end() || !eat('(')) return Sym::symbol(name);
    const Sym a = sum();
    if (!eat(',')) fail();
    const Sym b = sum();
    if (!eat(')')) fail();
    return rebuild(op->second, a, b);
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string Sym::str() const {
  std::string out;
  for (const SymTerm& t : terms()) {
    const int64_t c = t.coefficient;
    if (!out.empty())
      out += c < 0 ? " - " : " + ";
    else if (c < 0)
      out += "-";
    for (size_t i = 0; i < t.atoms.size(); ++i) out += (i ? "*" : "") + atom_str(*t.atoms[i]);
    if (c != 1 && c != -1) out += "*" + std::to_string(c < 0 ? -c : c);
  }
  if (out.empty()) return std::to_string(constant_);
  if (constant_ > 0) out += " + " + std::to_string(constant_);
  if (constant_ < 0) out += " - " + std::to_string(-constant_);
  return out;
}

Sym Sym::parse(std::string_view text) { return Parser(text).all(); }

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
    for (const AtomPtr& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol) {
        const auto e = extent(f->name);
        top *= e ? *e - 1 : one_term({1, {f}});
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
      const Sym k = term_without(t, i);
      const Sym quotient = k * m.b * floordiv(m.a, m.b);
      if (quotient.terms().size() != 1) continue;
      const SymTerm& wanted = quotient.terms()[0];
      for (const SymTerm& u : x.terms())
        if (u.coefficient == wanted.coefficient && compare_products(u.atoms, wanted.atoms) == 0)
          return join_quotients(x - one_term(t) - quotient + k * m.a);
    }
  return x;
}

}  // namespace

Sym SymBounds::simplify(const Sym& x) const {
  if (x.is_const()) return x;
  Sym sum = x.constant();
  for (const SymTerm& t : x.terms()) {
    Sym p = t.coefficient;
    for (const AtomPtr& f : t.atoms) {
      if (f->kind == SymAtomKind::Symbol) {
        p *= one_term({1, {f}});
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
      p *= rebuild(f->kind, a, b);
    }
    sum += p;
  }
  return join_quotients(sum);
}

}  // namespace ourjit
