#include "backend/gpu_backend.h"

#include <gtest/gtest.h>

#include <dlfcn.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>
#include <thread>

#include "backend/cuda_api.h"
#include "backend/nvrtc_check.h"
#include "base/error.h"
#include "loop/text.h"
#include "replaced.h"

namespace ourjit {
namespace {

/// Every kernel is in one unit, and the units are in order inside.
void check_partition(const std::vector<std::vector<size_t>>& units, size_t n) {
  std::vector<size_t> all;
  for (const auto& u : units) {
    EXPECT_FALSE(u.empty());
    EXPECT_LE(u.size(), 16u);
    EXPECT_TRUE(std::is_sorted(u.begin(), u.end()));
    all.insert(all.end(), u.begin(), u.end());
  }
  std::sort(all.begin(), all.end());
  std::vector<size_t> expected(n);
  std::iota(expected.begin(), expected.end(), size_t{0});
  EXPECT_EQ(all, expected);
}

TEST(GpuUnits, ThreadsGetOneEachUntilThereAreMany) {
  for (const size_t n : {0u, 1u, 2u, 3u, 16u, 17u, 32u, 33u, 100u, 1000u})
    for (const int threads : {1, 2, 3, 16}) {
      const auto units = make_units(std::vector<size_t>(n, 1), threads);
      check_partition(units, n);
      if (n <= 16 * static_cast<size_t>(threads)) {
        EXPECT_EQ(units.size(), std::min(n, static_cast<size_t>(threads)));
      } else {
        EXPECT_EQ(units.size() % static_cast<size_t>(threads), 0u);
        for (const auto& u : units) EXPECT_GE(u.size(), 8u) << n << " kernels, " << threads;
      }
    }
}

TEST(GpuUnits, WeightsAreBalanced) {
  const auto units = make_units({100, 1, 1, 1, 97}, 2);
  check_partition(units, 5);
  EXPECT_EQ(units[0], (std::vector<size_t>{0}));
  EXPECT_EQ(units[1], (std::vector<size_t>{1, 2, 3, 4}));
}

TEST(GpuBackend, MissingDriversSayWhatToInstall) {
  GpuConfig config;
  config.driver = "/no/such/libcuda.so.1";
  try {
    make_gpu_backend(config);
    FAIL() << "made";
  } catch (const BackendError& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("cannot open /no/such/libcuda.so.1"), std::string::npos) << message;
    EXPECT_NE(message.find("install NVIDIA's driver"), std::string::npos) << message;
  }
}

/// A kernel @addV that adds V to n floats, 128 a block.
loop::Kernel add_kernel(int value) {
  return loop::parse_kernel(testing::replaced(R"(
kernel @addV(a: in f32[n], b: out f32[n], n: index) threads(32, 1) {
  %1: f32 = const V.0
  parallel p in 0..floordiv(n + 127, 128) {
    for c in p*128..min(p*128 + 128, n) threads(x, 4) {
      %0: f32 = load a[c]
      %2: f32 = add %0, %1
      store b[c], %2
    }
  }
})",
                                              "V", std::to_string(value)));
}

/// The emulator, its faults cleared before and after.
class GpuBackendTest : public ::testing::Test {
 protected:
  GpuBackendTest() : emulator_(dlopen(OURJIT_EMULATOR_LIBRARY, RTLD_NOW | RTLD_LOCAL)) {
    config_.nvrtc = config_.driver = OURJIT_EMULATOR_LIBRARY;
    config_.emulated = true;
    config_.save_folder = ::testing::TempDir();
  }
  void SetUp() override {
    ASSERT_TRUE(emulator_) << dlerror();
    clear();
  }
  ~GpuBackendTest() override { clear(); }

  template <class F>
  F* function(const char* name) const {
    return reinterpret_cast<F*>(dlsym(emulator_, name));
  }
  void clear() const { function<void()>("ourjit_emulator_clear")(); }
  std::string log() const { return function<const char*()>("ourjit_emulator_log")(); }
  /// The nth next call of `name` fails.
  void fail(const char* name, int code, int nth = 1) const {
    function<void(const char*, int, int)>("ourjit_emulator_fail")(name, nth, code);
  }

