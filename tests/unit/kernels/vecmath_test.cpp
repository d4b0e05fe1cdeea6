#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <numbers>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "cpu_bitcode.h"
#include "testing/vecmath_arrays.h"
#include "testing/vecmath_reference.h"

namespace ourjit::vecmath {
namespace {

constexpr std::size_t kMultiple = 16;

/// The tables of the widths that this processor can run.
std::vector<const VecmathTable*> tables() {
  std::vector<const VecmathTable*> result;
  if (__builtin_cpu_supports("x86-64-v2")) {
    result.push_back(ourjit_vecmath_table_128());
  }
  if (__builtin_cpu_supports("x86-64-v3")) {
    result.push_back(ourjit_vecmath_table_256());
  }
  if (__builtin_cpu_supports("x86-64-v4")) {
    result.push_back(ourjit_vecmath_table_512());
  }
  return result;
}

template <class T>
const VecmathFunction& function_named(const VecmathTable& table, const std::string& name) {
  for (std::size_t i = 0; i < table.function_count; ++i) {
    const VecmathFunction& function = table.functions[i];
    if (function.name == name && function.is_double == (sizeof(T) == 8)) {
      return function;
    }
  }
  throw std::out_of_range(name);
}

template <class T>
std::vector<T> special_values() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values = {0,
                           Limits::denorm_min(),
                           Limits::min() - Limits::denorm_min(),
                           Limits::min(),
                           Limits::epsilon() / 2,
                           T(1) / 3,
                           T(0.5),
                           std::nextafter(T(1), T(0)),
                           1,
                           std::nextafter(T(1), T(2)),
                           T(1.5),
                           2,
                           T(2.5),
                           3,
                           4,
                           10,
                           T(1e10) + 1,
                           1 / Limits::epsilon(),
                           1 / Limits::epsilon() - 1,
                           2 / Limits::epsilon(),
                           Limits::max(),
                           Limits::infinity(),
                           Limits::quiet_NaN()};
  const std::size_t count = values.size();
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(-values[i]);
  }
  return values;
}

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

template <class T>
void pad(std::vector<T>& values) {
  while (values.size() % kMultiple != 0) {
    values.push_back(T(1));
  }
}

/// Specials, every exponent of both signs, multiples of pi / 2 and their neighbours, and random
/// numbers of a range.
template <class T>
std::vector<T> unary_samples(double low, double high) {
  std::vector<T> samples = special_values<T>();
  std::mt19937_64 random(1);
  constexpr int mantissa_bits = std::numeric_limits<T>::digits - 1;
  constexpr int per_exponent = sizeof(T) == 4 ? 400 : 12;
  const Bits<T> exponents = (Bits<T>{1} << (8 * sizeof(T) - mantissa_bits));
  for (Bits<T> exponent = 0; exponent < exponents; ++exponent) {
    for (int i = 0; i < per_exponent; ++i) {
      const Bits<T> mantissa = static_cast<Bits<T>>(random()) & ((Bits<T>{1} << mantissa_bits) - 1);
      samples.push_back(std::bit_cast<T>((exponent << mantissa_bits) | mantissa));
    }
  }
  for (int i = 1; i < 5000; ++i) {
    const T near = static_cast<T>(i * std::numbers::pi / 2);
    samples.insert(samples.end(),
                   {near, std::nextafter(near, T(0)), -std::nextafter(near, T(1e9))});
  }
  for (int i = -2000; i < 2000; ++i) {
    samples.insert(samples.end(), {static_cast<T>(i), static_cast<T>(i * 0.125)});
  }
  std::uniform_real_distribution<double> uniform(low, high);
  for (int i = 0; i < 60000; ++i) {
    samples.push_back(static_cast<T>(uniform(random)));
  }
  std::uniform_real_distribution<double> around_one(-2, 2);
  for (int i = 0; i < 40000; ++i) {
    samples.push_back(static_cast<T>(around_one(random)));
  }
  pad(samples);
  return samples;
}

