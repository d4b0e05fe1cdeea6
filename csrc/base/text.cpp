#include "base/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/error.h"

namespace ourjit {
namespace {

constexpr int kMaxDepth = 200;
// Products of sums grow fast; no real size expression comes near this.
constexpr size_t kMaxTerms = 1000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/// Cuts a text into tokens.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::vector<Token> all() {
    std::vector<Token> out;
    for (;;) {
      skip(out);
      Token t{TokenKind::End, "", line_, column(), ""};
      if (at_ == text_.size()) {
        out.push_back(std::move(t));
        return out;
      }
      scan(t);
      out.push_back(std::move(t));
    }
  }

 private:
  int column() const { return static_cast<int>(at_ - line_begin_) + 1; }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  [[noreturn]] void fail(std::string_view message) const {
    OURJIT_RAISE(UserError) << "line " << line_ << ", column " << column() << ": " << message;
    std::abort();
  }

  /// Skips blanks and comments; hangs a comment on the token before it on the same line.
  void skip(std::vector<Token>& out) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
        line_begin_ = ++at_;
      } else if (is_space(c)) {
        ++at_;
      } else if (c == '#') {
        size_t end = text_.find('\n', at_);
        if (end == std::string_view::npos) end = text_.size();
        std::string_view comment = text_.substr(at_ + 1, end - at_ - 1);
        while (!comment.empty() && is_space(comment.front())) comment.remove_prefix(1);
        while (!comment.empty() && is_space(comment.back())) comment.remove_suffix(1);
        if (!out.empty() && out.back().line == line_) out.back().comment = comment;
        at_ = end;
      } else {
        return;
      }
    }
  }

  /// [A-Za-z0-9_.]* without "..".
  std::string word() {
    const size_t begin = at_;
    while (is_letter(peek()) || is_digit(peek()) || (peek() == '.' && peek(1) != '.')) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  void scan(Token& t) {
    const char c = peek();
    if (is_letter(c)) {
      t.kind = TokenKind::Name;
      t.text = word();
    } else if (is_digit(c)) {
      number(t);
    } else if (c == '"') {
      t.kind = TokenKind::String;
      string(t.text);
    } else if (c == '%' || c == '@') {
      t.kind = c == '%' ? TokenKind::Percent : TokenKind::At;
      ++at_;
      t.text = word();
      if (t.text.empty() && c == '%') fail("a name must follow %");
    } else {
      t.kind = TokenKind::Punct;
      const std::string_view two = text_.substr(at_, 2);
      if (two == "->" || two == "..")
        t.text = two;
      else if (std::string_view("()[]{}<>:,=+-*/;!").find(c) != std::string_view::npos)
        t.text = c;
      else
        fail("unexpected character");
      at_ += t.text.size();
    }
  }

  void number(Token& t) {
    const size_t begin = at_;
    t.kind = TokenKind::Int;
    while (is_digit(peek())) ++at_;
    if (peek() == '.' && peek(1) != '.') {
      t.kind = TokenKind::Float;
      ++at_;
      while (is_digit(peek())) ++at_;
    }
    const bool sign = peek(1) == '-' || peek(1) == '+';
    if (peek() == 'e' && is_digit(peek(sign ? 2 : 1))) {
      t.kind = TokenKind::Float;
      at_ += sign ? 2 : 1;
      while (is_digit(peek())) ++at_;
    }
    if (is_letter(peek())) fail("a number runs into a name");
    t.text = text_.substr(begin, at_ - begin);
  }

  void string(std::string& out) {
    ++at_;
    for (;; ++at_) {
      const char c = peek();
      if (at_ >= text_.size() || c == '\n') fail("the string does not end on its line");
      if (c == '"') break;
      if (c != '\\') {
        out += c;
        continue;
      }
      ++at_;
      const char e = peek();
      if (e == '"' || e == '\\') {
        out += e;
      } else if (e == 'n') {
        out += '\n';
      } else if (e == 't') {
        out += '\t';
      } else if (e == 'x' && hex_digit(peek(1)) >= 0 && hex_digit(peek(2)) >= 0) {
        out += static_cast<char>(hex_digit(peek(1)) * 16 + hex_digit(peek(2)));
        at_ += 2;
      } else {
        fail("unknown escape in a string");
      }
    }
    ++at_;
  }

  std::string_view text_;
  size_t at_ = 0, line_begin_ = 0;
  int line_ = 1;
};

}  // namespace

std::string double_str(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), x).ptr;
  std::string s(buffer, end);
  if (s.find_first_of(".e") == std::string::npos) s += ".0";
  return s;
}

