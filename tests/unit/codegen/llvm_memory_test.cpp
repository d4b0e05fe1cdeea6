// Accesses of all shapes: contiguous, strided, gathered, masked, local, accumulating; and index
// errors.
#include <gtest/gtest.h>

#include "codegen/kernel_check.h"
#include "codegen/llvm_emitter.h"
#include "loop/text.h"

namespace ourjit::testing {
namespace {

const std::vector<std::vector<int64_t>> kLengths = {{0},  {1},  {3},  {4},  {15},
                                                    {16}, {17}, {64}, {65}, {133}};

/// A copy of n elements of each dtype, from index `from` to index `to` of buffers of `size`
/// elements.
void expect_copy(const std::string& size, const std::string& from, const std::string& to,
                 const std::vector<std::vector<int64_t>>& lengths) {
  for (const char* t : {"bool", "u8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64"})
    expect_kernel(
        replaced("kernel @copy(a: in T[" + size + "], b: out T[" + size +
                     "], n: index) {\n  for i in 0..n vector(W, 1) {\n    %0: T = load a[" + from +
                     "]\n    store b[" + to + "], %0\n  }\n}\n",
                 "T", t),
        lengths, Fill::Any);
}

TEST(Access, Contiguous) { expect_copy("n + 3", "i + 3", "i + 1", kLengths); }
TEST(Access, Reversed) {
  expect_copy("n", "n - 1 - i", "i", kLengths);
  expect_copy("n", "i", "n - 1 - i", kLengths);
}
TEST(Access, Strided) {
  expect_copy("3*n", "3*i", "i", {{0}, {1}, {16}, {37}});
  expect_copy("3*n", "2*i + 1", "3*i", {{0}, {1}, {16}, {37}});
  expect_copy("n*n + 1", "n*i", "i", {{1}, {16}, {37}});
}
TEST(Access, Quotients) {
  expect_copy("n", "floordiv(i, 3) + mod(i, 2)", "i", {{1}, {2}, {37}, {133}});
  expect_copy("n", "mod(i*5 + 1, n)", "i", {{1}, {2}, {37}});
  expect_copy("2*n", "i", "2*mod(i, 5) + 10*floordiv(i, 5)", {{5}, {50}, {100}});
  expect_copy("n", "max(min(i, 20) - 3, 0)", "i", {{4}, {21}, {40}});
  // Remainders of negative numbers are not negative.
  expect_copy("n", "mod(i - 7, n)", "i", {{1}, {9}, {40}});
  expect_copy("n", "floordiv(i - 9, 4) + 3", "i", {{4}, {40}});
}

TEST(Access, KnownBoundsUseNarrowIndices) {
  const loop::Kernel k = loop::parse_kernel(R"(
kernel @k(a: in f32[1000], b: out f32[256]) {
  for i in 0..256 vector(16, 1) {
    %0: f32 = load a[floordiv(i, 3)*10 + mod(i, 3)]
    store b[i], %0
  }
})");
  const std::string text = emit_llvm_text(k, {});
  EXPECT_NE(text.find("udiv <16 x i32>"), std::string::npos) << text;
  EXPECT_EQ(text.find("<16 x i64>"), std::string::npos) << text;
}

TEST(Access, UniformLoadsStayScalar) {
  const loop::Kernel k = loop::parse_kernel(R"(
kernel @k(a: in f32[10], b: out f32[256]) {
  for i in 0..256 vector(16, 1) {
    %0: f32 = load a[3]
    %1: f32 = mul %0, %0
    store b[i], %1
  }
})");
  const std::string text = emit_llvm_text(k, {});
  EXPECT_NE(text.find("fmul float"), std::string::npos) << text;
  EXPECT_EQ(text.find("fmul <16 x float>"), std::string::npos) << text;
}

TEST(Masks, OfLanes) {
  for (const char* t : {"bool", "u8", "i16", "i32", "i64", "bf16", "f32", "f64"})
    expect_kernel(replaced(R"(
kernel @masked(m: in bool[n], a: in T[n], s: in T[2*n], b: out T[n], c: inout T[2*n + 1], d: inout T[n], n: index) {
  for i in 0..n vector(W, 1) {
    %0: bool = load m[i]
    %1: T = load a[i] mask %0
    store b[i], %1
    %2: T = load s[2*i] mask %0
    store c[2*i + 1], %2 mask %0
    %3: bool = logical_not %0
    store d[n - 1 - i], %1 mask %3
  }
})",
                           "T", t),
                  kLengths, Fill::Any);
}

// Where no lane is enabled the address may be anything.
TEST(Masks, OffLanesAreNotRead) {
  expect_kernel(R"(
kernel @padded(a: in f32[n], b: out f32[n + 8], n: index) {
  %9: i64 = const 0
  %8: i64 = index n
  for i in 0..n + 8 vector(W, 1) {
    %0: i64 = index i - 4
    %1: bool = ge %0, %9
    %2: bool = lt %0, %8
    %3: bool = bitwise_and %1, %2
    %4: f32 = load a[i - 4] mask %3
    store b[i], %4
  }
})",
                kLengths);
}

