#include "runtime/arena_pool.h"

#include <algorithm>

#include "runtime/os_memory.h"

namespace ourjit {

ArenaPool::~ArenaPool() { trim(); }

ArenaBlock ArenaPool::acquire(int64_t bytes, const void* preferred) {
  if (bytes <= 0) return {};
  const std::lock_guard lock(mutex_);
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->bytes < bytes) continue;
    if (it->data == preferred) {
      best = it;
      break;
    }
    if (best == free_.end() || it->bytes < best->bytes) best = it;
  }
  if (best != free_.end()) {
    const ArenaBlock block = *best;
    free_.erase(best);
    return block;
  }
  // Every free block is too small. Larger plans can use a larger block, so the small ones go.
  for (const ArenaBlock& b : free_) {
    unmap_pages(b.data, static_cast<size_t>(b.bytes));
    bytes_ -= b.bytes;
  }
  free_.clear();
  ArenaBlock block;
  block.data = static_cast<char*>(map_pages(static_cast<size_t>(bytes)));
  block.bytes = static_cast<int64_t>(page_rounded(static_cast<size_t>(bytes)));
  bytes_ += block.bytes;
  return block;
}

void ArenaPool::release(ArenaBlock block) {
  if (!block.data) return;
  const std::lock_guard lock(mutex_);
  free_.push_back(block);
}

int64_t ArenaPool::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

void ArenaPool::trim() {
  const std::lock_guard lock(mutex_);
  for (const ArenaBlock& b : free_) {
    unmap_pages(b.data, static_cast<size_t>(b.bytes));
    bytes_ -= b.bytes;
  }
  free_.clear();
}

}  // namespace ourjit
