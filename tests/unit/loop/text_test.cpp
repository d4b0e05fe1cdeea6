#include "loop/text.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "loop/verify.h"

namespace ourjit::loop {
namespace {

constexpr const char* kEverything =
    R"(kernel @all(b0: in f32[s0*128], b1: out f32[s0*128], b2: inout i64[s0], b3: in bool[128], s0: index) {
  local l0: f32[128]
  %0: f32 = const -0.0
  %1: i64 = const -5
  %2: bool = const true
  %3: f32 = const inf
  %4: f32 = const nan
  %5: f64 = const 0.1
  parallel r in 0..s0 {
    %6: i64 = load b2[r]
    bind t = %6 in 0..s0 wrap
    %7: i64 = index r*128 + t
    %8, %9 = for c in 0..128 vector(16, 4) reduce sum f32, argmax f32 {
      %10: bool = load b3[c]
      %11: f32 = load b0[c + t*128] mask %10
      %12: f32 = where %10, %11, %0
      store l0[c], %12
      yield %12, %11
    }
    for c2 in 0..min(128, s0) {
      bind u = %9 in 0..128 mask %2
      %13: f32 = load l0[u]
      store b1[c2 + r*128], %13 mask %2
    }
    store accumulate b2[r], %1
  }
}
)";

TEST(LoopText, RoundTrips) {
  const Kernel k = parse_kernel(kEverything);
  EXPECT_EQ(print(k), kEverything);
}

TEST(LoopText, ProvenanceIsPrintedWhenAskedFor) {
  Kernel k = parse_kernel("kernel @k() {\n}\n");
  k.provenance = {"exp %x  # model.py:3"};
  EXPECT_EQ(print(k), "kernel @k() {\n}\n");
  const std::string text = print(k, true);
  EXPECT_EQ(text, "# exp %x  # model.py:3\nkernel @k() {\n}\n");
  EXPECT_EQ(print(parse_kernel(text)), print(k));
}

TEST(LoopText, StatementsTellTheirPythonLine) {
  Kernel k = parse_kernel(R"(kernel @k(b0: in f32[8], b1: out f32[1]) {
  %1 = for i in 0..8 reduce sum f32 {
    %0: f32 = load b0[i]
    yield %0
  }
  store b1[0], %1
}
)");
  k.provenance = {"exp %x  # model.py:3", "sum %y"};
  For& f = std::get<For>(k.body[0].v);
  f.body[0].line = 0;
  f.reductions[0].line = k.body[1].line = 1;
  verify(k);
  const std::string text = print(k, true);
  EXPECT_EQ(text, R"(# exp %x  # model.py:3
# sum %y
kernel @k(b0: in f32[8], b1: out f32[1]) {
  %1 = for i in 0..8 reduce sum f32 {  # sum %y
    %0: f32 = load b0[i]  # model.py:3
    yield %0
  }
  store b1[0], %1  # sum %y
}
)");
  EXPECT_EQ(print(parse_kernel(text)), print(k));
  EXPECT_EQ(canonical_text(parse_kernel(text)), canonical_text(k));
  f.body[0].line = 2;
  EXPECT_THROW(verify(k), InternalError);
}

constexpr const char* kRenamed =
    R"(kernel @other(in0: in f32[n*4], o: out f32[n*4], n: index) {
  local scratch: f32[4]
  parallel row in 0..n {
    %7 = for j in 0..4 reduce sum f32 {
      %3: f32 = load in0[j + row*4]
      store scratch[j], %3
      yield %3
    }
    for a in 0..4 {
      %5: f32 = load scratch[a]
      %9: f32 = div %5, %7
      store o[a + row*4], %9
    }
  }
}
)";

TEST(LoopText, CanonicalTextForgetsNames) {
  const std::string original = R"(kernel @k(b0: in f32[s0*4], b1: out f32[s0*4], s0: index) {
  local l0: f32[4]
  parallel z in 0..s0 {
    %0 = for c in 0..4 reduce sum f32 {
      %1: f32 = load b0[c + z*4]
      store l0[c], %1
      yield %1
    }
    for d in 0..4 {
      %2: f32 = load l0[d]
      %3: f32 = div %2, %0
      store b1[d + z*4], %3
    }
  }
}
)";
  const std::string canonical = canonical_text(parse_kernel(original));
  EXPECT_EQ(canonical, canonical_text(parse_kernel(kRenamed)));
  // It is a fixed point, and a kernel itself.
  EXPECT_EQ(canonical_text(parse_kernel(canonical)), canonical);
  std::string changed = original;
  changed.replace(changed.find("div"), 3, "mul");
  EXPECT_NE(canonical, canonical_text(parse_kernel(changed)));
  std::string other_index = original;
  other_index.replace(other_index.find("b0[c + z*4]"), 11, "b0[z + c*4]");
  EXPECT_NE(canonical, canonical_text(parse_kernel(other_index)));
}

void expect_error(const std::string& text, const std::string& message) {
  try {
    parse_kernel(text);
    ADD_FAILURE() << "accepted: " << text;
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find(message), std::string::npos) << e.what();
  }
}

TEST(LoopText, ErrorsSayWhere) {
  expect_error("", "line 1, column 1");
  expect_error("kernel k() {}", "line 1, column 8");
  expect_error("kernel @k(b: in f33[1]) {}", "expected a type");
  expect_error("kernel @k() {\n  frob\n}", "line 2, column 3");
  expect_error("kernel @k() {\n  %0: f32 = exq %1\n}", "expected an operation");
  expect_error("kernel @k() {\n  %0: i8 = const 300\n}", "does not fit");
  expect_error("kernel @k() {\n  %99999999: f32 = const 1.0\n}", "values are small numbers");
  expect_error("kernel @k() {\n  store b[0], %0\n}", "no buffer or local named b");
  expect_error("kernel @k() {} extra", "expected the end");
  expect_error("kernel @k() {\n  for c in 0..4 vector(65, 1) {\n  }\n}", "width");
}

TEST(LoopText, DeepNestsAreRefused) {
  std::string text = "kernel @k() {\n";
  for (int i = 0; i < 5000; ++i) text += "for c" + std::to_string(i) + " in 0..2 {\n";
  expect_error(text, "nested too deeply");
}

TEST(LoopText, BrokenTextNeverCrashes) {
  const std::string text = kEverything;
  for (size_t i = 0; i < text.size(); ++i) {
    try {
      parse_kernel(text.substr(0, i));
    } catch (const UserError&) {}
    std::string changed = text;
    changed[i] = "%{}[]()0a, "[i % 11];
    try {
      const Kernel k = parse_kernel(changed);
      EXPECT_EQ(print(parse_kernel(print(k))), print(k));
    } catch (const UserError&) {}
  }
}

}  // namespace
}  // namespace ourjit::loop
