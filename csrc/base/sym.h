// Symbolic integers: sizes, strides and indices are quasi-polynomials with integer coefficients.
//
// A Sym is a sum of terms `coefficient * product of atoms`. An atom is a named symbol (a size such
// as `s0`, or in the loop IR a loop variable) or one of floordiv(a, b), mod(a, b), min(a, b),
// max(a, b) of two Syms. Terms are kept sorted and merged, so equal polynomials compare equal
// structurally; this decides equality of everything that is a polynomial, and is only sufficient
// where floordiv, mod, min and max are involved. Sizes are assumed to be nonnegative, but not all
// symbols are sizes (see is_size); floordiv
// rounds to minus infinity.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ourjit {

class Sym;

enum class SymAtomKind : uint8_t { Symbol, FloorDiv, Mod, Min, Max };

/// A factor that is not a number: a named symbol, or an operation on two Syms.
struct SymAtom;

/// coefficient * atoms[0] * atoms[1] * ...; atoms are sorted, repeated for powers.
struct SymTerm {
  int64_t coefficient;
  std::vector<std::shared_ptr<const SymAtom>> atoms;
};

/// Values of symbols.
using SymEnv = std::function<std::optional<int64_t>(std::string_view)>;

class Sym {
 public:
  Sym(int64_t value = 0) : constant_(value) {}  // NOLINT: integers are Syms
  static Sym symbol(std::string_view name);

  bool is_const() const { return !terms_; }
  bool is_const(int64_t v) const { return is_const() && constant_ == v; }
  /// The number; raises InternalError unless is_const().
  int64_t value() const;
  /// The name if this is exactly one symbol.
  std::optional<std::string> as_symbol() const;
  /// The operands if this is exactly one minimum.
  std::optional<std::pair<Sym, Sym>> as_min() const;

  friend Sym operator+(const Sym& a, const Sym& b);
  friend Sym operator-(const Sym& a, const Sym& b);
  friend Sym operator*(const Sym& a, const Sym& b);
  Sym& operator+=(const Sym& b) { return *this = *this + b; }
  Sym& operator*=(const Sym& b) { return *this = *this * b; }
  bool operator==(const Sym& b) const { return compare(*this, b) == 0; }
  bool operator!=(const Sym& b) const { return !(*this == b); }
  /// A total order for containers; numbers sort by value before everything else.
  bool operator<(const Sym& b) const { return compare(*this, b) < 0; }

  /// Terms that are not the constant, in canonical order.
  const std::vector<SymTerm>& terms() const;
  /// The constant term.
  int64_t constant() const { return constant_; }

  /// Evaluates; raises UserError naming the symbol that `env` lacks, or on division by zero.
  int64_t eval(const SymEnv& env) const;
  /// Replaces symbols by name; symbols for which `map` gives nullopt stay. Simplifies again.
  Sym substitute(const std::function<std::optional<Sym>(std::string_view)>& map) const;
  /// Names of all symbols in it, sorted, without repetition.
  std::vector<std::string> symbols() const;
  /// True if `name` occurs anywhere, also inside floordiv and so on.
  bool mentions(std::string_view name) const;

  /// If this is `c * name + rest` with c and rest free of `name`: {c, rest}.
  std::optional<std::pair<Sym, Sym>> linear_in(std::string_view name) const;

  /// "s0*128 + 4"; parse(str()) == *this.
  std::string str() const;
  /// Raises UserError on bad text. Grammar: + - *, parentheses, integers, names,
  /// floordiv(a, b), mod(a, b), min(a, b), max(a, b).
  static Sym parse(std::string_view text);

  size_t hash() const;

 private:
  const SymAtom* as_atom() const;
  friend int compare(const Sym& a, const Sym& b);
  friend Sym make_op(SymAtomKind kind, const Sym& a, const Sym& b);
  friend Sym from_terms(std::vector<SymTerm> terms, int64_t constant);

  int64_t constant_ = 0;
  std::shared_ptr<const std::vector<SymTerm>> terms_;  // null if there are none
};

struct SymAtom {
  SymAtomKind kind;
  std::string name;  // Symbol only
  Sym a, b;          // operations only
};

/// A factor or a term by itself, simplified anew (so a SymAtom of changed operands may be passed).
Sym to_sym(const SymAtom& f);
Sym to_sym(SymTerm t);
/// The term without its i-th factor.
Sym without_atom(SymTerm t, size_t i);

/// Exact quotients and remainders fold: floordiv(6*s0 + 4, 2) = 3*s0 + 2 and mod(6*s0 + 5, 2) = 1.
Sym floordiv(const Sym& a, const Sym& b);
Sym mod(const Sym& a, const Sym& b);
Sym min(const Sym& a, const Sym& b);
Sym max(const Sym& a, const Sym& b);
inline Sym ceildiv(const Sym& a, const Sym& b) { return floordiv(a + b - 1, b); }
/// If `a` is `b` times a polynomial: that polynomial. (s0*128 by s0 gives 128.)
std::optional<Sym> exact_div(const Sym& a, const Sym& b);
/// {q, r} with a = q * b + r, where q has every term of `a` that b divides exactly; for a numeric b
/// the constant of r is in [0, b).
std::pair<Sym, Sym> split_by(const Sym& a, const Sym& b);
/// False for numbers that are no sizes: their names begin with u, and they may have any sign.
inline bool is_size(std::string_view symbol) { return !symbol.starts_with('u'); }
/// True if no term of `x` can be negative when sizes are not.
bool nonnegative(const Sym& x);
/// Product of all.
Sym product(const std::vector<Sym>& xs);
/// Total order used by Sym::operator<.
int compare(const Sym& a, const Sym& b);

/// Known inclusive bounds of symbols, and what follows from them.
class SymBounds {
 public:
  /// `name` takes values in 0 .. extent - 1; extent may be symbolic.
  void set_extent(std::string_view name, const Sym& extent);
  /// Greatest known extent of a variable, if it has one.
  std::optional<Sym> extent(std::string_view name) const;
  /// True if 0 <= x < limit surely holds. Symbols without an extent (sizes) count as >= 0 only.
  bool in_range(const Sym& x, const Sym& limit) const;
  /// Rewrites floordiv and mod that the extents decide: with 0 <= c < 128,
  /// floordiv(128*r + c, 128) = r and mod(128*r + c, 128) = c.
  Sym simplify(const Sym& x) const;

 private:
  std::map<std::string, Sym, std::less<>> extents_;
};

}  // namespace ourjit

template <>
struct std::hash<ourjit::Sym> {
  size_t operator()(const ourjit::Sym& s) const { return s.hash(); }
};
