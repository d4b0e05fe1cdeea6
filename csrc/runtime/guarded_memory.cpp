#include "runtime/guarded_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <utility>

namespace ourjit {

void* GuardedCopies::add(void* original, size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t room = (bytes + page - 1) / page * page;
  const size_t mapped = room + 2 * page;
  void* p = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  char* pages = static_cast<char*>(p);
  char* copy = pages + page + (end_ == GuardedEnd::End ? room - bytes : 0);
  copies_.push_back({static_cast<char*>(original), copy, pages, bytes, mapped});
  if (bytes == 0) return copy;
  if (mprotect(pages + page, room, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  std::memcpy(copy, original, bytes);
  return copy;
}

void GuardedCopies::finish() {
  // Against what was there: a copy that is only read must not undo what another one writes.
  std::vector<std::pair<char*, char>> changes;
  for (const Copy& c : copies_)
    for (size_t i = 0; i < c.bytes; ++i)
      if (c.copy[i] != c.original[i]) changes.emplace_back(c.original + i, c.copy[i]);
  for (const auto& [place, value] : changes) *place = value;
}

GuardedCopies::~GuardedCopies() {
  for (const Copy& c : copies_) munmap(c.pages, c.mapped);
}

}  // namespace ourjit
