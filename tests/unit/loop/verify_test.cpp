#include "loop/verify.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "loop/text.h"

namespace ourjit::loop {
namespace {

struct Case {
  const char* rule;  // part of the error's text; empty if the kernel is fine
  const char* body;
};

/// Statements of a kernel with these memories:
constexpr const char* kHeader =
    "kernel @k(b0: in f32[64], b1: out f32[64], b2: in i64[64], b3: inout bf16[64], s0: index) {\n"
    "  local l0: f32[8]\n";

// clang-format off
const Case kCases[] = {
    {"", "%0: f32 = const 1.0 store b1[0], %0"},
    {"", "parallel p in 0..s0 { for c in 0..4 vector(4, 1) { %0: f32 = load b0[c] store b1[c], %0 } }"},
    {"", "for v in 0..8 vector(4, 1) { %1 = for j in 0..s0 reduce sum f32 { %0: f32 = load b0[v] yield %0 } store b1[v], %1 }"},
    {"", "%0: bf16 = load b3[0] %1: f32 = cast %0 %2: bf16 = cast %1 store b3[1], %2"},
    {"is not visible", "%1: f32 = exp %0"},
    {"is not visible", "for c in 0..4 { %0: f32 = load b0[c] } store b1[0], %0"},
    {"defined twice", "%0: f32 = const 1.0 %0: f32 = const 2.0"},
    {"not in scope", "%0: f32 = load b0[c]"},
    {"not in scope", "for c in 0..c { }"},
    {"not in scope", "for c in 0..4 { } %0: i64 = index c"},
    {"defined already", "for s0 in 0..4 { }"},
    {"defined already", "for c in 0..4 { for c in 0..4 { } }"},
    {"out of bounds", "%0: f32 = load b0[64]"},
    {"out of bounds", "%0: f32 = load l0[8]"},
    {"out of bounds", "%0: f32 = load b0[-1]"},
    {"input is written", "%0: f32 = const 1.0 store b0[0], %0"},
    {"not that of the memory", "%0: f32 = const 1.0 store b3[0], %0"},
    {"not bool", "%0: f32 = const 1.0 store b1[0], %0 mask %0"},
    {"condition is not bool", "%0: f32 = const 1.0 %1: f32 = where %0, %0, %0"},
    {"number of operands", "%0: f32 = const 1.0 %1: f32 = add %0"},
    {"differ in type", "%0: f32 = const 1.0 %1: f64 = const 1.0 %2: f32 = add %0, %1"},
    {"operands' type", "%0: f32 = const 1.0 %1: f64 = exp %0"},
    {"must be bool", "%0: f32 = const 1.0 %1: f32 = lt %0, %0"},
    {"not defined on i64", "%0: i64 = const 1 %1: i64 = exp %0"},
    {"computed in f32", "%0: bf16 = load b3[0] %1: bf16 = neg %0"},
    {"bad constant", "%0: bf16 = const 1.0"},
    {"in kernels with threads", "%1 = for c in 0..4 reduce exp_sum f32 { %0: f32 = load b0[c] yield %0 }"},
    {"must be i64", "%0: f32 = const 1.0 %1: f32 = rand_uniform %0, %0"},
    {"only integers", "%0: f32 = const 1.0 bind i = %0 in 0..4"},
    {"parallel loop must be outermost", "for c in 0..4 { parallel p in 0..4 { } }"},
    {"beside the parallel loop", "parallel p in 0..4 { } parallel q in 0..4 { }"},
    {"beside the parallel loop", "for q in 0..4 { } parallel p in 0..4 { }"},
    {"beside the parallel loop", "%0: f32 = const 1.0 store b1[0], %0 parallel p in 0..4 { }"},
    {"reduces nothing", "%1 = parallel p in 0..4 reduce sum f32 { %0: f32 = load b0[p] yield %0 }"},
    {"inside a vector loop", "for v in 0..4 vector(4, 1) { for w in 0..4 vector(4, 1) { } }"},
    {"power of two", "for v in 0..4 vector(3, 1) { }"},
    {"depend on the vector loop", "for v in 0..4 vector(4, 1) { for j in 0..v { } }"},
    {"depend on the vector loop", "for v in 0..4 vector(4, 1) { %0: i64 = load b2[v] bind i = %0 in 0..4 for j in 0..i { } }"},
    {"another type", "%1 = for c in 0..4 reduce sum f64 { %0: f32 = load b0[c] yield %0 }"},
    {"reduced in f32", "%1 = for c in 0..4 reduce sum bf16 { %0: bf16 = load b3[c] yield %0 }"},
    {"max and min only", "%2: bool = const true %1 = for c in 0..4 reduce sum bool { yield %2 }"},
    {"cannot accumulate", "%0: bf16 = load b3[0] store accumulate b3[1], %0"},
};
// clang-format on

TEST(LoopVerify, EachRule) {
  for (const Case& c : kCases) {
    const std::string text = kHeader + std::string(c.body) + "\n}\n";
    try {
      parse_kernel(text);
      EXPECT_STREQ(c.rule, "") << "accepted: " << c.body;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(c.rule), std::string::npos) << c.body << "\n"
                                                                       << e.what();
      EXPECT_STRNE(c.rule, "") << "refused: " << c.body << "\n" << e.what();
    }
  }
}

TEST(LoopVerify, KernelsBuiltByHandRaiseInternalError) {
  Kernel k = parse_kernel(std::string(kHeader) + "%0: f32 = load b0[0]\n}\n");
  EXPECT_NO_THROW(verify(k));
  k.types[0] = DType::f64;
  EXPECT_THROW(verify(k), InternalError);
  k.types.clear();
  EXPECT_THROW(verify(k), InternalError);
}

}  // namespace
}  // namespace ourjit::loop
