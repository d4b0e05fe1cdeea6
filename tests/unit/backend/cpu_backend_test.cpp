#include "backend/cpu_backend.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "codegen/kernel_check.h"
#include "loop/text.h"

namespace ourjit {
namespace {

constexpr const char* kSquares = R"(
kernel @squares(a: in f32[n], b: out f32[n], n: index) {
  parallel p in 0..n {
    %0: f32 = load a[p]
    %1: f32 = mul %0, %0
    store b[p], %1
  }
})";

/// A kernel that adds `value` to n floats.
std::string add_kernel(int value) {
  return testing::replaced(R"(
kernel @addV(a: in f32[n], b: out f32[n], n: index) {
  %1: f32 = const V.0
  for i in 0..n vector(8, 1) {
    %0: f32 = load a[i]
    %2: f32 = add %0, %1
    %3: f32 = exp %2
    %4: f32 = log %3
    store b[i], %4
  }
})",
                           "V", std::to_string(value));
}

std::vector<float> run(const LoadedKernel& code, std::vector<float> a, int64_t begin, int64_t end) {
  std::vector<float> b(a.size());
  void* buffers[] = {a.data(), b.data()};
  const int64_t n = static_cast<int64_t>(a.size());
  int32_t status = 0;
  const KernelArgs args{buffers, &n, begin, end, &status};
  code.function()(&args);
  EXPECT_EQ(status, 0);
  return b;
}

TEST(CpuBackend, RunsOnlyTheIterationsAskedFor) {
  const auto code = make_cpu_backend(detect_host())->compile(loop::parse_kernel(kSquares));
  EXPECT_EQ(run(*code, {1, 2, 3, 4, 5}, 1, 4), (std::vector<float>{0, 4, 9, 16, 0}));
  EXPECT_EQ(run(*code, {1, 2, 3, 4, 5}, 2, 2), (std::vector<float>(5)));
}

TEST(CpuBackend, LivesThroughFatalErrorsOfLlvm) {
  // Vector maths of 512 bits uses instructions that this CPU has not, which LLVM does not survive.
  HostCpu old = detect_host();
  old.name = "x86-64";
  old.features = "";
  old.target.vector_bits = 512;
  const auto bad = make_cpu_backend(old), good = make_cpu_backend(detect_host());
  const loop::Kernel kernel = loop::parse_kernel(add_kernel(1));
  for (int i = 0; i < 3; ++i) {
    try {
      bad->compile(kernel);
      FAIL() << "the kernel was compiled for a CPU without its instructions";
    } catch (const BackendError& e) {
      const std::string what = e.what();
      EXPECT_NE(what.find("LLVM failed on @add1: Do not know how to split"), std::string::npos)
          << what;
      EXPECT_NE(what.find("exp %2"), std::string::npos) << what;
    }
    EXPECT_THROW(bad->assembly(kernel), BackendError);
    const auto code = good->compile(kernel);
    const std::vector<float> b = run(*code, {1, 2, 3, 4, 5, 6, 7, 8, 9}, 0, 1);
    for (size_t n = 0; n < b.size(); ++n)
      EXPECT_NEAR(b[n], static_cast<float>(n) + 2, 1e-5) << "element " << n;
  }
  // Others that compile at the same time are not disturbed.
  std::vector<std::thread> threads;
  std::atomic<int> failed{0}, compiled{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 4; ++i) try {
          (t % 2 ? bad : good)->compile(loop::parse_kernel(add_kernel(10 * t + i)));
          ++compiled;
        } catch (const BackendError&) {
          ++failed;
        }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(failed, 8);
  EXPECT_EQ(compiled, 8);
}

TEST(CpuBackend, CodeOutlivesItsBackend) {
  std::shared_ptr<LoadedKernel> code;
  {
    const auto backend = make_cpu_backend(detect_host());
    code = backend->compile(loop::parse_kernel(kSquares));
  }
  EXPECT_EQ(run(*code, {3}, 0, 1), std::vector<float>{9});
}