struct Worst {
  double distance = 0;
  std::string where;
};

template <class T>
std::string describe(T x, T got, long double expected) {
  char text[160];
  std::snprintf(text, sizeof(text), "f(%a = %.9g) = %a, expected %.20Lg", double(x), double(x),
                double(got), expected);
  return text;
}

template <class T>
void check_unary(const UnaryReference& function, double bound) {
  const std::vector<T> samples = unary_samples<T>(function.low, function.high);
  std::vector<long double> expected;
  expected.reserve(samples.size());
  for (const T x : samples) {
    expected.push_back(sizeof(T) == 4 ? static_cast<long double>(function.reference_f32(x))
                                      : function.reference_f64(x));
  }
  for (const VecmathTable* table : tables()) {
    std::vector<T> got(samples.size());
    function_named<T>(*table, function.name)
        .apply(samples.data(), nullptr, got.data(), samples.size());
    Worst worst;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const double distance = ulp_distance(got[i], expected[i], function.floor);
      if (distance > worst.distance) {
        worst = {distance, describe(samples[i], got[i], expected[i])};
      }
    }
    const std::string what = std::string(function.name) + (sizeof(T) == 4 ? " f32 " : " f64 ") +
                             std::to_string(table->vector_bits);
    EXPECT_LE(worst.distance, bound) << what << ": " << worst.where;
    if (std::getenv("OURJIT_SHOW_ULP") != nullptr) {
      std::printf("%-16s %.3f  %s\n", what.c_str(), worst.distance, worst.where.c_str());
    }
  }
}

class VecmathUnary : public ::testing::TestWithParam<UnaryReference> {};

TEST_P(VecmathUnary, FloatIsWithinItsBound) {
  check_unary<float>(GetParam(), GetParam().bound_f32);
}

TEST_P(VecmathUnary, DoubleIsWithinItsBound) {
  check_unary<double>(GetParam(), GetParam().bound_f64);
}

INSTANTIATE_TEST_SUITE_P(All, VecmathUnary, ::testing::ValuesIn(kUnaryReferences),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Vecmath, EveryUnaryFunctionHasAReference) {
  for (const VecmathTable* table :
       {ourjit_vecmath_table_128(), ourjit_vecmath_table_256(), ourjit_vecmath_table_512()}) {
    for (std::size_t i = 0; i < table->function_count; ++i) {
      const VecmathFunction& function = table->functions[i];
      const bool known = std::any_of(std::begin(kUnaryReferences), std::end(kUnaryReferences),
                                     [&](const UnaryReference& reference) {
                                       return reference.name == std::string(function.name);
                                     });
      EXPECT_EQ(known, function.operands == 1) << function.name;
    }
  }
}

template <class T>
struct Pairs {
  std::vector<T> a;
  std::vector<T> b;

  void add(T x, T y) {
    a.push_back(x);
    b.push_back(y);
  }
};

/// All pairs of special values, pairs of any two bit patterns, and pairs of random numbers of
/// ranges.
template <class T>
Pairs<T> binary_samples(double a_low, double a_high, double b_low, double b_high) {
  Pairs<T> pairs;
  for (const T x : special_values<T>()) {
    for (const T y : special_values<T>()) {
      pairs.add(x, y);
    }
  }
  std::mt19937_64 random(2);
  for (int i = 0; i < 40000; ++i) {
    pairs.add(std::bit_cast<T>(static_cast<Bits<T>>(random())),
              std::bit_cast<T>(static_cast<Bits<T>>(random())));
  }
  std::uniform_real_distribution<double> a(a_low, a_high);
  std::uniform_real_distribution<double> b(b_low, b_high);
  for (int i = 0; i < 100000; ++i) {
    pairs.add(static_cast<T>(a(random)), static_cast<T>(b(random)));
  }
  for (int i = 0; i < 2000; ++i) {
    pairs.add(static_cast<T>(std::nearbyint(a(random))), static_cast<T>(std::nearbyint(b(random))));
  }
  pad(pairs.a);
  pad(pairs.b);
  return pairs;
}

