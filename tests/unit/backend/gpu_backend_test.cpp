#include "backend/gpu_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

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

}  // namespace
}  // namespace ourjit
