// Loops and reductions of all kinds, nestings, lengths and masks.
#include <gtest/gtest.h>

#include <cmath>

#include "codegen/kernel_check.h"
#include "codegen/llvm_emitter.h"
#include "loop/text.h"

namespace ourjit::testing {
namespace {

const std::vector<std::vector<int64_t>> kLengths = {{0},  {1},  {3},  {4},  {15}, {16},  {17},
                                                    {31}, {63}, {64}, {65}, {80}, {133}, {500}};

/// Every reduction of dtype `t`, over a loop of the given kind.
std::string reduce_kernel(const char* t, const char* kind, const std::string& ops) {
  std::string results, reduces, yields, stores, outs;
  int id = 1;
  for (size_t at = 0; at < ops.size();) {
    const size_t end = std::min(ops.find(' ', at), ops.size());
    const std::string op = ops.substr(at, end - at);
    at = end + 1;
    const std::string n = std::to_string(id);
    results += (id > 1 ? ", %" : "%") + n;
    reduces += (id > 1 ? ", " : "") + op + " T";
    yields += (id > 1 ? ", %0" : "%0");
    outs += ", o" + n + ": out " + (op.starts_with("arg") ? "i64" : "T") + "[1]";
    stores += "  store o" + n + "[0], %" + n + "\n";
    ++id;
  }
  return replaced("kernel @reduce(a: in T[n]" + outs + ", n: index) {\n  " + results +
                      " = for i in 0..n" + kind + " reduce " + reduces +
                      " {\n    %0: T = load a[i]\n    yield " + yields + "\n  }\n" + stores + "}\n",
                  "T", t);
}

TEST(Reduce, SumsAreComplete) {
  for (const char* t : {"u8", "i16", "i32", "i64", "f32", "f64"})
    for (const char* kind : {"", " vector(W, 1)", " vector(W, 4)", " vector(W, 3)"})
      expect_kernel(reduce_kernel(t, kind, "sum max min argmax argmin"), kLengths);
}

TEST(Reduce, Products) {
  for (const char* t : {"i32", "i64", "f32", "f64"})
    for (const char* kind : {"", " vector(W, 1)", " vector(W, 2)"})
      expect_kernel(reduce_kernel(t, kind, "prod"), kLengths, Fill::Powers);
}

TEST(Reduce, ExtremesOfAllNumbers) {
  for (const char* t : {"bool", "u8", "i8", "i16", "i32", "i64", "f32", "f64"})
    for (const char* kind : {"", " vector(W, 1)", " vector(W, 4)"})
      expect_kernel(reduce_kernel(t, kind, "max min argmax argmin"), kLengths, Fill::Any);
}

// The first NaN is the extreme; without one, the first of equals; of minus infinities alone, the
// first.
TEST(Reduce, ArgOfSpecials) {
  const double nan = std::nan(""), infinity = HUGE_VAL;
  for (const CpuCase& cpu : cpu_cases())
    for (const char* kind : {" vector(W, 1)", " vector(W, 2)"}) {
      const loop::Kernel k =
          loop::parse_kernel(replaced(reduce_kernel("f32", kind, "argmax argmin max"), "W", "4"));
      const auto code = backend_for(cpu).compile(k);
      const std::vector<std::vector<float>> rows = {
          std::vector<float>(30, static_cast<float>(-infinity)),
          std::vector<float>(30, static_cast<float>(infinity)),
          std::vector<float>(30, static_cast<float>(nan)),
          std::vector<float>(30, 2.0F),
          [&] {
            std::vector<float> r(30, 1.0F);
            r[22] = r[9] = static_cast<float>(nan);
            return r;
          }(),
          [&] {
            std::vector<float> r(30, 1.0F);
            r[29] = r[17] = 5;
            r[28] = r[13] = -5;
            return r;
          }(),
      };
      for (const auto& row : rows) {
        std::vector<Memory> memory;
        memory.emplace_back(DType::f32, 30);
        memory.emplace_back(DType::i64, 1);
        memory.emplace_back(DType::i64, 1);
        memory.emplace_back(DType::f32, 1);
        std::copy(row.begin(), row.end(), static_cast<float*>(memory[0].data()));
        expect_same(cpu, *code, k, memory, {30});
      }
    }
}

// The count of iterations does not start at the loop's begin.
TEST(Reduce, ArgCountsFromZero) {
  expect_kernel(R"(
kernel @k(a: in f32[n + 5], o: out i64[1], n: index) {
  %1 = for i in 5..n + 5 vector(W, 2) reduce argmax f32 {
    %0: f32 = load a[i]
    yield %0
  }
  store o[0], %1
})",
                kLengths);
}

TEST(Reduce, UniformValues) {
  expect_kernel(R"(
kernel @count(a: in i32[1], o: out i32[2], n: index) {
  %0: i32 = load a[0]
  %1, %2 = for i in 0..n vector(W, 2) reduce sum i32, max i32 {
    yield %0, %0
  }
  store o[0], %1
  store o[1], %2
})",
                kLengths);
}