TEST(Masks, Uniform) {
  expect_kernel(R"(
kernel @masked(m: in bool[9], a: in f32[9], b: inout f32[9*n], c: inout f32[9], n: index) {
  parallel r in 0..9 {
    %0: bool = load m[r]
    %1: f32 = load a[r] mask %0
    store c[r], %1 mask %0
    for i in 0..n vector(W, 1) {
      %2: f32 = load b[r*n + i] mask %0
      %3: f32 = add %2, %1
      store b[r*n + i], %3 mask %0
    }
  }
})",
                kLengths);
}

TEST(Masks, OfLanesOnUniformLoad) {
  expect_kernel(R"(
kernel @masked(m: in bool[n], a: in f32[1], b: out f32[n], n: index) {
  for i in 0..n vector(W, 1) {
    %0: bool = load m[i]
    %1: f32 = load a[0] mask %0
    store b[i], %1
  }
})",
                kLengths);
}

TEST(Store, LastLaneWinsAtOnePlace) {
  expect_kernel(R"(
kernel @last(m: in bool[n], a: in f32[n], b: inout f32[2], n: index) {
  for i in 0..n vector(W, 1) {
    %0: bool = load m[i]
    %1: f32 = load a[i]
    store b[0], %1
    store b[1], %1 mask %0
  }
})",
                kLengths);
}

TEST(Store, Accumulates) {
  for (const char* t : {"u8", "i32", "i64", "f32", "f64"})
    expect_kernel(replaced(R"(
kernel @accumulate(m: in bool[n], a: in T[n], b: inout T[n], c: inout T[3*n], d: inout T[1], n: index) {
  for i in 0..n vector(W, 1) {
    %0: bool = load m[i]
    %1: T = load a[i]
    store accumulate b[i], %1
    store accumulate c[3*i], %1 mask %0
  }
  for j in 0..n {
    %2: T = load a[j]
    store accumulate d[0], %2
  }
})",
                           "T", t),
                  kLengths);
}

TEST(Locals, OfAllTypes) {
  for (const char* t : {"bool", "u8", "i16", "i64", "bf16", "f16", "f32", "f64"})
    expect_kernel(replaced(R"(
kernel @locals(a: in T[5*n], b: out T[5*n], n: index) {
  local l: T[256]
  parallel r in 0..5 {
    for i in 0..n vector(W, 1) {
      %0: T = load a[r*n + i]
      store l[i], %0
    }
    for j in 0..n vector(W, 1) {
      %1: T = load l[n - 1 - j]
      store b[r*n + j], %1
    }
  }
})",
                           "T", t),
                  kLengths, Fill::Any);
}

// 1.2 MB of scratch: beyond what goes on the stack.
TEST(Locals, Large) {
  expect_kernel(R"(
kernel @large(a: in f32[n], b: out f32[n], n: index) {
  local l: f32[100000]
  local m: f64[100000]
  for i in 0..n vector(W, 1) {
    %0: f32 = load a[i]
    store l[i + 99000], %0
    %1: f64 = cast %0
    store m[i], %1
  }
  for j in 0..n vector(W, 1) {
    %2: f32 = load l[j + 99000]
    %3: f64 = load m[j]
    %4: f32 = cast %3
    %5: f32 = add %2, %4
    store b[j], %5
  }
})",
                kLengths);
}

/// Binds indices of dtype `t`, uniform and in lanes, and gathers with them.
constexpr const char* kGather = R"(
kernel @gather(idx: in T[n], a: in f32[64], m: in bool[n], b: out f32[n], c: out f32[8*n], n: index) {
  for i in 0..n vector(W, 1) {
    %0: T = load idx[i]
    %1: bool = load m[i]
    bind t = %0 in 0..16 OPTIONS
    %2: f32 = load a[3*t + 2] mask %1
    store b[i], %2
  }
  for j in 0..n {
    %3: T = load idx[j]
    bind u = %3 in 0..8 OPTIONS2
    for k in 0..8 vector(4, 1) {
      %4: f32 = load a[8*u + k]
      store c[8*j + k], %4
    }
  }
})";