std::string quote(std::string_view s) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (u < 32 || u == 127) {
      out += "\\x";
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

bool is_name(std::string_view s) {
  if (s.empty() || !is_letter(s[0]) || s.back() == '.') return false;
  for (size_t i = 0; i < s.size(); ++i) {
    if (!is_letter(s[i]) && !is_digit(s[i]) && s[i] != '.') return false;
    if (s[i] == '.' && s[i - 1] == '.') return false;
  }
  return true;
}

Lexer::Lexer(std::string_view text) : tokens_(Scanner(text).all()) {}

const Token& Lexer::peek(size_t ahead) const {
  return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}

const Token& Lexer::next() {
  const Token& t = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return t;
}

bool Lexer::is(std::string_view s, size_t ahead) const {
  const Token& t = peek(ahead);
  return (t.kind == TokenKind::Punct || t.kind == TokenKind::Name) && t.text == s;
}

bool Lexer::eat(std::string_view s) {
  if (!is(s)) return false;
  next();
  return true;
}

void Lexer::expect(std::string_view s) {
  if (!eat(s)) fail("expected '" + std::string(s) + "'");
}

std::string Lexer::expect(TokenKind kind, std::string_view what) {
  if (peek().kind != kind) fail("expected " + std::string(what));
  return next().text;
}

int64_t Lexer::integer() {
  const std::string sign = eat("-") ? "-" : "";
  if (peek().kind != TokenKind::Int) fail("expected an integer");
  const std::string digits = sign + peek().text;
  int64_t v = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), v).ec != std::errc())
    fail("the integer does not fit 64 bits");
  next();
  return v;
}

bool Lexer::is_real() const {
  const size_t i = is("-") ? 1 : 0;
  return peek(i).kind == TokenKind::Float || is("inf", i) || is("nan", i);
}

double Lexer::real() {
  const bool negative = eat("-");
  double v = 0;
  if (is("inf")) {
    v = std::numeric_limits<double>::infinity();
  } else if (is("nan")) {
    v = std::numeric_limits<double>::quiet_NaN();
  } else {
    const Token& t = peek();
    if (t.kind != TokenKind::Float && t.kind != TokenKind::Int) fail("expected a number");
    if (std::from_chars(t.text.data(), t.text.data() + t.text.size(), v).ec != std::errc())
      fail("the number is out of range");
  }
  next();
  return negative ? -v : v;
}

Sym Lexer::sym() {
  if (++depth_ > kMaxDepth) fail("the expression is nested too deeply");
  Sym s = 0;
  try {
    const bool negated = is("-") && peek(1).kind != TokenKind::Int;
    s = negated && eat("-") ? Sym(-1) * sym_product() : sym_product();
    while (is("+") || is("-")) {
      const bool plus = next().text == "+";
      s = plus ? s + sym_product() : s - sym_product();
      if (s.terms().size() > kMaxTerms) fail("the expression is too large");
    }
  } catch (const UserError& e) {
    // Arithmetic on sizes reports overflow without a position.
    if (std::string_view(e.what()).starts_with("line ")) throw;
    fail(e.what());
  }
  --depth_;
  return s;
}

Sym Lexer::sym_product() {
  Sym s = sym_factor();
  while (eat("*")) {
    const Sym f = sym_factor();
    const auto terms = [](const Sym& x) { return x.terms().size() + 1; };
    const auto degree = [](const Sym& x) {
      size_t n = 0;
      for (const SymTerm& t : x.terms()) n = std::max(n, t.atoms.size());
      return n;
    };
    if (terms(s) * terms(f) > kMaxTerms || degree(s) + degree(f) > 64)
      fail("the expression is too large");
    s *= f;
  }
  return s;
}

Sym Lexer::sym_factor() {
  if (eat("(")) {
    Sym s = sym();
    expect(")");
    return s;
  }
  if (peek(is("-") ? 1 : 0).kind == TokenKind::Int) return integer();
  const std::string name = this->name("a size");
  static constexpr struct {
    std::string_view name;
    Sym (*make)(const Sym&, const Sym&);
  } kFunctions[] = {{"floordiv", floordiv}, {"mod", mod}, {"min", min}, {"max", max}};
  for (const auto& f : kFunctions) {
    if (name != f.name || !is("(")) continue;
    next();
    const Sym a = sym();
    expect(",");
    const Sym b = sym();
    expect(")");
    return f.make(a, b);
  }
  return Sym::symbol(name);
}

const std::string& Lexer::comment() const {
  static const std::string none;
  return at_ == 0 ? none : tokens_[at_ - 1].comment;
}

void Lexer::fail(std::string_view message) const {
  const Token& t = peek();
  const std::string found = t.kind == TokenKind::End ? "the end" : "'" + t.text + "'";
  OURJIT_RAISE(UserError) << "line " << t.line << ", column " << t.column << ": " << message
                          << " (at " << found << ")";
  std::abort();
}

void TextWriter::line(std::string_view text) {
  text_.append(static_cast<size_t>(2 * depth_), ' ').append(text).append("\n");
}

}  // namespace ourjit
