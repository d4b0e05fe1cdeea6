// The arena pool and the caching allocator.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "runtime/arena_pool.h"
#include "runtime/block_cache.h"
#include "runtime/os_memory.h"

namespace ourjit {
namespace {

TEST(OsMemory, BigBlocksStartOnHugePages) {
  const size_t bytes = (5 << 20) + 1;
  auto* p = static_cast<char*>(map_pages(bytes));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % (2 << 20), 0u);
  EXPECT_EQ(page_rounded(bytes), 6u << 20);
  p[0] = p[page_rounded(bytes) - 1] = 1;
  unmap_pages(p, bytes);
  EXPECT_EQ(page_rounded(1), 4096u);
}

TEST(ArenaPool, AReleasedBlockIsUsedAgainAndThePreferredOneFirst) {
  ArenaPool pool;
  const ArenaBlock a = pool.acquire(10000, nullptr);
  const ArenaBlock b = pool.acquire(20000, nullptr);
  EXPECT_NE(a.data, b.data);
  pool.release(a);
  pool.release(b);
  const ArenaBlock smallest = pool.acquire(5000, nullptr);
  EXPECT_EQ(smallest.data, a.data);
  pool.release(smallest);
  const ArenaBlock preferred = pool.acquire(5000, b.data);
  EXPECT_EQ(preferred.data, b.data);
  pool.release(preferred);
}

TEST(ArenaPool, ALargerBlockReplacesFreeOnes) {
  ArenaPool pool;
  pool.release(pool.acquire(1 << 16, nullptr));
  const ArenaBlock held = pool.acquire(1 << 12, nullptr);  // takes the block of 64 KiB
  const ArenaBlock large = pool.acquire(1 << 18, nullptr);
  EXPECT_EQ(pool.bytes(), (1 << 16) + (1 << 18));
  pool.release(held);
  pool.release(large);
  pool.release(pool.acquire(1 << 20, nullptr));
  EXPECT_EQ(pool.bytes(), 1 << 20);
  pool.trim();
  EXPECT_EQ(pool.bytes(), 0);
}

TEST(ArenaPool, NothingIsTakenForNoBytes) {
  ArenaPool pool;
  const ArenaBlock none = pool.acquire(0, nullptr);
  EXPECT_EQ(none.data, nullptr);
  pool.release(none);
  EXPECT_EQ(pool.bytes(), 0);
}

TEST(BlockCache, BlocksOfEverySizeAreAlignedLargeEnoughAndComeBack) {
  BlockCache cache;
  for (size_t bytes : {1ul, 64ul, 65ul, 1024ul, 1025ul, 1152ul, 1153ul, 4096ul, 100000ul,
                       (1ul << 20) - 1, (1ul << 20) + 1, 5000000ul}) {
    BlockCache::Block* b = cache.allocate(bytes);
    EXPECT_GE(b->bytes, bytes);
    EXPECT_LE(b->bytes, std::max<size_t>(64 + bytes, bytes + bytes / 8));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b->data) % 64, 0u);
    std::memset(b->data, 1, b->bytes);
    void* data = b->data;
    cache.free(b);
    BlockCache::Block* again = cache.allocate(bytes);
    EXPECT_EQ(again->data, data) << bytes << " bytes were not reused";
    cache.free(again);
  }
}

TEST(BlockCache, ANegativeSizeIsNoBlock) {
  BlockCache cache;
  EXPECT_THROW(cache.allocate(static_cast<size_t>(-4)), std::bad_alloc);
  EXPECT_EQ(cache.usage().in_use, 0u);
}

TEST(BlockCache, ARepeatedPatternTakesNothingFreshAfterTheFirstRound) {
  BlockCache cache;
  const auto round = [&] {
    std::vector<BlockCache::Block*> held;
    for (size_t i = 1; i <= 40; ++i) held.push_back(cache.allocate(i * 300000));
    for (BlockCache::Block* b : held) cache.free(b);
  };
  round();
  const uint64_t fresh = cache.usage().fresh;
  for (int i = 0; i < 20; ++i) round();
  EXPECT_EQ(cache.usage().fresh, fresh);
}

TEST(BlockCache, WhatWaitsIsBoundedByThePeakOfUse) {
  BlockCache cache;
  // Sizes drift, so that nothing is reused; 8 MB are in use at a time.
  for (size_t i = 0; i < 200; ++i) cache.free(cache.allocate((8 << 20) + (i << 21)));
  const BlockCache::Usage u = cache.usage();
  EXPECT_EQ(u.in_use, 0u);
  EXPECT_LE(u.waiting, size_t{600} << 20);
  cache.trim();
  EXPECT_EQ(cache.usage().waiting, 0u);
}

TEST(BlockCache, ThreadsShareIt) {
  BlockCache cache;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&cache, t] {
      std::mt19937 random(t);
      std::vector<BlockCache::Block*> held;
      for (int i = 0; i < 5000; ++i) {
        if (held.size() > 20 || (!held.empty() && random() % 2)) {
          const size_t k = random() % held.size();
          EXPECT_EQ(*static_cast<unsigned char*>(held[k]->data), static_cast<unsigned char>(t + 1));
          cache.free(held[k]);
          held.erase(held.begin() + static_cast<long>(k));
        } else {
          held.push_back(cache.allocate(1 + random() % 20000));
          *static_cast<unsigned char*>(held.back()->data) = static_cast<unsigned char>(t + 1);
        }
      }
      for (BlockCache::Block* b : held) cache.free(b);
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(cache.usage().in_use, 0u);
}

}  // namespace
}  // namespace ourjit