  /// What an addV kernel makes of 0 .. n - 1, in memory that begins `shift` elements behind where
  /// it is aligned.
  static std::vector<float> run(const GpuBackend& backend, const DeviceKernel& kernel, int64_t n,
                                int64_t shift = 0) {
    std::vector<float> a(static_cast<size_t>(n + shift)), b(a.size());
    std::iota(a.begin() + shift, a.end(), 0.0f);
    void* pointers[] = {a.data() + shift, b.data() + shift};
    const DeviceScope scope(backend.device().get());
    const std::shared_ptr<int32_t> status = backend.device()->new_status();
    const int64_t starts[] = {0, (n + 127) / 128};
    kernel.launch({1, starts, pointers, 2, &n, 1}, status.get(), nullptr);
    EXPECT_EQ(*status, 0);
    return b;
  }

  static std::string error_of(const std::function<void()>& work) {
    try {
      work();
    } catch (const BackendError& e) {
      return e.what();
    }
    return "no error";
  }

  void* const emulator_;
  GpuConfig config_;
};

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(GpuBackendTest, BuffersThatAreNotAlignedGetAKernelOfTheirOwn) {
  const auto backend = make_gpu_backend(config_);
  const loop::Kernel k = add_kernel(3);
  const auto kernel = backend->compile({&k}, 1)[0];
  std::vector<float> expected(1000);
  std::iota(expected.begin(), expected.end(), 3.0f);
  EXPECT_EQ(run(*backend, *kernel, 1000), expected);
  EXPECT_EQ(backend->variants(), 0);
  for (const int64_t shift : {1, 2, 3, 1}) {
    const std::vector<float> b = run(*backend, *kernel, 1000, shift);
    EXPECT_EQ(std::vector<float>(b.begin() + shift, b.end()), expected);
  }
  EXPECT_EQ(backend->variants(), 1) << "one variant serves all launches";
}

TEST_F(GpuBackendTest, CompilesLoadsAndLaunches) {
  const auto backend = make_gpu_backend(config_);
  EXPECT_TRUE(backend->device()->synchronous());
  EXPECT_TRUE(backend->architecture().starts_with("sm_"));
  std::vector<loop::Kernel> kernels;
  for (int i = 0; i < 20; ++i) kernels.push_back(add_kernel(i));
  std::vector<const loop::Kernel*> pointers;
  for (const loop::Kernel& k : kernels) pointers.push_back(&k);
  const auto loaded = backend->compile(pointers, 2);
  ASSERT_EQ(loaded.size(), 20u);
  for (const size_t i : {0u, 7u, 19u}) {
    const std::vector<float> b = run(*backend, *loaded[i], 1001);
    EXPECT_EQ(b[0], static_cast<float>(i));
    EXPECT_EQ(b[1000], static_cast<float>(1000 + i));
  }
  const std::string calls = log();
  size_t units = 0;
  for (size_t at = calls.find("nvrtcCompileProgram"); at != std::string::npos;
       at = calls.find("nvrtcCompileProgram", at + 1))
    ++units;
  EXPECT_EQ(units, 2u);
  EXPECT_CONTAINS(calls, "\"grid\": [8, 1, 1]");
  EXPECT_CONTAINS(calls, "\"block\": [32, 1, 1]");
}

TEST_F(GpuBackendTest, ATableIsLaunchedInPartsThatFitItsParameter) {
  const auto backend = make_gpu_backend(config_);
  loop::Kernel k = add_kernel(2);
  k.table_rows = 4;
  const auto loaded = backend->compile({&k}, 1)[0];
  const std::vector<int64_t> lengths{5, 0, 300, 128, 1, 0, 0, 129, 64, 1000, 7};
  std::vector<std::vector<float>> a, b;
  std::vector<void*> pointers;
  std::vector<int64_t> starts{0};
  for (const int64_t n : lengths) {
    a.emplace_back(static_cast<size_t>(n), static_cast<float>(n));
    b.emplace_back(static_cast<size_t>(n));
    pointers.insert(pointers.end(), {a.back().data(), b.back().data()});
    starts.push_back(starts.back() + (n + 127) / 128);
  }
  clear();
  const DeviceScope scope(backend->device().get());
  const std::shared_ptr<int32_t> status = backend->device()->new_status();
  loaded->launch({11, starts.data(), pointers.data(), 2, lengths.data(), 1}, status.get(), nullptr);
  for (size_t i = 0; i < lengths.size(); ++i)
    for (const float x : b[i]) ASSERT_EQ(x, static_cast<float>(lengths[i]) + 2) << i;
  const std::string calls = log();
  EXPECT_CONTAINS(calls, "\"grid\": [5, 1, 1]");   // rows 0 to 3
  EXPECT_CONTAINS(calls, "\"grid\": [3, 1, 1]");   // 4 to 7
  EXPECT_CONTAINS(calls, "\"grid\": [10, 1, 1]");  // 8 to 10
}

