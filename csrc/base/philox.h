// Random numbers by counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). These are
// the numbers that generated kernels draw: kernels/cpu/random.h is the same for vectors.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace ourjit {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

/// Philox4x32 with ten rounds.
inline PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// The four words of element `index` of the stream `seed`.
inline PhiloxCounter philox_words(std::int64_t seed, std::int64_t index) {
  const auto key = static_cast<std::uint64_t>(seed);
  const auto at = static_cast<std::uint64_t>(index);
  return philox4x32_10({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at >> 32), 0, 0},
                       {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
}

/// 53 bits of two words, in [0, 2^53).
inline double philox_top53(std::uint32_t first, std::uint32_t second) {
  return static_cast<double>(first >> 5) * 0x1p26 + static_cast<double>(second >> 6);
}

/// Uniform in [0, 1) with 24 bits.
inline float rand_uniform_f32(std::int64_t seed, std::int64_t index) {
  return static_cast<float>(philox_words(seed, index)[0] >> 8) * 0x1p-24f;
}

/// Uniform in [0, 1) with 53 bits.
inline double rand_uniform_f64(std::int64_t seed, std::int64_t index) {
  const PhiloxCounter words = philox_words(seed, index);
  return philox_top53(words[0], words[1]) * 0x1p-53;
}

/// Standard normal by Box and Muller's method; equal to the kernels' up to a few units in the last place.
inline float rand_normal_f32(std::int64_t seed, std::int64_t index) {
  const PhiloxCounter words = philox_words(seed, index);
  const double first = (static_cast<double>(words[0] >> 8) + 1) * 0x1p-24;
  const double second = static_cast<double>(words[1] >> 8) * 0x1p-24;
  return static_cast<float>(std::sqrt(-2 * std::log(first)) *
                            std::cos(2 * std::numbers::pi * second));
}

/// Standard normal by Box and Muller's method; equal to the kernels' up to a few units in the last place.
inline double rand_normal_f64(std::int64_t seed, std::int64_t index) {
  const PhiloxCounter words = philox_words(seed, index);
  const double first = (philox_top53(words[0], words[1]) + 1) * 0x1p-53;
  const double second = philox_top53(words[2], words[3]) * 0x1p-53;
  return std::sqrt(-2 * std::log(first)) * std::cos(2 * std::numbers::pi * second);
}

}  // namespace ourjit
