// Copies of memory between pages that may not be touched, for tests: the process dies at the first
// access outside.
#pragma once

#include <cstddef>
#include <vector>

namespace ourjit {

/// Which of a copy's ends lies at a forbidden page, to the byte.
enum class GuardedEnd { Begin, End };

/// Copies of blocks of memory, which may overlap.
class GuardedCopies {
 public:
  explicit GuardedCopies(GuardedEnd end) : end_(end) {}
  ~GuardedCopies();
  GuardedCopies(const GuardedCopies&) = delete;
  GuardedCopies& operator=(const GuardedCopies&) = delete;

  /// The copy of `bytes` at `original`. Throws std::bad_alloc.
  void* add(void* original, size_t bytes);
  /// Changes in the originals what was changed in the copies.
  void finish();

 private:
  struct Copy {
    char *original, *copy, *pages;
    size_t bytes, mapped;
  };

  const GuardedEnd end_;
  std::vector<Copy> copies_;
};

}  // namespace ourjit