template <class T, class Reference>
void check_binary(const char* name, const Pairs<T>& pairs, Reference reference, double bound) {
  for (const VecmathTable* table : tables()) {
    std::vector<T> got(pairs.a.size());
    function_named<T>(*table, name).apply(pairs.a.data(), pairs.b.data(), got.data(), got.size());
    Worst worst;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const long double expected = reference(pairs.a[i], pairs.b[i]);
      const double distance = ulp_distance(got[i], expected);
      if (distance > worst.distance) {
        worst = {distance, describe(pairs.a[i], got[i], expected) + ", second operand " +
                               std::to_string(pairs.b[i])};
      }
    }
    const std::string what = std::string(name) + (sizeof(T) == 4 ? " f32 " : " f64 ") +
                             std::to_string(table->vector_bits);
    EXPECT_LE(worst.distance, bound) << what << ": " << worst.where;
    if (std::getenv("OURJIT_SHOW_ULP") != nullptr) {
      std::printf("%-16s %.3f  %s\n", what.c_str(), worst.distance, worst.where.c_str());
    }
  }
}

TEST(Vecmath, PowIsWithinItsBound) {
  check_binary(
      "pow", binary_samples<float>(0, 50, -25, 25),
      [](float x, float y) { return std::pow(double(x), double(y)); }, 0.75);
  check_binary(
      "pow", binary_samples<double>(0, 50, -180, 180),
      [](double x, double y) { return std::pow((long double)x, (long double)y); }, 1.25);
  // Bases near 1 with large exponents are the hard case for the logarithm.
  check_binary(
      "pow", binary_samples<float>(0.999, 1.001, -80000, 80000),
      [](float x, float y) { return std::pow(double(x), double(y)); }, 0.75);
  check_binary(
      "pow", binary_samples<double>(0.999, 1.001, -7e5, 7e5),
      [](double x, double y) { return std::pow((long double)x, (long double)y); }, 1.25);
}

TEST(Vecmath, Atan2IsWithinItsBound) {
  check_binary(
      "atan2", binary_samples<float>(-5, 5, -5, 5),
      [](float y, float x) { return std::atan2(double(y), double(x)); }, 0.51);
  check_binary(
      "atan2", binary_samples<double>(-5, 5, -5, 5),
      [](double y, double x) { return std::atan2((long double)y, (long double)x); }, 3);
}

TEST(Vecmath, FmodIsExact) {
  const auto exact = [](auto x, auto y) -> long double { return std::fmod(x, y); };
  check_binary("fmod", binary_samples<float>(-1e6, 1e6, -3, 3), exact, 0);
  check_binary("fmod", binary_samples<double>(-1e6, 1e6, -3, 3), exact, 0);
  check_binary("fmod", binary_samples<float>(-1e9, 1e9, -1e-30, 1e-30), exact, 0);
  check_binary("fmod", binary_samples<double>(-1e15, 1e15, -3, 3), exact, 0);
}

