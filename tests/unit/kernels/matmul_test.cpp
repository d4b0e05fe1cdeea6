#include "matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace ourjit::matmul {
namespace {

std::vector<const Kernel*> kernels() {
  std::vector<const Kernel*> found;
  if (__builtin_cpu_supports("x86-64-v3")) found.push_back(&kKernel256);
  if (__builtin_cpu_supports("x86-64-v4")) found.push_back(&kKernel512);
  return found;
}

std::vector<float> drawn(int64_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = uniform(engine);
  return x;
}

/// A matrix in memory of exactly its elements, its rows or its columns contiguous.
struct Operand {
  Operand(int64_t rows, int64_t columns, bool turned, unsigned seed)
      : memory(drawn(rows * columns, seed)),
        view{memory.data(), turned ? 1 : columns, turned ? rows : 1} {}
  double at(int64_t i, int64_t j) const { return view.data[i * view.row + j * view.column]; }

  std::vector<float> memory;
  Matrix view;
};

struct Case {
  int64_t m, n, k;
  bool a_turned = false, b_turned = false;
};

std::string str(const Case& c) {
  return std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) +
         (c.a_turned ? " a'" : "") + (c.b_turned ? " b'" : "");
}

std::vector<float> scratch_for(const Kernel& kernel, const Product& p) {
  // What is read before it is written shows as NaN.
  return std::vector<float>(static_cast<size_t>(kernel.scratch_floats(p)) + 16,
                            std::numeric_limits<float>::quiet_NaN());
}

float* aligned(std::vector<float>& memory) {
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return memory.data() + (64 - address % 64) % 64 / sizeof(float);
}

void check(const Kernel& kernel, const Case& c) {
  SCOPED_TRACE(str(c) + ", " + std::to_string(kernel.vector_bits) + " bits");
  const Operand a(c.m, c.k, c.a_turned, 1), b(c.k, c.n, c.b_turned, 2);
  constexpr float kUntouched = 77;
  const int64_t c_row = c.n + 3;
  std::vector<float> out(static_cast<size_t>(c.m * c_row), kUntouched);
  const Product p{a.view, b.view, out.data(), c_row, c.m, c.n, c.k};
  std::vector<float> scratch = scratch_for(kernel, p);
  kernel.multiply(p, aligned(scratch));
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t j = 0; j < c_row; ++j) {
      const float got = out[static_cast<size_t>(i * c_row + j)];
      if (j >= c.n) {
        ASSERT_EQ(got, kUntouched) << i << ", " << j;
        continue;
      }
      double sum = 0, magnitude = 0;
      for (int64_t d = 0; d < c.k; ++d) {
        sum += a.at(i, d) * b.at(d, j);
        magnitude += std::fabs(a.at(i, d) * b.at(d, j));
      }
      ASSERT_NEAR(got, sum, magnitude * 1e-6) << i << ", " << j;
    }
  }
}

TEST(Matmul, AgreesWithSumsInDoubles) {
  for (const Kernel* kernel : kernels()) {
    const int64_t rows = kernel->rows, columns = kernel->columns;
    for (int form = 0; form < 4; ++form) {
      const bool a = form & 1, b = form & 2;
      for (const int64_t m : {int64_t{1}, rows - 1, rows, 2 * rows + 1})
        for (const int64_t n : {int64_t{1}, columns - 1, columns, 2 * columns + 3})
          for (const int64_t k : {1, 7, 8, 17}) check(*kernel, {m, n, k, a, b});
    }
  }
}

TEST(Matmul, AgreesBeyondItsBlocks) {
  for (const Kernel* kernel : kernels()) {
    check(*kernel, {260, 40, 700, false, true});
    check(*kernel, {20, 2100, 331, true, false});
    check(*kernel, {333, 33, 641, true, true});
  }
}

TEST(Matmul, RangesGiveTheBitsOfTheWhole) {
  for (const Kernel* kernel : kernels()) {
    const int64_t m = 3 * kernel->rows + 2, n = 2 * kernel->columns + 5, k = 900;
    const Operand a(m, k, true, 1), b(k, n, false, 2);
    std::vector<float> whole(static_cast<size_t>(m * n)), parts = whole;
    Product p{a.view, b.view, whole.data(), n, m, n, k};
    std::vector<float> scratch = scratch_for(*kernel, p);
    kernel->multiply(p, aligned(scratch));
    for (const auto& [top, bottom] :
         {std::pair<int64_t, int64_t>{0, kernel->rows}, {kernel->rows, m}})
      for (const auto& [left, right] :
           {std::pair<int64_t, int64_t>{0, kernel->columns}, {kernel->columns, n}}) {
        Product part = p;
        part.a.data += top * p.a.row;
        part.b.data += left * p.b.column;
        part.c = parts.data() + top * n + left;
        part.m = bottom - top;
        part.n = right - left;
        kernel->multiply(part, aligned(scratch));
      }
    EXPECT_EQ(whole, parts);
  }
}

}  // namespace
}  // namespace ourjit::matmul
