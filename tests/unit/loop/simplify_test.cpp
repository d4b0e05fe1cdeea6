#include "loop/simplify.h"

#include <gtest/gtest.h>

#include "loop/text.h"

namespace ourjit::loop {
namespace {

std::string simplified(const std::string& text) {
  Kernel k = parse_kernel(text);
  simplify_indices(k);
  return print(k);
}

TEST(LoopSimplify, LoopBoundsDecideDivisions) {
  const std::string text = simplified(R"(kernel @k(b0: in f32[s0*128], s0: index) {
  parallel r in 0..s0 {
    for c in 0..128 {
      %0: f32 = load b0[floordiv(r*128 + c, 128)*128 + mod(r*128 + c, 128)]
    }
  }
})");
  EXPECT_NE(text.find("load b0[c + r*128]"), std::string::npos) << text;
}

TEST(LoopSimplify, BlocksAndBindsBoundTheirVariables) {
  const std::string text = simplified(R"(kernel @k(b0: in f32[1000], b1: in i64[1]) {
  %0: i64 = load b1[0]
  bind i = %0 in 0..10
  for p in 0..16 {
    for c in p*64..min(1000, p*64 + 64) {
      %1: f32 = load b0[mod(c, 1000) + floordiv(i, 10) + mod(p, 16)*0]
    }
  }
})");
  EXPECT_NE(text.find("load b0[c]"), std::string::npos) << text;
}

TEST(LoopSimplify, WhatIsNotDecidedStays) {
  const std::string text = simplified(R"(kernel @k(b0: in f32[1000]) {
  for c in 0..129 {
    %0: f32 = load b0[mod(c, 128)]
  }
  for d in -4..4 {
    %1: f32 = load b0[mod(d, 8)]
  }
})");
  EXPECT_NE(text.find("mod(c, 128)"), std::string::npos) << text;
  EXPECT_NE(text.find("mod(d, 8)"), std::string::npos) << text;
}

TEST(LoopSimplify, GreatestValue) {
  SymBounds bounds;
  bounds.set_extent("p", Sym::parse("s0"));
  bounds.set_extent("c", 64);
  const auto greatest_of = [&](const char* text) {
    const auto x = greatest(Sym::parse(text), bounds);
    return x ? x->str() : "none";
  };
  EXPECT_EQ(greatest_of("p*64 + c"), "s0*64 - 1");
  EXPECT_EQ(greatest_of("min(s1, p*64 + 64)"), "s1");
  EXPECT_EQ(greatest_of("min(100, c + 64)"), "100");
  EXPECT_EQ(greatest_of("8 - c"), "none");
  EXPECT_EQ(greatest_of("floordiv(c, 2)"), "none");
  EXPECT_EQ(greatest_of("floordiv(s1, 2) + c"), "floordiv(s1, 2) + 63");
}

}  // namespace
}  // namespace ourjit::loop
