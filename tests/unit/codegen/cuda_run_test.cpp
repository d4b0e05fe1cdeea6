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
                    std::vector<std::vector<std::byte>>& memory, int& status) {
  const emulator::Unit::Kernel kernel = unit.kernel(k.name);
  if (kernel.name.empty()) return "no kernel " + k.name;
  std::vector<uint64_t> parameters;
  for (auto& data : memory) parameters.push_back(reinterpret_cast<uintptr_t>(data.data()));
  for (size_t i = 0; i < k.sizes.size(); ++i) parameters.push_back(kSize);
  parameters.push_back(reinterpret_cast<uintptr_t>(&status));
  if (parameters.size() != kernel.parameters) return "wrong number of parameters";
  const Sym extent = at_sizes(loop::parallel_extent(k, k.sizes));
  if (extent.value() == 0) return "";
  emulator::Counters counters;
  return emulator::launch(
      unit.context(), kernel.code, parameters, {static_cast<unsigned>(extent.value())},
      {static_cast<unsigned>(k.threads_x), static_cast<unsigned>(k.threads_y)}, counters);
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
      ASSERT_EQ(emulate(*unit, c.scheduled, got, code), "");
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

TEST(CudaRun, KernelsOfOperators) { check("schedule/gpu_compare.ojt"); }
TEST(CudaRun, Pointwise) { check("schedule/pointwise.ojt"); }
TEST(CudaRun, Rows) { check("schedule/rows.ojt"); }
TEST(CudaRun, Gathers) { check("schedule/gather.ojt"); }
TEST(CudaRun, Concats) { check("schedule/concat.ojt"); }
TEST(CudaRun, Transposes) { check("schedule/transpose.ojt"); }
TEST(CudaRun, FormsForGpus) { check("schedule/gpu.ojt"); }

}  // namespace
}  // namespace ourjit
