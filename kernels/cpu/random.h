// Random numbers by counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1,
// 2, 3", SC 2011). csrc/base/philox.h states the same numbers for scalars.
#pragma once

#include <utility>

#include "logarithm.h"
#include "trigonometric.h"

namespace oj {

/// The four output words of each block, each in the low half of an element whose high half is
/// arbitrary.
template <class V>
struct PhiloxWords {
  V word[4];
};

/// Philox4x32-10 of the counters (low half of block, high half of block, 0, 0) and the key (low and
/// high half of seed). V is a vector of 64-bit unsigned integers.
template <class V>
OJ_INLINE PhiloxWords<V> philox(long seed, V block) {
  constexpr unsigned long low = 0xffffffff;
  V c0 = block;
  V c1 = c0 >> 32;
  V c2 = c0 - c0;
  V c3 = c2;
  unsigned key0 = static_cast<unsigned>(seed);
  unsigned key1 = static_cast<unsigned>(static_cast<unsigned long>(seed) >> 32);
#pragma clang loop unroll(full)
  for (int round = 0; round < 10; ++round) {
    V product0 = (c0 & low) * 0xD2511F53ul;
    V product1 = (c2 & low) * 0xCD9E8D57ul;
    c0 = (product1 >> 32) ^ c1 ^ static_cast<unsigned long>(key0);
    c2 = (product0 >> 32) ^ c3 ^ static_cast<unsigned long>(key1);
    c1 = product1;
    c3 = product0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

constexpr int kQuarter = kDoubleLanes / 2;
using QuarterU64 = unsigned long __attribute__((ext_vector_type(kQuarter)));

/// first, first + 1, ...
template <class V, int Lanes>
OJ_INLINE V count_from(unsigned long first) {
  V steps;
#pragma clang loop unroll(full)
  for (int lane = 0; lane < Lanes; ++lane) steps[lane] = static_cast<unsigned long>(lane);
  return steps + first;
}

OJ_INLINE U64 as_u64(I64 v) { return __builtin_bit_cast(U64, v); }

/// True if the elements are neighbours in order and the first is a multiple of `step`, so that
/// groups of `step` share a block.
OJ_INLINE bool in_blocks(U64 index, unsigned long step) {
  U64 differs = index ^ count_from<U64, kDoubleLanes>(index[0]);
  return (__builtin_reduce_or(differs) | (index[0] & (step - 1))) == 0;
}
OJ_INLINE bool in_blocks(U64 lo, U64 hi, unsigned long step) {
  U64 differs = (lo ^ count_from<U64, kDoubleLanes>(lo[0])) |
                (hi ^ count_from<U64, kDoubleLanes>(lo[0] + kDoubleLanes));
  return (__builtin_reduce_or(differs) | (lo[0] & (step - 1))) == 0;
}

/// yes where the bit of index is set, else no.
template <class V>
OJ_INLINE V choose(V index, unsigned long bit, V yes, V no) {
  return __builtin_bit_cast(V, (index & bit) != 0 ? yes : no);
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

/// Word `index` of the stream.
template <class V>
OJ_INLINE V own_word(long seed, V index) {
  PhiloxWords<V> b = philox(seed, index >> 2);
  return choose(index, 2, choose(index, 1, b.word[3], b.word[2]),
                choose(index, 1, b.word[1], b.word[0]));
}

/// Words 2 * index and 2 * index + 1 of the stream.
template <class V>
struct Pair {
  V first, second;
};
template <class V>
OJ_INLINE Pair<V> own_pair(long seed, V index) {
  PhiloxWords<V> b = philox(seed, index >> 1);
  return {choose(index, 1, b.word[2], b.word[0]), choose(index, 1, b.word[3], b.word[1])};
}

/// a[0], b[0], a[1], b[1], ...
template <class Out, class V, int... lane>
OJ_INLINE Out interleave(V a, V b, std::integer_sequence<int, lane...>) {
  constexpr int lanes = sizeof(V) / sizeof(long);
  return __builtin_shufflevector(a, b, (lane % 2 * lanes + lane / 2)...);
}
template <class Out, class V>
OJ_INLINE Out interleave(V a, V b) {
  constexpr int lanes = sizeof(V) / sizeof(long);
  return interleave<Out>(a, b, std::make_integer_sequence<int, 2 * lanes>());
}

/// Elements of the low halves of a and b in turn.
template <class V>
OJ_INLINE V both_low(V a, V b) {
  return (a & 0xfffffffful) | (b << 32);
}

/// The words of neighbours, from the blocks that they share.
OJ_INLINE U32 deal_words(PhiloxWords<QuarterU64> b) {
  return __builtin_bit_cast(
      U32, interleave<U64>(both_low(b.word[0], b.word[1]), both_low(b.word[2], b.word[3])));
}
OJ_INLINE Pair<U64> deal_pairs(PhiloxWords<QuarterU64> b) {
  return {interleave<U64>(b.word[0], b.word[2]), interleave<U64>(b.word[1], b.word[3])};
}

/// The top 24 bits of a word as a float in [0, 2^24).
OJ_INLINE F top24(U32 words) {
  return __builtin_convertvector(__builtin_bit_cast(I32, words >> 8), F);
}

// Elements that are no neighbours need a block each; that code stands apart and takes one register
// of indices at a time, so that what is inlined and what is compiled stays small.
constexpr int kRegisterLanes = OURJIT_VECTOR_BITS / 64,
              kIndexRegisters = kFloatLanes / kRegisterLanes;
using RegisterU64 = unsigned long __attribute__((ext_vector_type(kRegisterLanes)));
using RegisterU32 = unsigned __attribute__((ext_vector_type(kRegisterLanes)));
struct Indices {
  RegisterU64 of[kIndexRegisters];
};
struct Words {
  RegisterU32 of[kIndexRegisters];
};
struct Halves64 {
  U64 lo, hi;
};
struct WordPairs {
  U32 first, second;
};
OJ_NOINLINE inline U32 own_words(long seed, U64 lo, U64 hi) {
  Indices index = __builtin_bit_cast(Indices, Halves64{lo, hi});
  Words words;
#pragma clang loop unroll(disable)
  for (int i = 0; i < kIndexRegisters; ++i)
    words.of[i] = __builtin_convertvector(own_word(seed, index.of[i]), RegisterU32);
  return __builtin_bit_cast(U32, words);
}
OJ_NOINLINE inline WordPairs own_pairs(long seed, U64 lo, U64 hi) {
  Indices index = __builtin_bit_cast(Indices, Halves64{lo, hi});
  Words first, second;
#pragma clang loop unroll(disable)
  for (int i = 0; i < kIndexRegisters; ++i) {
    Pair<RegisterU64> pair = own_pair(seed, index.of[i]);
    first.of[i] = __builtin_convertvector(pair.first, RegisterU32);
    second.of[i] = __builtin_convertvector(pair.second, RegisterU32);
  }
  return {__builtin_bit_cast(U32, first), __builtin_bit_cast(U32, second)};
}

/// Uniform in [0, 1).
OJ_INLINE F uniform(long seed, I64 index_lo, I64 index_hi) {
  U64 lo = as_u64(index_lo), hi = as_u64(index_hi);
  U32 words;
  if (in_blocks(lo, hi, 4))
    words = deal_words(philox(seed, count_from<QuarterU64, kQuarter>(lo[0] >> 2)));
  else
    words = own_words(seed, lo, hi);
  return top24(words) * 0x1p-24f;
}

OJ_INLINE D uniform(long seed, I64 index) {
  U64 at = as_u64(index);
  Pair<U64> words = in_blocks(at, 2)
                        ? deal_pairs(philox(seed, count_from<QuarterU64, kQuarter>(at[0] >> 1)))
                        : own_pair(seed, at);
  return top53(words.first, words.second) * 0x1p-53;
}

/// Normal by Box and Muller's method, from `first` in (0, 1] and `second` in [0, 1).
template <class V>
OJ_INLINE V box_muller(V first, V second) {
  return __builtin_elementwise_sqrt(positive_log(first) * -2) * cos_turns(second);
}

OJ_INLINE F normal(long seed, I64 index_lo, I64 index_hi) {
  U64 lo = as_u64(index_lo), hi = as_u64(index_hi);
  U32 first, second;
  if (in_blocks(lo, hi, 2)) {
    PhiloxWords<U64> b = philox(seed, count_from<U64, kDoubleLanes>(lo[0] >> 1));
    first = __builtin_bit_cast(U32, both_low(b.word[0], b.word[2]));
    second = __builtin_bit_cast(U32, both_low(b.word[1], b.word[3]));
  } else {
    WordPairs own = own_pairs(seed, lo, hi);
    first = own.first;
    second = own.second;
  }
  return box_muller((top24(first) + 1) * 0x1p-24f, top24(second) * 0x1p-24f);
}

OJ_INLINE D normal(long seed, I64 index) {
  PhiloxWords<U64> words = philox(seed, as_u64(index));
  D first = (top53(words.word[0], words.word[1]) + 1) * 0x1p-53;
  return box_muller(first, top53(words.word[2], words.word[3]) * 0x1p-53);
}

}  // namespace oj