TEST(Philox, KnownAnswers) {
  // kat_vectors of Random123, philox4x32 with 10 rounds
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(
      philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
      (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

const VecmathRandom& random_named(const VecmathTable& table, const std::string& name,
                                  bool is_double) {
  for (std::size_t i = 0; i < table.random_count; ++i) {
    if (table.randoms[i].name == name && table.randoms[i].is_double == is_double) {
      return table.randoms[i];
    }
  }
  throw std::out_of_range(name);
}

constexpr long kSeeds[] = {0, 1, -1, 0x123456789abcdef0};

/// Runs of neighbours that begin anywhere in a block, across 2^32 and with steps in them, and any
/// others.
std::vector<long> random_indices() {
  std::vector<long> indices;
  for (const long start : {0L, 1L, 2L, 3L, (1L << 32) - 512, (1L << 32) - 509})
    for (long i = 0; i < 1024; ++i) indices.push_back(start + i);
  for (long i = 0; i < 1024; ++i) indices.push_back(i + (i / 10) * 6);
  std::mt19937_64 random(3);
  for (long i = 0; i < 20000; ++i) indices.push_back(static_cast<long>(random()));
  pad(indices);
  return indices;
}

TEST(VecmathRandom, UniformEqualsTheScalarNumbers) {
  const std::vector<long> indices = random_indices();
  std::vector<float> floats(indices.size());
  std::vector<double> doubles(indices.size());
  for (const VecmathTable* table : tables()) {
    for (const long seed : kSeeds) {
      random_named(*table, "rand_uniform", false)
          .apply(seed, indices.data(), floats.data(), indices.size());
      random_named(*table, "rand_uniform", true)
          .apply(seed, indices.data(), doubles.data(), indices.size());
      for (std::size_t i = 0; i < indices.size(); ++i) {
        ASSERT_EQ(floats[i], philox_uniform_f32(seed, indices[i])) << indices[i];
        ASSERT_EQ(doubles[i], philox_uniform_f64(seed, indices[i])) << indices[i];
      }
    }
  }
}

TEST(VecmathRandom, NormalIsCloseToTheScalarNumbers) {
  const std::vector<long> indices = random_indices();
  std::vector<float> floats(indices.size());
  std::vector<double> doubles(indices.size());
  for (const VecmathTable* table : tables()) {
    for (const long seed : kSeeds) {
      random_named(*table, "rand_normal", false)
          .apply(seed, indices.data(), floats.data(), indices.size());
      random_named(*table, "rand_normal", true)
          .apply(seed, indices.data(), doubles.data(), indices.size());
      for (std::size_t i = 0; i < indices.size(); ++i) {
        // The cosine has zeros: the distance is relative to numbers of some size at least. The
        // scalar double rounds 2 pi u, up to 6.3, before its cosine.
        ASSERT_LE(ulp_distance(floats[i], philox_normal_f32(seed, indices[i]), 0.0625L), 4);
        ASSERT_LE(ulp_distance(doubles[i], philox_normal_f64(seed, indices[i]), 4), 8);
      }
    }
  }
}

TEST(VecmathRandom, MomentsAreThoseOfTheDistributions) {
  std::vector<long> indices(1 << 18);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    indices[i] = static_cast<long>(i);
  }
  std::vector<double> values(indices.size());
  const auto moments = [&] {
    double mean = 0;
    double square = 0;
    for (const double value : values) {
      mean += value / static_cast<double>(values.size());
      square += value * value / static_cast<double>(values.size());
    }
    return std::pair(mean, square - mean * mean);
  };
  for (const VecmathTable* table : tables()) {
    random_named(*table, "rand_uniform", true)
        .apply(7, indices.data(), values.data(), values.size());
    const auto [uniform_mean, uniform_variance] = moments();
    EXPECT_NEAR(uniform_mean, 0.5, 0.003);
    EXPECT_NEAR(uniform_variance, 1.0 / 12, 0.001);
    random_named(*table, "rand_normal", true)
        .apply(7, indices.data(), values.data(), values.size());
    const auto [normal_mean, normal_variance] = moments();
    EXPECT_NEAR(normal_mean, 0, 0.01);
    EXPECT_NEAR(normal_variance, 1, 0.02);
  }
}

TEST(CpuBitcode, HasAModuleForEachWidth) {
  for (const int bits : {128, 256, 512}) {
    EXPECT_EQ(cpu_bitcode(bits).substr(0, 2), "BC") << bits;
    EXPECT_EQ(cpu_bitcode(bits).size() % 4, 0u) << bits;
  }
  EXPECT_TRUE(cpu_bitcode(64).empty());
}

}  // namespace
}  // namespace ourjit::vecmath
