// What the text forms of both IRs share: tokens with positions, size expressions, exact numbers,
// quoted strings, and an indenting writer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/sym.h"

namespace ourjit {

/// `x` in the fewest digits that read back exactly; always with '.', 'e', or one of inf and nan.
std::string double_str(double x);
/// `s` in double quotes; quotes, backslashes and control characters are escaped.
std::string quote(std::string_view s);
/// [A-Za-z_][A-Za-z0-9_.]* without two dots in a row.
bool is_name(std::string_view s);

enum class TokenKind : uint8_t {
  Name,     // abc, aten.mm.default
  Int,      // 12
  Float,    // 1.5, 1e-05
  String,   // "..." (text holds what it stands for)
  Percent,  // %x (text is x)
  At,       // @x (text is x)
  Punct,    // one of ()[]{}<>:,=+-*/;! or -> or ..
  End,
};

struct Token {
  TokenKind kind;
  std::string text;
  int line, column;     // from 1
  std::string comment;  // what stands behind # later on this line, if no token comes between
};

/// A cursor over the tokens of a text. Comments run from # to the end of the line. Everything that
/// does not fit raises UserError with line and column.
class Lexer {
 public:
  explicit Lexer(std::string_view text);

  const Token& peek(size_t ahead = 0) const;
  /// Takes the next token.
  const Token& next();
  bool at_end() const { return peek().kind == TokenKind::End; }

  /// True if the next token is that punctuation or name.
  bool is(std::string_view punct_or_name, size_t ahead = 0) const;
  /// Takes it if it is next.
  bool eat(std::string_view punct_or_name);
  void expect(std::string_view punct_or_name);
  /// Takes a token of that kind; `what` names it in the error.
  std::string expect(TokenKind kind, std::string_view what);
  std::string name(std::string_view what = "a name") { return expect(TokenKind::Name, what); }

  /// An integer with optional sign.
  int64_t integer();
  /// A floating point number with optional sign; also inf and nan, and integers.
  double real();
  /// True if real() would take a number that is not an integer.
  bool is_real() const;
  /// A size expression by the grammar of Sym::parse.
  Sym sym();
  /// The comment behind the token taken last.
  const std::string& comment() const;

  /// Raises UserError at the next token.
  [[noreturn]] void fail(std::string_view message) const;

 private:
  Sym sym_product();
  Sym sym_factor();
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

/// Builds text line by line.
class TextWriter {
 public:
  /// One line at the current indentation.
  void line(std::string_view text);
  void indent() { ++depth_; }
  void dedent() { --depth_; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  int depth_ = 0;
};

}  // namespace ourjit
