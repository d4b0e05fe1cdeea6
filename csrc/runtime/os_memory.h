// Pages from the operating system, with huge pages where they pay.
#pragma once

#include <cstddef>

namespace ourjit {

/// `bytes` rounded up to whole pages; from 4 MiB on to whole huge pages.
size_t page_rounded(size_t bytes);
/// Zeroed memory of page_rounded(bytes), from 4 MiB on aligned to 2 MiB and backed by huge pages
/// where the system allows. Throws std::bad_alloc.
void* map_pages(size_t bytes);
/// Gives back what map_pages(bytes) returned.
void unmap_pages(void* p, size_t bytes);

}  // namespace ourjit
