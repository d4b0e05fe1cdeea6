// Random numbers by counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1,
// 2, 3", SC 2011). csrc/base/philox.h states the same numbers for scalars.
#pragma once

#include "logarithm.h"
#include "trigonometric.h"

namespace oj {

/// The four output words of a lane, each in the low half of an element whose high half is
/// arbitrary.
struct PhiloxWords {
  U64 word[4];
};

/// Philox4x32-10 of the counter (low half of index, high half of index, 0, 0) and the key (low and
/// high half of seed).
OJ_INLINE PhiloxWords philox(long seed, I64 index) {
  constexpr unsigned long low = 0xffffffff;
  U64 c0 = __builtin_bit_cast(U64, index);
  U64 c1 = c0 >> 32;
  U64 c2 = 0;
  U64 c3 = 0;
  unsigned key0 = static_cast<unsigned>(seed);
  unsigned key1 = static_cast<unsigned>(static_cast<unsigned long>(seed) >> 32);
#pragma clang loop unroll(full)
  for (int round = 0; round < 10; ++round) {
    U64 product0 = (c0 & low) * 0xD2511F53ul;
    U64 product1 = (c2 & low) * 0xCD9E8D57ul;
    c0 = (product1 >> 32) ^ c1 ^ static_cast<unsigned long>(key0);
    c2 = (product0 >> 32) ^ c3 ^ static_cast<unsigned long>(key1);
    c1 = product1;
    c3 = product0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// The top 24 bits of a word as a float in [0, 2^24).
OJ_INLINE F top24(U64 lo, U64 hi) {
  U32 words;
  words.lo = __builtin_convertvector(lo, HalfU32);
  words.hi = __builtin_convertvector(hi, HalfU32);
  return __builtin_convertvector(__builtin_bit_cast(I32, words >> 8), F);
}

/// The low 32 bits of each element, shifted right by `shift`, as a double.
OJ_INLINE D low_word(U64 word, int shift) {
  U64 value = (word & 0xfffffffful) >> static_cast<unsigned long>(shift);
  return from_bits<D>(value | bits(splat<D>(0x1p52))) - 0x1p52;
}

/// The top 53 bits of two words, the first the higher, as a double in [0, 2^53).
OJ_INLINE D top53(U64 first, U64 second) {
  return mul_add(low_word(first, 0), 0x1p21, low_word(second, 11));
}

/// Uniform in [0, 1).
OJ_INLINE F uniform(long seed, I64 index_lo, I64 index_hi) {
  return top24(philox(seed, index_lo).word[0], philox(seed, index_hi).word[0]) * 0x1p-24f;
}

OJ_INLINE D uniform(long seed, I64 index) {
  PhiloxWords words = philox(seed, index);
  return top53(words.word[0], words.word[1]) * 0x1p-53;
}

/// Normal by Box and Muller's method, from `first` in (0, 1] and `second` in [0, 1).
template <class V>
OJ_INLINE V box_muller(V first, V second) {
  return __builtin_elementwise_sqrt(positive_log(first) * -2) * cos_turns(second);
}

OJ_INLINE F normal(long seed, I64 index_lo, I64 index_hi) {
  PhiloxWords lo = philox(seed, index_lo);
  PhiloxWords hi = philox(seed, index_hi);
  F first = (top24(lo.word[0], hi.word[0]) + 1) * 0x1p-24f;
  return box_muller(first, top24(lo.word[1], hi.word[1]) * 0x1p-24f);
}

OJ_INLINE D normal(long seed, I64 index) {
  PhiloxWords words = philox(seed, index);
  D first = (top53(words.word[0], words.word[1]) + 1) * 0x1p-53;
  return box_muller(first, top53(words.word[2], words.word[3]) * 0x1p-53);
}

}  // namespace oj