void expect_gather(const char* dtype, bool wrap, bool mask, int64_t low, int64_t high) {
  std::string text = replaced(kGather, "OPTIONS2", wrap ? "wrap" : "");
  text = replaced(text, "OPTIONS", std::string(wrap ? "wrap" : "") + (mask ? " mask %1" : ""));
  for (const CpuCase& cpu : cpu_cases()) {
    const loop::Kernel k = loop::parse_kernel(replaced(
        replaced(text, "T", dtype), "W", std::to_string(cpu.host.target.vector_bits / 32)));
    const auto code = backend_for(cpu).compile(k);
    std::mt19937 random(5);
    for (const int64_t n : {1, 5, 16, 37}) {
      std::vector<Memory> memory = random_memory(k, {n}, Fill::Moderate, random);
      for (int64_t i = 0; i < n; ++i)
        memory[0].set(i, low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low)));
      expect_same(cpu, *code, k, memory, {n});
    }
  }
}

TEST(Bind, Gathers) {
  for (const char* t : {"i64", "i32", "u8", "i8"}) expect_gather(t, false, false, 0, 8);
}
TEST(Bind, WrapsNegatives) {
  for (const char* t : {"i64", "i32", "i8"}) expect_gather(t, true, false, -8, 8);
}
TEST(Bind, ReportsBadIndices) {
  for (const char* t : {"i64", "i32", "u8"}) expect_gather(t, false, false, 0, 100);
  expect_gather("i64", true, false, -20, 20);
  expect_gather("i64", false, false, -20, 20);
}
TEST(Bind, IgnoresMaskedLanes) {
  expect_gather("i64", false, true, 0, 8);
  expect_gather("i64", true, true, -8, 8);
}

// The only bad index is masked: no error. Then it is not: an error.
TEST(Bind, MaskDecides) {
  for (const CpuCase& cpu : cpu_cases()) {
    const loop::Kernel k = loop::parse_kernel(R"(
kernel @k(idx: in i64[20], m: in bool[20], a: in f32[4], b: out f32[20]) {
  for i in 0..20 vector(8, 1) {
    %0: i64 = load idx[i]
    %1: bool = load m[i]
    bind t = %0 in 0..4 mask %1
    %2: f32 = load a[t]
    store b[i], %2
  }
})");
    const auto code = backend_for(cpu).compile(k);
    for (const int64_t bad : {0, 7, 16, 19})
      for (const int64_t on : {0, 1}) {
        std::vector<Memory> memory;
        for (const loop::Buffer& b : k.buffers) memory.emplace_back(b.dtype, b.size.value());
        memory[0].set(bad, 1000000);
        for (int64_t i = 0; i < 20; ++i) memory[1].set(i, i == bad ? on : 1);
        std::vector<void*> pointers;
        for (Memory& m : memory) pointers.push_back(m.data());
        EXPECT_EQ(static_cast<int>(run_kernel(*code, k, pointers, {})), static_cast<int>(on))
            << cpu.label;
      }
  }
}

TEST(Division, ByZeroIsReportedNotTrapped) {
  for (const char* t : {"u8", "i8", "i16", "i32", "i64"})
    for (const char* kind : {"", " vector(W, 1)"})
      expect_kernel(replaced(replaced(R"(
kernel @division(a: in T[n], b: in T[n], q: out T[n], r: out T[n], n: index) {
  for i in 0..nKIND {
    %0: T = load a[i]
    %1: T = load b[i]
    %2: T = floor_div %0, %1
    %3: T = mod %0, %1
    store q[i], %2
    store r[i], %3
  }
})",
                                      "T", t),
                             "KIND", kind),
                    kLengths, Fill::Any);
}

// Lanes beyond the end hold zeros, which must not be taken for divisors.
TEST(Division, TailIsNotReported) {
  expect_kernel(R"(
kernel @division(a: in i32[n], b: in i32[n], q: out i32[n], n: index) {
  for i in 0..n vector(W, 1) {
    %0: i32 = load a[i]
    %1: i32 = load b[i]
    %2: i32 = trunc_div %0, %1
    store q[i], %2
  }
})",
                kLengths, Fill::Positive);
}

TEST(Division, ByConstants) {
  for (const int divisor : {-7, -1, 0, 1, 2, 3, 16, 100})
    expect_kernel(replaced(R"(
kernel @division(a: in i32[n], q: out i32[n], r: out i32[n], n: index) {
  %1: i32 = const D
  for i in 0..n vector(W, 1) {
    %0: i32 = load a[i]
    %2: i32 = floor_div %0, %1
    %3: i32 = fmod %0, %1
    store q[i], %2
    store r[i], %3
  }
})",
                           "D", std::to_string(divisor)),
                  {{0}, {40}}, Fill::Any);
}

}  // namespace
}  // namespace ourjit::testing
