#include "base/sym.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace ourjit {
namespace {

Sym s(const char* text) { return Sym::parse(text); }

TEST(Sym, PolynomialsAreCanonical) {
  EXPECT_EQ(s("s0*128 + 4 - 4"), s("128*s0"));
  EXPECT_EQ(s("(s0 + 1)*(s0 - 1)"), s("s0*s0 - 1"));
  EXPECT_EQ(s("s0 - s0"), Sym(0));
  EXPECT_NE(s("s0"), s("s1"));
}

TEST(Sym, TextRoundTrips) {
  for (const char* t : {"0", "-3", "s0", "s0*128 + 4", "floordiv(s0 + 1, 2)*3", "mod(s0*s1, 7) - 2",
                        "min(s0, 4096)", "-s0 + s1*2"})
    EXPECT_EQ(s(s(t).str().c_str()), s(t)) << t;
}

TEST(Sym, BadTextIsAUserError) {
  for (const char* t : {"", "s0 +", "(s0", "min(s0)", "s0 s1", "9999999999999999999999"})
    EXPECT_THROW(Sym::parse(t), UserError) << t;
  EXPECT_THROW(Sym::parse(std::string(100000, '(')), UserError);
}

TEST(Sym, DivisionFoldsExactParts) {
  EXPECT_EQ(floordiv(s("6*s0 + 4"), 2), s("3*s0 + 2"));
  EXPECT_EQ(mod(s("6*s0 + 5"), 2), Sym(1));
  EXPECT_EQ(floordiv(s("s0*128"), s("s0")), Sym(128));
  EXPECT_EQ(floordiv(Sym(-1), 4), Sym(-1));
  EXPECT_EQ(mod(Sym(-1), 4), Sym(3));
  EXPECT_EQ(*exact_div(s("s0*s1*4"), s("s1*2")), s("s0*2"));
  EXPECT_FALSE(exact_div(s("s0 + 1"), s("s0")));
}

TEST(Sym, SplitsByADivisor) {
  const auto [q, r] = split_by(s("s0*128 + c + 5"), 4);
  EXPECT_EQ(q, s("s0*32 + 1"));
  EXPECT_EQ(r, s("c + 1"));
  const auto [rows, rest] = split_by(s("r*s0 + c - 3"), s("s0"));
  EXPECT_EQ(rows, s("r"));
  EXPECT_EQ(rest, s("c - 3"));
}

TEST(Sym, TermsAndAtomsStandAlone) {
  const Sym x = s("floordiv(a, 3)*s0*2 + mod(a, 3) + min(a, s0) + max(a, s0) + a + 7");
  Sym sum = x.constant();
  for (const SymTerm& t : x.terms()) {
    Sym p = t.coefficient;
    for (const auto& f : t.atoms) p *= to_sym(*f);
    EXPECT_EQ(p, to_sym(t));
    sum += p;
  }
  EXPECT_EQ(sum, x);
  // An atom of changed operands is simplified.
  EXPECT_EQ(to_sym(SymAtom{SymAtomKind::FloorDiv, {}, s("6*a"), 3}), s("2*a"));
  const SymTerm product = s("2*a*b").terms()[0];
  EXPECT_EQ(without_atom(product, 0), s("2*b"));
}

TEST(Sym, Evaluates) {
  const SymEnv env = [](std::string_view n) -> std::optional<int64_t> {
    if (n == "a") return 7;
    return std::nullopt;
  };
  EXPECT_EQ(s("floordiv(a, 2)*10 + mod(a, 4) + min(a, 5) + max(a, 100)").eval(env), 138);
  EXPECT_THROW(s("b").eval(env), UserError);
}

TEST(Sym, LinearIn) {
  const auto [c, rest] = *s("r*128 + c*s0 + 3").linear_in("c");
  EXPECT_EQ(c, s("s0"));
  EXPECT_EQ(rest, s("r*128 + 3"));
  EXPECT_FALSE(s("floordiv(c, 2)").linear_in("c"));
  EXPECT_FALSE(s("c*c").linear_in("c"));
}

TEST(SymBounds, DecidesDivisions) {
  SymBounds b;
  b.set_extent("r", s("s0"));
  b.set_extent("c", 128);
  EXPECT_EQ(b.simplify(s("floordiv(128*r + c, 128)")), s("r"));
  EXPECT_EQ(b.simplify(s("mod(128*r + c, 128)")), s("c"));
  EXPECT_EQ(b.simplify(s("mod(r, s0)")), s("r"));
  EXPECT_EQ(b.simplify(s("floordiv(c, 64)")), s("floordiv(c, 64)"));
  EXPECT_EQ(b.simplify(s("floordiv(r, 16)*64 + mod(r, 16)*4")), s("r*4"));
  EXPECT_EQ(b.simplify(s("floordiv(r, 1440)*1440 + mod(floordiv(r, 10), 144)*10 + mod(r, 10)")),
            s("r"));
  EXPECT_EQ(b.simplify(s("floordiv(r*s1 + k, s1)")), s("r + floordiv(k, s1)"));
}

}  // namespace
}  // namespace ourjit
