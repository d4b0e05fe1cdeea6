// The text form of symbolic integers.
#include <cctype>

#include "base/error.h"
#include "base/sym.h"

namespace ourjit {
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
      Sym v = 0;  // checked for overflow
      while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])))
        v = v * 10 + (text_[at_++] - '0');
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
    return to_sym(SymAtom{op->second, {}, a, b});
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

}  // namespace ourjit
