// A caching allocator for memory that leaves a call: outputs and saved activations.
//
// A freed block waits in a list of its size class for the next request of about that size, because
// fresh pages cost more than the kernel that fills them. What waits is bounded by what was lately
// in use.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

namespace ourjit {

class BlockCache {
 public:
  struct Block {
    void* data;
    size_t bytes;  // of the size class
    Block* next;
    uint64_t freed_at;
  };

  BlockCache() = default;
  /// Frees what waits; blocks in use stay valid but may not be freed afterwards.
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  /// At least `bytes` > 0, aligned to 64 bytes, contents undefined. Throws std::bad_alloc.
  Block* allocate(size_t bytes);
  void free(Block* block);

  struct Usage {
    size_t in_use = 0, waiting = 0;
    uint64_t fresh = 0;  // blocks taken from the system so far
  };
  Usage usage() const;
  /// Gives all waiting blocks back to the system.
  void trim();

  /// Holds the lock across fork(), so that the child finds the lists whole.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  static constexpr size_t kClasses = 512;
  void trim_to(size_t waiting);
  size_t waiting_limit() const;
  void note_in_use();

  mutable std::mutex mutex_;
  std::array<Block*, kClasses> waiting_{};
  Usage usage_;
  uint64_t clock_ = 0, allocations_ = 0;
  // The most in use during this window of events and the one before.
  size_t peak_ = 0, last_peak_ = 0;
};

}  // namespace ourjit
