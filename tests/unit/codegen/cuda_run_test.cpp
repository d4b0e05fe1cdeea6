// Generated CUDA text on the emulated device: what a kernel computes there is what the interpreter
// gives for the loops it was made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "base/scalar_eval.h"
#include "codegen/cuda_emitter.h"
#include "loop/interpret.h"
#include "loop/text.h"
#include "loop/verify.h"
#include "loop/visit.h"
#include "machine.h"
#include "schedule/schedule.h"
#include "unit.h"

namespace ourjit {
namespace {

constexpr int64_t kSize = 5;  // of every size symbol
constexpr size_t kKernelsOfUnit = 32;

Sym at_sizes(const Sym& s) {
  return s.substitute([](std::string_view) -> std::optional<Sym> { return Sym(kSize); });
}

/// Memory of a kernel's buffers: small numbers of both signs.
std::vector<std::vector<std::byte>> memory_of(const loop::Kernel& k) {
  std::vector<std::vector<std::byte>> out;
  for (const loop::Buffer& b : k.buffers) {
    const int64_t n = at_sizes(b.size).value(), bytes = dtype_bytes(b.dtype);
    auto& data = out.emplace_back(static_cast<size_t>(n * bytes));
    for (int64_t i = 0; i < n; ++i) {
      const int64_t v = i * 7 % 5;
      store_scalar(data.data() + i * bytes,
                   is_float(b.dtype) ? Scalar::number(b.dtype, 0.75 * static_cast<double>(v) - 1.5)
                                     : Scalar::integer(b.dtype, v));
    }
  }
  return out;
}

bool nearly_equal(const Scalar& a, const Scalar& b) {
  if (!is_float(a.dtype)) return a.i == b.i;
  if (a.f == b.f || (std::isnan(a.f) && std::isnan(b.f))) return true;
  const double limit = dtype_bytes(a.dtype) == 2 ? 0.02 : 2e-5;
  return std::abs(a.f - b.f) <= limit * (1 + std::max(std::abs(a.f), std::abs(b.f)));
}

struct Case {
  std::string place;
  loop::Kernel before, scheduled;
};

/// The kernels of text tests whose command begins with `schedule`.
std::vector<Case> cases(const std::string& file) {
  std::ifstream in(std::filesystem::path(OURJIT_SOURCE_DIR) / "tests/text" / file);
  std::vector<Case> out;
  std::string line, body;
  bool reading = false;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.rfind("# command: schedule", 0) == 0) {
      reading = true;
      body.clear();
    } else if (line.rfind("# expect:", 0) == 0 && reading) {
      reading = false;
      Case c;
      c.place = file + ":" + std::to_string(number);
      c.before = loop::parse_kernel(body);
      loop::GpuTarget target;
      // Small GPUs make blocks of several rows out of little data.
      target.multiprocessors = out.size() % 2 ? 1 : 132;
      c.scheduled = loop::schedule_gpu(c.before, target);
      c.before.name = c.scheduled.name = "k" + std::to_string(out.size());
      out.push_back(std::move(c));
    } else if (reading && line.rfind('#', 0) != 0) {
      body += line + "\n";
    }
  }
  return out;
}

/// Runs the kernel on the emulated device; the text of a fault, or none.
std::string emulate(const emulator::Unit& unit, const loop::Kernel& k,
                    std::vector<std::vector<std::byte>>& memory, int& status,
                    emulator::Counters& counters) {
  const emulator::Unit::Kernel kernel = unit.kernel(k.name);
  if (kernel.name.empty()) return "no kernel " + k.name;
  std::vector<uint64_t> parameters;
  for (auto& data : memory) parameters.push_back(reinterpret_cast<uintptr_t>(data.data()));
  for (size_t i = 0; i < k.sizes.size(); ++i) parameters.push_back(kSize);
  unsigned ticket = 0;
  if (!k.epilogue.empty()) parameters.push_back(reinterpret_cast<uintptr_t>(&ticket));
  parameters.push_back(reinterpret_cast<uintptr_t>(&status));
  if (parameters.size() != kernel.parameters) return "wrong number of parameters";
  const Sym extent = at_sizes(loop::parallel_extent(k, loop::size_symbols(k)));
  if (extent.value() == 0) return "";
  const std::string wrong = emulator::launch(
      unit.context(), kernel.code, parameters, {static_cast<unsigned>(extent.value())},
      {static_cast<unsigned>(k.threads_x), static_cast<unsigned>(k.threads_y)}, counters);
  return ticket == 0 ? wrong : "the ticket is " + std::to_string(ticket);
}