/// Adds the number at s to n floats, 128 a block, and then 1 to that number.
loop::Kernel counting_kernel() {
  loop::Kernel k = loop::parse_kernel(R"(
kernel @count(a: in f32[n], b: out f32[n], s: inout f32[1], n: index) threads(32, 1) table(4) {
  %1: f32 = load s[0]
  parallel p in 0..floordiv(n + 127, 128) {
    for c in p*128..min(p*128 + 128, n) threads(x, 4) {
      %0: f32 = load a[c]
      %2: f32 = add %0, %1
      store b[c], %2
    }
  }
} epilogue {
  %3: f32 = load s[0]
  %4: f32 = const 1.0
  %5: f32 = add %3, %4
  store s[0], %5
})");
  return k;
}

TEST_F(GpuBackendTest, RowsThatShareACounterFindItAsItWasAndOneRowWritesIt) {
  const auto backend = make_gpu_backend(config_);
  const loop::Kernel k = counting_kernel();
  const auto loaded = backend->compile({&k}, 1)[0];
  // In three launches: rows 0 to 6 share a counter, which row 6 writes; each of the others has one.
  const std::vector<int64_t> lengths{5, 300, 128, 1, 1000, 129, 64, 7, 600, 1, 130};
  std::vector<std::vector<float>> a, b;
  std::vector<float> counters{10, 20, 30, 40, 50};
  std::vector<void*> pointers;
  std::vector<int64_t> starts{0};
  for (size_t i = 0; i < lengths.size(); ++i) {
    a.emplace_back(static_cast<size_t>(lengths[i]));
    b.emplace_back(a.back());
    pointers.insert(pointers.end(),
                    {a.back().data(), b.back().data(), &counters[i < 7 ? 0 : i - 6]});
    starts.push_back(starts.back() + (lengths[i] + 127) / 128);
  }
  const DeviceScope scope(backend->device().get());
  const std::shared_ptr<int32_t> status = backend->device()->new_status();
  for (int step = 0; step < 5; ++step) {
    function<void(uint64_t)>("ourjit_emulator_shuffle")(static_cast<uint64_t>(step));
    loaded->launch({11, starts.data(), pointers.data(), 3, lengths.data(), 1, 6}, status.get(),
                   nullptr);
    for (size_t i = 0; i < b.size(); ++i)
      for (const float x : b[i])
        ASSERT_EQ(x, static_cast<float>((i < 7 ? 10 : 10 * (i - 5)) + static_cast<size_t>(step)))
            << "row " << i;
    EXPECT_EQ(counters[0], static_cast<float>(11 + step));
    EXPECT_EQ(counters[4], static_cast<float>(51 + step));
  }
  function<void(uint64_t)>("ourjit_emulator_shuffle")(0);
}

/// The number that stands behind the table among the parameters of each launch.
std::vector<std::string> tickets(const std::string& log) {
  std::vector<std::string> out;
  const std::string head = "\"parameters\": [";
  for (size_t at = log.find(head); at != std::string::npos; at = log.find(head, at + 1)) {
    const size_t begin = log.find(", ", at) + 2;
    out.push_back(log.substr(begin, log.find(',', begin) - begin));
  }
  return out;
}