TEST(CpuBackend, ObjectsAreDeterministic) {
  const auto backend = make_cpu_backend(detect_host());
  const loop::Kernel k = loop::parse_kernel(add_kernel(3));
  const auto first = backend->compile(k), second = backend->compile(k);
  EXPECT_EQ(first->object(), second->object());
  EXPECT_TRUE(
      first->object().starts_with("\x7f"
                                  "ELF"));
  EXPECT_NE(first->function(), second->function());
}

TEST(CpuBackend, CompilesFromManyThreads) {
  const auto backend = make_cpu_backend(detect_host());
  constexpr int kThreads = 4, kKernels = 12;
  std::vector<std::thread> threads;
  std::vector<std::string> errors(kThreads);
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kKernels; ++i) {
        const int value = t * kKernels + i;
        const auto code = backend->compile(loop::parse_kernel(add_kernel(value)));
        const float got = run(*code, {0.5F}, 0, 1)[0];
        if (std::abs(got - static_cast<float>(value) - 0.5F) > 1e-4F)
          errors[static_cast<size_t>(t)] +=
              std::to_string(value) + " gave " + std::to_string(got) + "\n";
      }
    });
  for (std::thread& t : threads) t.join();
  for (const std::string& e : errors) EXPECT_EQ(e, "");
}

/// The permissions of the mapping that holds `p`, such as "r-xp"; empty if there is none.
std::string permissions(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::string flags;
    std::istringstream(line) >> std::hex >> begin >> dash >> end >> flags;
    if (begin <= address && address < end) return flags;
  }
  return "";
}

int64_t count_mappings() {
  std::ifstream maps("/proc/self/maps");
  int64_t n = 0;
  for (std::string line; std::getline(maps, line);) ++n;
  return n;
}

TEST(CpuBackend, CodeIsNotWritableAndIsFreed) {
  const auto backend = make_cpu_backend(detect_host());
  auto code = backend->compile(loop::parse_kernel(kSquares));
  const auto* p = reinterpret_cast<const void*>(code->function());
  EXPECT_EQ(permissions(p), "r-xp");
  code.reset();
  EXPECT_NE(permissions(p), "r-xp");
  const int64_t before = count_mappings();
  for (int i = 0; i < 100; ++i) backend->compile(loop::parse_kernel(kSquares));
  EXPECT_LT(count_mappings(), before + 20);
}

TEST(CpuBackend, ShowsItsWork) {
  const auto backend = make_cpu_backend(detect_host());
  const loop::Kernel k = loop::parse_kernel(add_kernel(3));
  const std::string llvm = backend->optimized_llvm(k);
  EXPECT_NE(llvm.find("define void @add3(ptr"), std::string::npos) << llvm;
  EXPECT_EQ(llvm.find("@oj_exp"), std::string::npos) << "the vector maths is not inlined\n" << llvm;
  const std::string assembly = backend->assembly(k);
  EXPECT_NE(assembly.find("add3:"), std::string::npos) << assembly;
  EXPECT_EQ(assembly.find("call"), std::string::npos) << assembly;
}

TEST(CpuBackend, HostIsNarrowedOnRequest) {
  const HostCpu best = detect_host();
  EXPECT_FALSE(best.name.empty());
  EXPECT_EQ(detect_host(128).target.vector_bits, 128);
  EXPECT_EQ(detect_host(100000).target.vector_bits, best.target.vector_bits);
  EXPECT_EQ(detect_host().target.vector_bits, best.target.vector_bits);
}

TEST(CpuBackend, NarrowVectorsAreUsed) {
  const std::string assembly =
      make_cpu_backend(detect_host(128))
          ->assembly(loop::parse_kernel(
              testing::replaced(kSquares, "parallel p in 0..n {", "for p in 0..n vector(4, 1) {")));
  EXPECT_NE(assembly.find("%xmm"), std::string::npos) << assembly;
  EXPECT_EQ(assembly.find("%ymm"), std::string::npos) << assembly;
  EXPECT_EQ(assembly.find("%zmm"), std::string::npos) << assembly;
}

TEST(CpuBackend, UnknownCpuIsAnError) {
  HostCpu host = detect_host();
  host.target.vector_bits = 1024;
  EXPECT_THROW(make_cpu_backend(host)->compile(loop::parse_kernel(add_kernel(1))), Error);
}

}  // namespace
}  // namespace ourjit
