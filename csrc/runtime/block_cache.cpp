#include "runtime/block_cache.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>
#include <vector>

#include "runtime/os_memory.h"

namespace ourjit {

namespace {

constexpr size_t kAlign = 64;
constexpr size_t kMapFrom = 1 << 20;       // smaller blocks come from malloc
constexpr size_t kAlwaysKeep = 32 << 20;   // waiting bytes that are never trimmed
constexpr uint64_t kWindow = 1 << 14;      // allocations after which an old peak counts no more
constexpr size_t kMost = size_t{1} << 48;  // more is a mistake, and no class has it

/// Up to 1 KiB multiples of 64; above, eight steps for each power of two.
struct SizeClass {
  size_t index, bytes;
};

SizeClass size_class(size_t bytes) {
  bytes = std::max(bytes, kAlign);
  if (bytes <= 1024) {
    const size_t i = (bytes + kAlign - 1) / kAlign;
    return {i - 1, i * kAlign};
  }
  const int power = std::bit_width(bytes - 1) - 1;  // 2^power < bytes <= 2^(power+1)
  const size_t step = size_t{1} << (power - 3);
  const size_t eighth = (bytes - (size_t{1} << power) + step - 1) / step;  // 1 .. 8
  return {16 + static_cast<size_t>(power - 10) * 8 + eighth - 1,
          (size_t{1} << power) + eighth * step};
}

void* system_allocate(size_t bytes) {
  if (bytes >= kMapFrom) return map_pages(bytes);
  void* p = std::aligned_alloc(kAlign, bytes);
  if (!p) throw std::bad_alloc();
  return p;
}

void system_free(BlockCache::Block* b) {
  if (b->bytes >= kMapFrom)
    unmap_pages(b->data, b->bytes);
  else
    std::free(b->data);
  delete b;
}

}  // namespace

BlockCache::~BlockCache() { trim(); }

BlockCache::Block* BlockCache::allocate(size_t bytes) {
  if (bytes > kMost) throw std::bad_alloc();
  const SizeClass c = size_class(bytes);
  const std::lock_guard lock(mutex_);
  // A block up to two classes larger will do for memory that is worth reusing.
  const size_t slack = c.bytes >= kMapFrom ? 2 : 0;
  for (size_t i = c.index; i <= c.index + slack && i < kClasses; ++i)
    if (Block* b = waiting_[i]) {
      waiting_[i] = b->next;
      usage_.waiting -= b->bytes;
      usage_.in_use += b->bytes;
      note_in_use();
      return b;
    }
  usage_.in_use += c.bytes;
  note_in_use();
  if (usage_.waiting > waiting_limit()) trim_to(waiting_limit());
  auto* b = new Block{nullptr, c.bytes, nullptr, 0};
  try {
    b->data = system_allocate(c.bytes);
  } catch (...) {
    trim_to(0);
    try {
      b->data = system_allocate(c.bytes);
    } catch (...) {
      usage_.in_use -= c.bytes;
      delete b;
      throw;
    }
  }
  ++usage_.fresh;
  return b;
}

void BlockCache::free(Block* b) {
  const std::lock_guard lock(mutex_);
  usage_.in_use -= b->bytes;
  usage_.waiting += b->bytes;
  b->freed_at = ++clock_;
  Block*& list = waiting_[size_class(b->bytes).index];
  b->next = list;
  list = b;
  if (usage_.waiting > waiting_limit()) trim_to(waiting_limit() * 3 / 4);
}

/// What waits and what is in use together stay within an eighth above the recent peak of use.
size_t BlockCache::waiting_limit() const {
  const size_t peak = std::max(peak_, last_peak_);
  const size_t total = peak + peak / 8;
  return std::max(kAlwaysKeep, total > usage_.in_use ? total - usage_.in_use : 0);
}

void BlockCache::note_in_use() {
  if (++allocations_ % kWindow == 0) {
    last_peak_ = peak_;
    peak_ = 0;
  }
  peak_ = std::max(peak_, usage_.in_use);
}

/// Frees the blocks that wait longest until at most `waiting` bytes wait.
void BlockCache::trim_to(size_t waiting) {
  std::vector<Block*> all;
  for (Block*& list : waiting_) {
    for (Block* b = list; b; b = b->next) all.push_back(b);
    list = nullptr;
  }
  std::sort(all.begin(), all.end(), [](Block* a, Block* b) { return a->freed_at < b->freed_at; });
  for (Block* b : all) {
    if (usage_.waiting > waiting) {
      usage_.waiting -= b->bytes;
      system_free(b);
    } else {
      Block*& list = waiting_[size_class(b->bytes).index];
      b->next = list;
      list = b;
    }
  }
}

BlockCache::Usage BlockCache::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

void BlockCache::trim() {
  const std::lock_guard lock(mutex_);
  trim_to(0);
}

}  // namespace ourjit