TEST_F(GpuBackendTest, LaunchesThatMayOverlapHaveDifferentTickets) {
  const auto backend = make_gpu_backend(config_);
  const loop::Kernel k = counting_kernel();
  const auto loaded = backend->compile({&k}, 1)[0];
  std::vector<float> a(300), b(300), counter{0};
  void* pointers[] = {a.data(), b.data(), counter.data()};
  const int64_t starts[] = {0, 3}, n = 300;
  const DeviceScope scope(backend->device().get());
  const std::shared_ptr<int32_t> status = backend->device()->new_status();
  const auto launch = [&](uintptr_t stream) {
    loaded->launch({1, starts, pointers, 3, &n, 1}, status.get(), reinterpret_cast<void*>(stream));
  };
  clear();
  for (const uintptr_t stream : {0, 1, 2, 1, 0}) launch(stream);
  EXPECT_EQ(counter[0], 5);
  // What is captured has tickets that nothing else has, whatever stream it was captured on.
  std::vector<void*> graphs;
  for (const uintptr_t stream : {1, 1, 2}) {
    graphs.push_back(function<void*()>("ourjit_emulator_new_graph")());
    function<void(void*)>("ourjit_emulator_capture")(graphs.back());
    launch(stream);
    launch(stream);
    function<void(void*)>("ourjit_emulator_capture")(nullptr);
  }
  const std::vector<std::string> used = tickets(log());
  ASSERT_EQ(used.size(), 11u);
  EXPECT_EQ(used[0], used[4]);
  EXPECT_EQ(used[1], used[3]);
  EXPECT_EQ(std::set<std::string>(used.begin(), used.begin() + 3).size(), 3u);
  for (const size_t i : {5u, 7u, 9u}) EXPECT_EQ(used[i], used[i + 1]) << "one after the other";
  EXPECT_EQ(std::set<std::string>(used.begin(), used.end()).size(), 6u);
  EXPECT_EQ(counter[0], 5) << "nothing captured has run";
  for (int replay = 0; replay < 10; ++replay) {
    function<void(void*)>("ourjit_emulator_replay")(graphs[0]);
    EXPECT_EQ(counter[0], static_cast<float>(7 + 2 * replay));
    EXPECT_EQ(b[299], static_cast<float>(6 + 2 * replay));
  }
  for (void* graph : graphs) function<void(void*)>("ourjit_emulator_delete_graph")(graph);
}