void check(const std::string& file) {
  const std::vector<Case> all = cases(file);
  ASSERT_FALSE(all.empty()) << file;
  for (size_t first = 0; first < all.size(); first += kKernelsOfUnit) {
    const size_t end = std::min(all.size(), first + kKernelsOfUnit);
    std::vector<const loop::Kernel*> kernels;
    for (size_t i = first; i < end; ++i) kernels.push_back(&all[i].scheduled);
    const std::string text = emit_cuda_unit(kernels);
    std::string log;
    const std::string binary = emulator::compile_unit(text, log);
    ASSERT_FALSE(binary.empty()) << log;
    const auto unit = emulator::Unit::load(binary.data());
    ASSERT_TRUE(unit);
    for (size_t i = first; i < end; ++i) {
      const Case& c = all[i];
      SCOPED_TRACE(c.place + "\n" + loop::print(c.scheduled) + emit_cuda_kernel(c.scheduled));
      auto expected = memory_of(c.before), got = expected;
      std::vector<void*> pointers;
      for (auto& data : expected) pointers.push_back(data.data());
      const loop::Status status =
          loop::interpret(c.before, pointers, std::vector<int64_t>(c.before.sizes.size(), kSize));
      int code = 0;
      emulator::Counters counters;
      ASSERT_EQ(emulate(*unit, c.scheduled, got, code, counters), "");
      EXPECT_EQ(code, static_cast<int>(status));
      for (size_t b = 0; b < expected.size(); ++b) {
        const DType t = c.before.buffers[b].dtype;
        const auto bytes = static_cast<size_t>(dtype_bytes(t));
        for (size_t e = 0; (e + 1) * bytes <= expected[b].size(); ++e) {
          const Scalar x = load_scalar(t, expected[b].data() + e * bytes),
                       y = load_scalar(t, got[b].data() + e * bytes);
          ASSERT_TRUE(nearly_equal(x, y)) << c.before.buffers[b].name << "[" << e
                                          << "]: " << scalar_str(x) << " and " << scalar_str(y);
        }
      }
    }
  }
}

/// The kernel moves each byte of its buffers once, but for 2 %, past a cache that is too small for
/// a row; `vectors`: all of it in 16 bytes at a time.
void expect_each_byte_once(const std::string& text, bool vectors) {
  SCOPED_TRACE(text);
  loop::Kernel k = loop::parse_kernel(text);
  loop::GpuTarget target;
  target.multiprocessors = 1;
  k = loop::schedule_gpu(k, target);
  SCOPED_TRACE(loop::print(k));
  std::string log;
  const std::string binary = emulator::compile_unit(emit_cuda_unit({&k}), log);
  ASSERT_FALSE(binary.empty()) << log;
  const auto unit = emulator::Unit::load(binary.data());
  auto memory = memory_of(k);
  int status = 0;
  emulator::Counters counters;
  counters.cache_bytes = 16 * 1024;
  ASSERT_EQ(emulate(*unit, k, memory, status, counters), "");
  int64_t least_read = 0, least_written = 0;
  for (size_t b = 0; b < memory.size(); ++b)
    (k.buffers[b].access == loop::Access::In ? least_read : least_written) +=
        static_cast<int64_t>(memory[b].size());
  EXPECT_LE(static_cast<double>(counters.fetched), 1.02 * static_cast<double>(least_read) + 64);
  EXPECT_LE(static_cast<double>(counters.stored), 1.02 * static_cast<double>(least_written));
  if (vectors) {
    EXPECT_EQ(counters.in_units_of_16, counters.loaded + counters.stored);
  }
}

/// A norm with or without weights.
std::string layer_norm(int64_t rows, int64_t columns, bool weights) {
  const std::string n = std::to_string(rows * columns), c = std::to_string(columns);
  return "kernel @k(b0: in f32[" + n + "], " + (weights ? "b1: in f32[" + c + "], " : "") +
         "b2: out f32[" + n + "]) {\n %9: f32 = const 0.001\n parallel p in 0.." +
         std::to_string(rows) + " {\n %1 = for c in 0.." + c +
         " reduce sum f32 {\n %0: f32 = load b0[p*" + c +
         " + c]\n yield %0\n }\n %2: f32 = mul %1, %9\n %5 = for d in 0.." + c +
         " reduce sum f32 {\n %3: f32 = load b0[p*" + c +
         " + d]\n %4: f32 = sub %3, %2\n %10: f32 = mul %4, %4\n yield %10\n }\n for e in 0.." + c +
         " {\n %6: f32 = load b0[p*" + c + " + e]\n" +
         (weights ? " %7: f32 = load b1[e]\n" : " %7: f32 = neg %6\n") +
         " %8: f32 = mul %6, %7\n %11: f32 = mul %8, %5\n store "
         "b2[p*" +
         c + " + e], %11\n }\n }\n}\n";
}

