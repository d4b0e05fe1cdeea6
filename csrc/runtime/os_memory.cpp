#include "runtime/os_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace ourjit {

namespace {
constexpr size_t kPage = 4096;
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kHugeFrom = 4 << 20;

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

void* map(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return p;
}
}  // namespace

size_t page_rounded(size_t bytes) {
  return round_up(bytes, bytes >= kHugeFrom ? kHugePage : kPage);
}

void* map_pages(size_t bytes) {
  const size_t n = page_rounded(bytes);
  if (n < kHugeFrom) return map(n);
  // Map too much and cut both ends, so that the block starts on a huge page.
  char* p = static_cast<char*>(map(n + kHugePage));
  const uintptr_t start = reinterpret_cast<uintptr_t>(p);
  const size_t head = round_up(start, kHugePage) - start;
  if (head > 0) munmap(p, head);
  if (head < kHugePage) munmap(p + head + n, kHugePage - head);
  madvise(p + head, n, MADV_HUGEPAGE);
  return p + head;
}

void unmap_pages(void* p, size_t bytes) { munmap(p, page_rounded(bytes)); }

}  // namespace ourjit
