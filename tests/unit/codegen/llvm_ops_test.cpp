// Every scalar operation on every dtype, vector width and tail.
#include <gtest/gtest.h>

#include <cstring>

#include "codegen/kernel_check.h"
#include "codegen/math.h"
#include "loop/text.h"
#include "loop/verify.h"

namespace ourjit::testing {
namespace {

constexpr DType kComputed[] = {DType::boolean, DType::u8,  DType::i8,  DType::i16,
                               DType::i32,     DType::i64, DType::f32, DType::f64};
constexpr DType kNative[] = {DType::boolean, DType::u8,  DType::i8,   DType::i16, DType::i32,
                             DType::i64,     DType::f16, DType::bf16, DType::f32, DType::f64};

std::string name(DType t) { return std::string(dtype_name(t)); }

/// A kernel that computes each of `ops` on operands of dtype `t` and stores it to a buffer of its
/// own.
std::string ops_kernel(const std::vector<ScalarOp>& ops, DType t, bool vector, int lanes) {
  std::string header, body;
  int next = 3;
  for (size_t i = 0; i < ops.size(); ++i) {
    const ScalarOpInfo& info = scalar_op_info(ops[i]);
    const std::string result = info.result == ScalarResult::Bool ? "bool" : name(t);
    header += ", o" + std::to_string(i) + ": out " + result + "[n]";
    const std::string id = "%" + std::to_string(next++);
    body += "    " + id + ": " + result + " = " + std::string(info.name);
    body += ops[i] == ScalarOp::where ? " %0, %1, %2\n" : info.arity == 1 ? " %1\n" : " %1, %2\n";
    body += "    store o" + std::to_string(i) + "[i], " + id + "\n";
  }
  return "kernel @ops(c: in bool[n], a: in " + name(t) + "[n], b: in " + name(t) + "[n]" + header +
         ", n: index) {\n  for i in 0..n" +
         (vector ? " vector(" + std::to_string(lanes) + ", 1)" : "") +
         " {\n    %0: bool = load c[i]\n    %1: " + name(t) + " = load a[i]\n    %2: " + name(t) +
         " = load b[i]\n" + body + "  }\n}\n";
}

bool is_random(ScalarOp op) { return op == ScalarOp::rand_uniform || op == ScalarOp::rand_normal; }

/// Functions whose last bits may differ from libm's.
bool is_inexact(ScalarOp op) {
  return math_row(op).form == LlvmForm::Bitcode || op == ScalarOp::pow;
}

void check_ops(const CpuCase& cpu, const std::vector<ScalarOp>& ops, DType t, Tolerance tolerance) {
  const int lanes = cpu.host.target.vector_bits / 32;
  for (const bool vector : {true, false}) {
    if (ops.empty()) return;
    const loop::Kernel k = loop::parse_kernel(ops_kernel(ops, t, vector, lanes));
    loop::verify(k);
    std::mt19937 random(1);
    const auto code = backend_for(cpu).compile(k);
    for (const int64_t n : {0, 1, lanes - 1, lanes, lanes + 1, 5 * lanes + 3, 300})
      expect_same(cpu, *code, k, random_memory(k, {n}, Fill::Any, random), {n}, tolerance);
  }
}

class Ops : public ::testing::TestWithParam<std::tuple<size_t, DType>> {};

TEST_P(Ops, MatchInterpreter) {
  const CpuCase& cpu = cpu_cases()[std::get<0>(GetParam())];
  const DType t = std::get<1>(GetParam());
  std::vector<ScalarOp> exact, inexact;
  for (int i = 0; i < num_scalar_ops(); ++i) {
    const auto op = static_cast<ScalarOp>(i);
    if (op == ScalarOp::cast || is_random(op) || !accepts(op, t)) continue;
    (is_inexact(op) && is_float(t) ? inexact : exact).push_back(op);
  }
  check_ops(cpu, exact, t, {});
  // lgamma and digamma have roots, near which only the absolute error is small.
  check_ops(cpu, inexact, t, {t == DType::f32 ? 1e-5 : 1e-12, t == DType::f32 ? 1e-5 : 1e-12});
}

INSTANTIATE_TEST_SUITE_P(All, Ops,
                         ::testing::Combine(::testing::Range<size_t>(0, cpu_cases().size()),
                                            ::testing::ValuesIn(kComputed)),
                         [](const auto& info) {
                           return replaced(cpu_cases()[std::get<0>(info.param)].label, "-", "_") +
                                  "_" + name(std::get<1>(info.param));
                         });

class Casts : public ::testing::TestWithParam<size_t> {};

TEST_P(Casts, MatchInterpreter) {
  const CpuCase& cpu = cpu_cases()[GetParam()];
  const std::string lanes = std::to_string(cpu.host.target.vector_bits / 32);
  for (const DType from : kNative) {
    std::string header, body;
    int id = 1;
    for (const DType to : kNative) {
      header += ", o" + std::to_string(id) + ": out " + name(to) + "[n]";
      body += "    %" + std::to_string(id) + ": " + name(to) + " = cast %0\n    store o" +
              std::to_string(id) + "[i], %" + std::to_string(id) + "\n";
      ++id;
    }
    for (const std::string& kind : {" vector(" + lanes + ", 1)", std::string()}) {
      const loop::Kernel k = loop::parse_kernel(
          "kernel @casts(a: in " + name(from) + "[n]" + header + ", n: index) {\n  for i in 0..n" +
          kind + " {\n    %0: " + name(from) + " = load a[i]\n" + body + "  }\n}\n");
      loop::verify(k);
      std::mt19937 random(3);
      const auto code = backend_for(cpu).compile(k);
      for (const int64_t n : {1, 17, 501})
        expect_same(cpu, *code, k, random_memory(k, {n}, Fill::Any, random), {n});
    }
  }
}

// All 65536 values of the 16-bit floats to f32 and back, and the halves between them, which round
// to even.
TEST_P(Casts, SixteenBitFloatsAreExact) {
  const CpuCase& cpu = cpu_cases()[GetParam()];
  for (const DType t : {DType::f16, DType::bf16}) {
    const std::string half = name(t);
    const loop::Kernel k = loop::parse_kernel(
        "kernel @halves(a: in " + half + "[n], b: out f32[n], c: out " + half + "[n], d: out " +
        half + "[n], n: index) {\n  for i in 0..n vector(16, 1) {\n    %0: " + half +
        " = load a[i]\n    %1: f32 = cast %0\n    store b[i], %1\n    %2: " + half +
        " = cast %1\n    store c[i], %2\n    %3: f32 = const 1.0009765625\n    %4: f32 = mul %1, "
        "%3\n    %5: " +
        half + " = cast %4\n    store d[i], %5\n  }\n}\n");
    loop::verify(k);
    std::vector<Memory> memory;
    for (const loop::Buffer& b : k.buffers) memory.emplace_back(b.dtype, 65536);
    for (int i = 0; i < 65536; ++i)
      static_cast<uint16_t*>(memory[0].data())[i] = static_cast<uint16_t>(i);
    expect_same(cpu, *backend_for(cpu).compile(k), k, memory, {65536});
  }
}

INSTANTIATE_TEST_SUITE_P(All, Casts, ::testing::Range<size_t>(0, cpu_cases().size()),
                         [](const auto& info) {
                           return replaced(cpu_cases()[info.param].label, "-", "_");
                         });

TEST(Random, MatchesPhilox) {
  for (const char* t : {"f32", "f64"}) {
    const std::string text = R"(
kernel @random(seed: in i64[1], u: out T[n], g: out T[n], n: index) {
  %0: i64 = load seed[0]
  for i in 0..n vector(W, 1) {
    %1: i64 = index 3*i + 4294967290
    %2: T = rand_uniform %0, %1
    %3: T = rand_normal %0, %1
    store u[i], %2
    store g[i], %3
  }
}
)";
    const bool f32 = std::string_view(t) == "f32";
    expect_kernel(replaced(text, "T", t), {{1}, {100}}, Fill::Any,
                  f32 ? Tolerance{1e-5, 1e-6} : Tolerance{1e-12, 1e-13});
  }
}

// Several vectors at a time give the bits of one at a time, for neighbours and for indices that are
// none.
TEST(WideForms, EqualNarrowOnes) {
  const auto text = [](const std::string& lanes, const char* kind, const std::string& statement) {
    return loop::parse_kernel(
        replaced("kernel @k(a: in f32[n], b: out f32[n], n: index) {\n"
                 "  %0: i64 = const 1234567890123\n  for i in 0..n vector(" +
                     lanes + ", " + kind + ") {\n    %1: f32 = load a[i]\n    " + statement +
                     "\n    store b[i], %3\n  }\n}\n",
                 "W", lanes));
  };
  std::vector<std::string> statements;
  for (size_t op = 0; op < std::size(kMathRows); ++op) {
    const std::string name(math_row(static_cast<ScalarOp>(op)).llvm);
    if (!has_wide_form(static_cast<ScalarOp>(op))) continue;
    if (!name.starts_with("rand"))
      statements.push_back("%3: f32 = " + name + " %1");
    else
      for (const char* index : {"i + 8", "i + 3", "5*i", "4294967290 + 2*i"})
        statements.push_back("%2: i64 = index " + std::string(index) + "\n    %3: f32 = " + name +
                             " %0, %2");
  }
  EXPECT_EQ(statements.size(), 12U + 2 * 4);
  constexpr int64_t kSize = 517;
  std::mt19937 random(11);
  for (const CpuCase& cpu : cpu_cases())
    for (const std::string& statement : statements) {
      const std::string lanes = std::to_string(cpu.host.target.vector_bits / 32);
      const loop::Kernel one = text(lanes, "1", statement), wide = text(lanes, "4", statement);
      const std::vector<Memory> memory = random_memory(one, {kSize}, Fill::Any, random);
      std::vector<Memory> narrow = memory, several = memory;
      const auto run = [&](const loop::Kernel& k, std::vector<Memory>& m) {
        run_kernel(*backend_for(cpu).compile(k), k, {m[0].data(), m[1].data()}, {kSize});
      };
      run(one, narrow);
      run(wide, several);
      EXPECT_EQ(std::memcmp(narrow[1].data(), several[1].data(), kSize * sizeof(float)), 0)
          << cpu.label << ": " << statement;
    }
}

TEST(MathTable, HasCudaSpellings) {
  for (const MathRow& row : kMathRows) EXPECT_FALSE(row.cuda.empty()) << row.llvm;
}

}  // namespace
}  // namespace ourjit::testing
