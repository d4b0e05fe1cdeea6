#include "base/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace ourjit {
namespace {

TEST(Text, DoublesReadBackExactly) {
  for (const double x :
       {0.0, -0.0, 1.0, 0.1, 1e-5, 1e300, 5e-324, 1.0 / 3, -2.5e17,
        std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
    Lexer lex(double_str(x));
    EXPECT_TRUE(lex.is_real()) << double_str(x);
    const double y = lex.real();
    EXPECT_EQ(x, y);
    EXPECT_EQ(std::signbit(x), std::signbit(y));
    EXPECT_TRUE(lex.at_end());
  }
  EXPECT_EQ(double_str(1), "1.0");
  EXPECT_EQ(double_str(-0.0), "-0.0");
  EXPECT_EQ(double_str(1e-5), "1e-05");
  EXPECT_TRUE(std::isnan(Lexer("nan").real()));
}

TEST(Text, StringsReadBackExactly) {
  const std::string s = "a\"b\\c\n\t\x01#%é";
  EXPECT_EQ(Lexer(quote(s)).expect(TokenKind::String, "a string"), s);
}

TEST(Text, Tokens) {
  Lexer lex("%x.1: f32[s0, 4] = aten.add.Tensor(0..128, -> 1.5e-3) # model.py:41 \n next");
  EXPECT_EQ(lex.expect(TokenKind::Percent, "x"), "x.1");
  lex.expect(":");
  EXPECT_EQ(lex.name(), "f32");
  lex.expect("[");
  EXPECT_EQ(lex.sym(), Sym::symbol("s0"));
  lex.expect(",");
  EXPECT_EQ(lex.integer(), 4);
  lex.expect("]");
  EXPECT_EQ(lex.comment(), "");
  lex.expect("=");
  EXPECT_EQ(lex.name(), "aten.add.Tensor");
  lex.expect("(");
  EXPECT_EQ(lex.sym(), Sym(0));
  lex.expect("..");
  EXPECT_EQ(lex.sym(), Sym(128));
  lex.expect(",");
  lex.expect("->");
  EXPECT_TRUE(lex.is_real());
  EXPECT_EQ(lex.real(), 1.5e-3);
  lex.expect(")");
  EXPECT_EQ(lex.comment(), "model.py:41");
  EXPECT_EQ(lex.peek().line, 2);
  EXPECT_EQ(lex.peek().column, 2);
}

TEST(Text, SizesReadBack) {
  const Sym s0 = Sym::symbol("s0"), s1 = Sym::symbol("s1");
  for (const Sym& s :
       {s0 * 128 + 4, floordiv(s0 + 3, 4) * s1 - 7, mod(s0, s1), min(s0, 5), max(s0 * s0, s1),
        Sym(-3), Sym(std::numeric_limits<int64_t>::min()), Sym(-1) * s0 + 2}) {
    Lexer lex(s.str());
    EXPECT_EQ(lex.sym(), s) << s.str();
    EXPECT_TRUE(lex.at_end());
  }
  EXPECT_EQ(Lexer("s0..s1").sym(), s0);
}

TEST(Text, ErrorsNameTheirPlace) {
  const auto message = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const UserError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([] { Lexer("a\n  ?"); }), "line 2, column 3: unexpected character");
  EXPECT_EQ(message([] { Lexer("a b").expect(")"); }), "line 1, column 1: expected ')' (at 'a')");
  EXPECT_EQ(message([] { Lexer("(s0").sym(); }), "line 1, column 4: expected ')' (at the end)");
  EXPECT_NE(message([] { Lexer("9999999999999999999").integer(); }), "no error");
  EXPECT_NE(message([] { Lexer("4611686018427387904*4").sym(); }), "no error");
  EXPECT_NE(message([] { Lexer("floordiv(s0, 0)*floordiv(1, 0)").sym(); }), "no error");
  EXPECT_NE(message([] { Lexer("\"abc"); }), "no error");
  EXPECT_NE(message([] { Lexer(std::string(100000, '(')).sym(); }), "no error");
  std::string power = "(a+b+c+d+e+f)";
  for (int i = 0; i < 100; ++i) power += "*(a+b+c+d+e+f)";
  EXPECT_NE(message([&] { Lexer(power).sym(); }), "no error");
}

}  // namespace
}  // namespace ourjit