TEST_F(GpuBackendTest, MemoryForTicketsIsThereBeforeACapture) {
  const auto backend = make_gpu_backend(config_);
  const loop::Kernel k = counting_kernel();
  fail("cuMemAlloc_v2", cuda::CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_CONTAINS(error_of([&] { backend->compile({&k}, 1); }), "no memory for the tickets");
  const auto loaded = backend->compile({&k}, 1)[0];
  clear();
  float a = 0, b = 0, counter = 3;
  void* pointers[] = {&a, &b, &counter};
  const int64_t starts[] = {0, 1}, n = 1;
  const DeviceScope scope(backend->device().get());
  loaded->launch({1, starts, pointers, 3, &n, 1}, backend->device()->new_status().get(), nullptr);
  EXPECT_EQ(b, 3);
  EXPECT_EQ(counter, 4);
  EXPECT_EQ(log().find("cuMemAlloc"), std::string::npos);
}

TEST_F(GpuBackendTest, KernelsOutliveTheirBackendAndEachOther) {
  auto backend = make_gpu_backend(config_);
  const loop::Kernel one = add_kernel(1), two = add_kernel(2);
  const auto first = backend->compile({&one}, 1)[0];
  auto second = backend->compile({&two}, 1)[0];
  EXPECT_EQ(run(*backend, *second, 3)[2], 4);
  second.reset();
  const auto other = make_gpu_backend(config_);
  backend.reset();
  EXPECT_EQ(run(*other, *first, 3)[2], 3);
}

TEST_F(GpuBackendTest, LaunchesFromThreadsWithoutAContext) {
  const auto backend = make_gpu_backend(config_);
  const loop::Kernel k = add_kernel(5);
  const auto loaded = backend->compile({&k}, 1)[0];
  std::vector<float> b;
  std::thread([&] { b = run(*backend, *loaded, 200); }).join();
  EXPECT_EQ(b[199], 204);
}

TEST_F(GpuBackendTest, AnEmptyGridIsNoLaunchAndAHugeOneIsRefused) {
  const auto backend = make_gpu_backend(config_);
  const loop::Kernel k = add_kernel(5);
  const auto loaded = backend->compile({&k}, 1)[0];
  clear();
  EXPECT_TRUE(run(*backend, *loaded, 0).empty());
  const int64_t grid = int64_t{1} << 31, n = 0;
  void* pointers[] = {nullptr, nullptr};
  const int64_t starts[] = {0, grid};
  const LaunchTable table{1, starts, pointers, 2, &n, 1};
  const std::string error = error_of([&] { loaded->launch(table, nullptr, nullptr); });
  EXPECT_CONTAINS(error, "kernel add5 would need 2147483648 blocks");
  EXPECT_EQ(log().find("cuLaunchKernel"), std::string::npos);
}

TEST_F(GpuBackendTest, FaultsOfTheDriverAreNamedAndTheNextCallWorks) {
  const auto backend = make_gpu_backend(config_);
  const loop::Kernel k = add_kernel(3);
  const auto compile = [&] { return backend->compile({&k}, 1)[0]; };

  fail("cuLibraryLoadData", cuda::CUDA_ERROR_INVALID_IMAGE);
  EXPECT_CONTAINS(error_of(compile), "cannot load add3: ");
  fail("cuLibraryLoadData", cuda::CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_CONTAINS(error_of(compile), "cannot load add3: ");
  fail("cuLibraryGetKernel", cuda::CUDA_ERROR_NOT_FOUND);
  EXPECT_CONTAINS(error_of(compile), "cannot find kernel add3 in its library");
  const auto loaded = compile();

  fail("cuLaunchKernel", cuda::CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_CONTAINS(error_of([&] { run(*backend, *loaded, 10); }), "launching kernel add3 failed");
  fail("cuMemHostAlloc", cuda::CUDA_ERROR_OUT_OF_MEMORY);
  const auto fresh = make_gpu_backend(config_);
  EXPECT_CONTAINS(error_of([&] { run(*fresh, *loaded, 10); }),
                  "no memory for the status of kernels");
  fail("cuCtxSetCurrent", cuda::CUDA_ERROR_INVALID_CONTEXT);
  std::string error;
  std::thread([&] { error = error_of([&] { run(*backend, *loaded, 10); }); }).join();
  EXPECT_TRUE(error == "no error" || error.starts_with("the GPU cannot be made current")) << error;
  clear();
  EXPECT_EQ(run(*backend, *loaded, 10)[9], 12);
}

TEST_F(GpuBackendTest, FaultsAtStartAreNamed) {
  fail("cuInit", cuda::CUDA_ERROR_NO_DEVICE);
  EXPECT_CONTAINS(error_of([&] { make_gpu_backend(config_); }), "the CUDA driver does not start");
  fail("cuDevicePrimaryCtxRetain", cuda::CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_CONTAINS(error_of([&] { make_gpu_backend(config_); }), "the GPU has no context");
  config_.ordinal = 7;
  EXPECT_CONTAINS(error_of([&] { make_gpu_backend(config_); }), "there is no GPU 7");
}

TEST_F(GpuBackendTest, FaultsOfNvrtcNameTheKernels) {
  const auto backend = make_gpu_backend(config_);
  const loop::Kernel k = add_kernel(4), other = add_kernel(6);
  fail("nvrtcCompileProgram", cuda::NVRTC_ERROR_COMPILATION);
  const std::string error = error_of([&] { backend->compile({&k, &other}, 1); });
  EXPECT_CONTAINS(error, "NVRTC failed on add4_and_1_more for " + backend->architecture());
  EXPECT_CONTAINS(error, "the source is in " + config_.save_folder);
  fail("nvrtcCreateProgram", cuda::NVRTC_ERROR_OUT_OF_MEMORY);
  EXPECT_CONTAINS(error_of([&] { backend->compile({&k}, 1); }), "NVRTC failed on add4");
  EXPECT_EQ(run(*backend, *backend->compile({&k}, 1)[0], 4)[3], 7);
}

TEST_F(GpuBackendTest, EmitsWithoutADriver) {
  OURJIT_NEEDS_NVRTC(nvrtc);
  GpuConfig config;
  config.nvrtc = testing::nvrtc_path();
  for (const char* architecture : {"sm_80", "sm_90", "sm_100"}) {
    config.architecture = architecture;
    const auto backend = make_gpu_backend(config);
    EXPECT_FALSE(backend->device());
    const std::string source = backend->source(add_kernel(1));
    EXPECT_EQ(backend->compile_cubin(source).substr(1, 3), "ELF");
    EXPECT_CONTAINS(backend->compile_ptx(source), std::string(".target ") + architecture);
  }
  EXPECT_FALSE(nvrtc.version().empty());
}

}  // namespace
}  // namespace ourjit
