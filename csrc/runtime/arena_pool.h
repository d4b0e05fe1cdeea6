// Memory for temporaries that persists between calls and is shared by all plans of a compiler.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace ourjit {

/// A block of pages that one running call owns.
struct ArenaBlock {
  char* data = nullptr;
  int64_t bytes = 0;
};

/// Thread-safe. Running calls hold blocks; between calls all blocks are free.
class ArenaPool {
 public:
  ArenaPool() = default;
  ~ArenaPool();
  ArenaPool(const ArenaPool&) = delete;
  ArenaPool& operator=(const ArenaPool&) = delete;

  /// A block of at least `bytes`: the one that starts at `preferred` if it is free and large
  /// enough, else the smallest free one that suffices. If none does, a new one takes the place of
  /// the free ones.
  ArenaBlock acquire(int64_t bytes, const void* preferred);
  void release(ArenaBlock block);

  /// Bytes of all blocks, free or not.
  int64_t bytes() const;
  /// Gives free blocks back to the system.
  void trim();

 private:
  mutable std::mutex mutex_;
  std::vector<ArenaBlock> free_;
  int64_t bytes_ = 0;
};

/// A block held for the time of a call.
class ArenaLease {
 public:
  ArenaLease(ArenaPool& pool, int64_t bytes, const void* preferred)
      : pool_(pool), block_(pool.acquire(bytes, preferred)) {}
  ~ArenaLease() { pool_.release(block_); }
  ArenaLease(const ArenaLease&) = delete;
  ArenaLease& operator=(const ArenaLease&) = delete;
  char* data() const { return block_.data; }

 private:
  ArenaPool& pool_;
  ArenaBlock block_;
};

}  // namespace ourjit