TEST(CudaRun, RowsMoveEachByteOnce) {
  expect_each_byte_once(layer_norm(64, 128, true), true);
  expect_each_byte_once(layer_norm(64, 1024, true), true);
  expect_each_byte_once(layer_norm(8, 8192, false), true);
}

TEST(CudaRun, PointwiseKernelsMoveEachByteOnce) {
  for (const std::string t : {"f32", "bf16", "f64", "i64"})
    expect_each_byte_once(
        "kernel @k(b0: in " + t + "[32768], b1: in " + t + "[32768], b2: out " + t +
            "[32768]) {\n parallel p in 0..8 {\n for c in p*4096..p*4096 + 4096 {\n" + " %0: " + t +
            " = load b0[c]\n %1: " + t + " = load b1[c]\n" +
            (t == "bf16" ? std::string(" %3: f32 = cast %0\n %4: f32 = cast %1\n"
                                       " %5: f32 = mul %3, %4\n %2: bf16 = cast %5\n")
                         : " %2: " + t + " = mul %0, %1\n") +
            " store b2[c], %2\n }\n }\n}\n",
        true);
}

TEST(CudaRun, BackwardOfNormsMovesEachByteOnce) {
  // dy * w reduced over a row; dw added up over the rows of a chunk.
  expect_each_byte_once(
      "kernel @k(b0: in f32[65536], b1: in f32[65536], b2: in f32[128], b3: out f32[65536], "
      "b4: out f32[1024]) {\n %0: f32 = const 0.0\n parallel p in 0..8 {\n for z in 0..128 {\n"
      " store b4[p*128 + z], %0\n }\n for r in p*64..p*64 + 64 {\n"
      " %5 = for c in 0..128 reduce sum f32 {\n %1: f32 = load b0[r*128 + c]\n"
      " %2: f32 = load b2[c]\n %3: f32 = mul %1, %2\n %4: f32 = load b1[r*128 + c]\n"
      " %6: f32 = mul %3, %4\n yield %6\n }\n for d in 0..128 {\n"
      " %7: f32 = load b0[r*128 + d]\n %8: f32 = load b1[r*128 + d]\n %9: f32 = mul %8, %5\n"
      " %10: f32 = sub %7, %9\n store b3[r*128 + d], %10\n %11: f32 = load b4[p*128 + d]\n"
      " %12: f32 = mul %7, %8\n %13: f32 = add %11, %12\n store b4[p*128 + d], %13\n }\n }\n "
      "}\n}\n",
      true);
}

TEST(CudaRun, LogsumexpOfLongRowsReadsEachByteOnce) {
  for (const int64_t n : {200000, 50257}) {
    const std::string c = std::to_string(n), blocks = std::to_string((n + 4095) / 4096),
                      range = " in b*4096..min(" + c + ", b*4096 + 4096) reduce ",
                      load = ": f32 = load b0[p*" + c + " + c]\n ";
    expect_each_byte_once(
        "kernel @k(b0: in f32[" + std::to_string(2 * n) +
            "], b1: out f32[2]) {\n parallel p in 0..2 {\n %0 = for b in 0.." + blocks +
            " reduce max f32 {\n %1 = for c" + range + "max f32 {\n %2" + load +
            "yield %2\n }\n yield %1\n }\n %3 = for b in 0.." + blocks +
            " reduce sum f32 {\n %4 = for c" + range + "sum f32 {\n %5" + load +
            "%6: f32 = sub %5, %0\n %7: f32 = exp %6\n yield %7\n }\n yield %4\n }\n"
            " %8: f32 = log %3\n %9: f32 = add %8, %0\n store b1[p], %9\n }\n}\n",
        false);
  }
}

TEST(CudaRun, KernelsOfOperators) { check("schedule/gpu_compare.ojt"); }
TEST(CudaRun, Pointwise) { check("schedule/pointwise.ojt"); }
TEST(CudaRun, Rows) { check("schedule/rows.ojt"); }
TEST(CudaRun, Gathers) { check("schedule/gather.ojt"); }
TEST(CudaRun, Concats) { check("schedule/concat.ojt"); }
TEST(CudaRun, Transposes) { check("schedule/transpose.ojt"); }
TEST(CudaRun, FormsForGpus) { check("schedule/gpu.ojt"); }
TEST(CudaRun, OnlineSoftmax) { check("schedule/online_softmax.ojt"); }

}  // namespace
}  // namespace ourjit
