// Philox 4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3" (SC 2011), and the random numbers that kernels make of it, one element at a time.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace ourjit {

/// The four output words for a counter and a key.
inline std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter,
                                             std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * counter[0], p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// Block `block` of the stream `seed`. Elements share blocks: each takes the next words that it
/// needs, so that neighbours cost one block together.
inline std::array<uint32_t, 4> philox_block(int64_t seed, uint64_t block) {
  const auto s = static_cast<uint64_t>(seed);
  return philox4x32_10({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0},
                       {static_cast<uint32_t>(s), static_cast<uint32_t>(s >> 32)});
}

/// Words 2 * index and 2 * index + 1 of the stream.
inline std::array<uint32_t, 2> philox_pair(int64_t seed, int64_t index) {
  const auto i = static_cast<uint64_t>(index);
  const auto w = philox_block(seed, i >> 1);
  return {w[2 * (i & 1)], w[2 * (i & 1) + 1]};
}

/// 53 bits of two words.
inline double philox_bits53(uint32_t high, uint32_t low) {
  return static_cast<double>(((uint64_t{high} << 32) | low) >> 11);
}

/// In [0, 1): the top 24 bits of word `index`.
inline float philox_uniform_f32(int64_t seed, int64_t index) {
  const auto i = static_cast<uint64_t>(index);
  return static_cast<float>(philox_block(seed, i >> 2)[i & 3] >> 8) * 0x1p-24f;
}

/// In [0, 1): 53 bits of a pair, its first word the higher.
inline double philox_uniform_f64(int64_t seed, int64_t index) {
  const auto w = philox_pair(seed, index);
  return philox_bits53(w[0], w[1]) * 0x1p-53;
}

/// Box-Muller: sqrt(-2 log(u1)) cos(2 pi u2) with u1 in (0, 1], u2 in [0, 1).
inline double box_muller(double u1, double u2) {
  return std::sqrt(-2 * std::log(u1)) * std::cos(6.28318530717958647693 * u2);
}

/// Standard normal from a pair.
inline float philox_normal_f32(int64_t seed, int64_t index) {
  const auto w = philox_pair(seed, index);
  return static_cast<float>(box_muller(((w[0] >> 8) + 1) * 0x1p-24, (w[1] >> 8) * 0x1p-24));
}

/// Standard normal from block `index`.
inline double philox_normal_f64(int64_t seed, int64_t index) {
  const auto w = philox_block(seed, static_cast<uint64_t>(index));
  return box_muller((philox_bits53(w[0], w[1]) + 1) * 0x1p-53, philox_bits53(w[2], w[3]) * 0x1p-53);
}

}  // namespace ourjit
