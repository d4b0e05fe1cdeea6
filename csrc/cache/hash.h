// XXH3, the hash of the cache: fast, and stable between its releases. It protects against accidents
// alone; against others, that only the user can write to the cache.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ourjit::cache {

uint64_t hash64(std::string_view bytes, uint64_t seed = 0);
/// 32 hexadecimal digits.
std::string hash128(std::string_view bytes);

}  // namespace ourjit::cache