// Rounding errors of sums do not depend on how a parallel loop is cut.
TEST(Reduce, RowsOfConstantLength) {
  for (const int n : {1, 5, 16, 24, 64, 100, 128})
    expect_kernel(replaced(R"(
kernel @rows(a: in f32[7*N], b: out f32[7*N]) {
  local l: f32[N]
  parallel r in 0..7 {
    %0 = for c in 0..N vector(W, 4) reduce max f32 {
      %1: f32 = load a[r*N + c]
      yield %1
    }
    %2 = for d in 0..N vector(W, 4) reduce sum f32 {
      %3: f32 = load a[r*N + d]
      %4: f32 = sub %3, %0
      %5: f32 = exp %4
      store l[d], %5
      yield %5
    }
    for e in 0..N vector(W, 1) {
      %6: f32 = load l[e]
      %7: f32 = div %6, %2
      store b[r*N + e], %7
    }
  }
})",
                           "N", std::to_string(n)),
                  {{}}, Fill::Moderate, {1e-5, 1e-8});
}

// The kept dim is contiguous and vectorized; reductions inside have an accumulator for each lane.
TEST(Reduce, SerialInsideVector) {
  for (const char* t : {"f32", "i64", "f64", "u8"})
    expect_kernel(replaced(R"(
kernel @columns(a: in T[11*n], b: out T[n], c: out i64[n], d: out T[1], n: index) {
  parallel p in 0..1 {
    for k in 0..n vector(W, 1) {
      %1, %2 = for j in 0..11 reduce sum T, argmax T {
        %0: T = load a[j*n + k]
        yield %0, %0
      }
      store b[k], %1
      store c[k], %2
    }
    %4 = for m in 0..n vector(W, 2) reduce min T {
      %5 = for q in 0..11 reduce max T {
        %6: T = load a[q*n + m]
        yield %6
      }
      yield %5
    }
    store d[0], %4
  }
})",
                           "T", t),
                  kLengths);
}

TEST(Loops, NestedSerial) {
  expect_kernel(R"(
kernel @nest(a: in f32[3*n*5], b: out f32[3*n*5], s: out f32[3], n: index) {
  parallel p in 0..3 {
    %1 = for q in 0..n reduce sum f32 {
      %2 = for r in 0..5 vector(4, 2) reduce sum f32 {
        %0: f32 = load a[(p*n + q)*5 + r]
        store b[(p*n + q)*5 + r], %0
        yield %0
      }
      yield %2
    }
    store s[p], %1
  }
})",
                {{0}, {1}, {4}, {30}});
}

