// The largest error of each unary float function over every stride-th float, in units in the last
// place of the result, against the C library in double precision. usage: vecmath_accuracy [stride
// (default 1: all floats) [function ...]]
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "testing/vecmath_arrays.h"
#include "testing/vecmath_reference.h"

namespace {

using ourjit::VecmathFunction;
using ourjit::VecmathTable;
using ourjit::vecmath::UnaryReference;

constexpr std::size_t kBlock = 4096;

std::vector<const VecmathTable*> tables() {
  std::vector<const VecmathTable*> result;
  if (__builtin_cpu_supports("x86-64-v4")) {
    result.push_back(ourjit::ourjit_vecmath_table_512());
  }
  if (__builtin_cpu_supports("x86-64-v2")) {
    result.push_back(ourjit::ourjit_vecmath_table_128());
  }
  return result;
}

const VecmathFunction* find(const VecmathTable* table, const std::string& name) {
  for (std::size_t i = 0; i < table->function_count; ++i) {
    if (table->functions[i].name == name && !table->functions[i].is_double) {
      return &table->functions[i];
    }
  }
  return nullptr;
}

void measure(const UnaryReference& reference, std::uint64_t stride) {
  const std::vector<const VecmathTable*> widths = tables();
  std::vector<double> worst(widths.size());
  std::vector<float> where(widths.size());
  std::vector<float> x(kBlock);
  std::vector<double> expected(kBlock);
  std::vector<float> got(kBlock);
  for (std::uint64_t first = 0; first < std::uint64_t{1} << 32; first += kBlock * stride) {
    for (std::size_t i = 0; i < kBlock; ++i) {
      // The last block wraps around.
      x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(first + i * stride));
      expected[i] = reference.reference_f32(x[i]);
    }
    for (std::size_t w = 0; w < widths.size(); ++w) {
      find(widths[w], reference.name)->apply(x.data(), nullptr, got.data(), kBlock);
      for (std::size_t i = 0; i < kBlock; ++i) {
        const double distance = ourjit::vecmath::ulp_distance(got[i], expected[i], reference.floor);
        if (distance > worst[w]) {
          worst[w] = distance;
          where[w] = x[i];
        }
      }
    }
  }
  std::printf("%-8s", reference.name);
  for (std::size_t w = 0; w < widths.size(); ++w) {
    std::printf("  %d bits: %.3f at %a", widths[w]->vector_bits, worst[w], double(where[w]));
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t stride = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  if (stride == 0) {
    std::fprintf(stderr, "the stride must be a positive number\n");
    return 2;
  }
  const std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  for (const UnaryReference& reference : ourjit::vecmath::kUnaryReferences) {
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), reference.name) != wanted.end()) {
      measure(reference, stride);
    }
  }
  return 0;
}
