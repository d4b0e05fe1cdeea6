#include "codegen/cuda_index.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "loop/visit.h"

namespace ourjit::cuda {
namespace {

constexpr double kLargest = 2147483647.0 - 65536;  // room for a step of a loop beyond its end
constexpr double kUnknown = std::numeric_limits<double>::infinity();

std::string c_atom(const SymAtom& f, const SymbolName& name) {
  if (f.kind == SymAtomKind::Symbol) return name(f.name);
  const std::string a = c_index(f.a, name), b = c_index(f.b, name);
  const bool plain = nonnegative(f.a) && nonnegative(f.b);
  const bool known = plain && f.b.is_const() && f.b.value() < (int64_t{1} << 31);
  switch (f.kind) {
    case SymAtomKind::FloorDiv:
      if (known) return "oj_div_by<" + b + ">(" + a + ")";
      return plain ? "((" + a + ") / (" + b + "))" : "oj_floordiv<oj_index>(" + a + ", " + b + ")";
    case SymAtomKind::Mod:
      if (known) return "oj_mod_by<" + b + ">(" + a + ")";
      return plain ? "((" + a + ") % (" + b + "))" : "oj_floormod<oj_index>(" + a + ", " + b + ")";
    case SymAtomKind::Min:
      return "oj_min_index<oj_index>(" + a + ", " + b + ")";
    case SymAtomKind::Max:
      return "oj_max_index<oj_index>(" + a + ", " + b + ")";
    case SymAtomKind::Symbol:
      break;
  }
  return "";
}

/// Bounds on magnitudes, given those of symbols.
class Magnitudes {
 public:
  explicit Magnitudes(const loop::Kernel& k) {
    for (const loop::Buffer& b : k.buffers) look(b.size);
    walk(k.body);
  }
  bool fit() const { return largest_ <= kLargest; }

 private:
  void walk(const std::vector<loop::Node>& body) {
    for (const loop::Node& n : body) {
      loop::for_each_sym(n, [&](const Sym& s) { look(s); });
      if (const auto* f = std::get_if<loop::For>(&n.v)) {
        symbols_[f->var] = magnitude(f->end);
        if (!f->slot.empty()) symbols_[f->slot] = magnitude(f->end);
        walk(f->body);
      }
      if (const auto* b = std::get_if<loop::Bind>(&n.v)) symbols_[b->symbol] = magnitude(b->extent);
    }
  }

  void look(const Sym& s) { largest_ = std::max(largest_, magnitude(s)); }

  /// At least the magnitude of `s` and of every part of it.
  double magnitude(const Sym& s) {
    double sum = std::abs(static_cast<double>(s.constant()));
    for (const SymTerm& t : s.terms()) {
      double product = std::abs(static_cast<double>(t.coefficient));
      for (const auto& a : t.atoms) product *= magnitude(*a);
      sum += product;
    }
    return sum;
  }

  double magnitude(const SymAtom& a) {
    if (a.kind == SymAtomKind::Symbol) {
      const auto it = symbols_.find(a.name);
      return it == symbols_.end() ? kUnknown : it->second;
    }
    const double x = magnitude(a.a), y = magnitude(a.b);
    // The operands are computed as well.
    largest_ = std::max({largest_, x, y});
    switch (a.kind) {
      case SymAtomKind::FloorDiv:
        return a.b.is_const() && a.b.value() > 0 ? x / y + 1 : x;
      case SymAtomKind::Mod:
        return std::min(x, y);
      case SymAtomKind::Min:
        return nonnegative(a.a) && nonnegative(a.b) ? std::min(x, y) : std::max(x, y);
      case SymAtomKind::Max:
      case SymAtomKind::Symbol:
        break;
    }
    return std::max(x, y);
  }

  std::map<std::string, double, std::less<>> symbols_;
  double largest_ = 0;
};

}  // namespace

std::string c_index(const Sym& s, const SymbolName& name) {
  std::string out;
  for (const SymTerm& t : s.terms()) {
    int64_t c = t.coefficient;
    if (!out.empty()) {
      out += c < 0 ? " - " : " + ";
      c = std::abs(c);
    } else if (c == -1) {
      out += "-";
      c = 1;
    }
    std::string factors;
    for (const auto& a : t.atoms) factors += (factors.empty() ? "" : " * ") + c_atom(*a, name);
    if (c != 1)
      factors += " * " + std::string(c < 0 ? "(" : "") + std::to_string(c) + (c < 0 ? ")" : "");
    out += factors;
  }
  if (out.empty()) return std::to_string(s.constant());
  if (s.constant() != 0)
    out += (s.constant() < 0 ? " - " : " + ") + std::to_string(std::abs(s.constant()));
  return out;
}

bool is_multiple(const Sym& s, int64_t n) {
  if (s.constant() % n != 0) return false;
  return std::all_of(s.terms().begin(), s.terms().end(), [&](const SymTerm& t) {
    if (t.coefficient % n == 0) return true;
    return std::any_of(t.atoms.begin(), t.atoms.end(), [&](const auto& f) {
      return f->kind == SymAtomKind::Mod && is_multiple(f->a, n) && is_multiple(f->b, n);
    });
  });
}

Sym over_lanes(const Sym& s, const std::string& var, const Sym& begin, int lanes) {
  int opaque = 0;
  const std::function<Sym(const Sym&)> rewrite = [&](const Sym& x) {
    Sym sum = x.constant();
    for (const SymTerm& t : x.terms()) {
      Sym product = t.coefficient;
      for (const auto& f : t.atoms) {
        const bool quotient = f->kind == SymAtomKind::FloorDiv || f->kind == SymAtomKind::Mod;
        // Lanes stay within one period: they divide it, and the first one stands at a multiple.
        const auto linear = quotient ? f->a.linear_in(var) : std::nullopt;
        if (linear && linear->first.is_const(1) && f->b.is_const() && is_multiple(f->b, lanes) &&
            is_multiple(linear->second + begin, lanes)) {
          const Sym first = Sym::symbol("@" + std::to_string(opaque++));
          product *= f->kind == SymAtomKind::Mod ? first + Sym::symbol(kLane) : first;
        } else if (f->kind == SymAtomKind::Symbol) {
          product *= f->name == var ? to_sym(*f) + Sym::symbol(kLane) : to_sym(*f);
        } else {
          product *= to_sym(SymAtom{f->kind, {}, rewrite(f->a), rewrite(f->b)});
        }
      }
      sum += product;
    }
    return sum;
  };
  return s.mentions(var) ? rewrite(s) : s;
}

bool fits_int(const loop::Kernel& k) { return Magnitudes(k).fit(); }

}  // namespace ourjit::cuda