// Column accumulators in a local, blocks of rows that a min() ends.
TEST(Loops, ColumnAccumulators) {
  expect_kernel(R"(
kernel @columns(a: in f32[n*20], b: out f32[20*floordiv(n + 7, 8)], n: index) {
  local l: f32[20]
  parallel k in 0..floordiv(n + 7, 8) {
    for c in 0..20 vector(W, 1) {
      %0: f32 = const 0.0
      store l[c], %0
    }
    for r in 8*k..min(n, 8*k + 8) {
      for d in 0..20 vector(W, 1) {
        %1: f32 = load a[r*20 + d]
        store accumulate l[d], %1
      }
    }
    for e in 0..20 vector(W, 1) {
      %2: f32 = load l[e]
      store b[k*20 + e], %2
    }
  }
})",
                {{0}, {1}, {8}, {9}, {30}});
}

TEST(Loops, BlocksOfOneLoop) {
  expect_kernel(R"(
kernel @blocks(a: in f32[n], b: out f32[n], n: index) {
  parallel p in 0..floordiv(n + 99, 100) {
    for i in p*100..min(n, p*100 + 100) vector(W, 1) {
      %0: f32 = load a[i]
      %1: f32 = mul %0, %0
      store b[i], %1
    }
  }
})",
                {{0}, {1}, {99}, {100}, {101}, {450}});
}

TEST(Loops, ParallelCountsFromItsBegin) {
  expect_kernel(R"(
kernel @k(a: in f32[n + 3], b: inout f32[n + 3], n: index) {
  parallel p in 3..n + 3 {
    %0: f32 = load a[p]
    store b[p], %0
  }
})",
                {{0}, {1}, {20}});
}

// A body too large to be emitted twice is emitted once, masked.
TEST(Loops, LargeBodies) {
  std::string body = "    %0: f32 = load a[i]\n";
  for (int i = 0; i < 12; ++i)
    body += "    %" + std::to_string(i + 1) + ": f32 = " + (i % 2 ? "tanh" : "exp") + " %" +
            std::to_string(i) + "\n";
  const std::string text =
      "kernel @k(a: in f32[n], b: out f32[n], s: out f32[1], n: index) {\n  %20 = for i in 0..n "
      "vector(W, 4) reduce sum f32 {\n" +
      body + "    store b[i], %12\n    yield %12\n  }\n  store s[0], %20\n}\n";
  const std::string llvm = emit_llvm_text(loop::parse_kernel(replaced(text, "W", "16")), {});
  size_t calls = 0;
  for (size_t at = 0; (at = llvm.find("call <16 x float> @oj_tanh", at)) != std::string::npos; ++at)
    ++calls;
  EXPECT_EQ(calls, 6U);
  expect_kernel(text, kLengths, Fill::Moderate, {1e-4, 1e-6});
}

// No mask where the bounds are multiples of the width.
TEST(Loops, WholeVectorsNeedNoMask) {
  for (const char* bounds : {"0..128", "64*r..64*r + 64", "64*r..min(64*r + 64, 320)", "0..16*n"}) {
    const std::string text = emit_llvm_text(loop::parse_kernel(replaced(R"(
kernel @k(a: in f32[640*n], b: out f32[640*n], n: index) {
  parallel r in 0..5 {
    for i in BOUNDS vector(16, 1) {
      %0: f32 = load a[i]
      store b[i], %0
    }
  }
})",
                                                                        "BOUNDS", bounds)),
                                            {});
    EXPECT_EQ(text.find("masked"), std::string::npos) << bounds << "\n" << text;
  }
}

TEST(Loops, WidthsOtherThanTheRegister) {
  for (const char* lanes : {"2", "4", "8", "16", "32", "64"})
    for (const char* t : {"f32", "f64"})
      expect_kernel(replaced(replaced(R"(
kernel @k(a: in T[n], b: out T[n], s: out T[1], n: index) {
  %3 = for i in 0..n vector(LANES, 2) reduce sum T {
    %0: T = load a[i]
    %1: T = exp %0
    %2: T = pow %1, %0
    store b[i], %2
    yield %0
  }
  store s[0], %3
})",
                                      "T", t),
                             "LANES", lanes),
                    {{0}, {1}, {33}, {70}}, Fill::Moderate, {2e-5, 1e-7});
}

}  // namespace
}  // namespace ourjit::testing
