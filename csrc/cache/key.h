// Keys of cache entries: named, readable components.
#pragma once

#include <string>
#include <vector>

namespace ourjit::cache {

/// A named part of a key, or of what is noted beside it.
struct Component {
  std::string name;
  std::string value;
  bool operator==(const Component&) const = default;
  auto operator<=>(const Component&) const = default;
};

/// All that an entry's payload depends on. The order of the components has no meaning.
using Key = std::vector<Component>;

/// The components sorted by name: two keys are the same if their canonical forms are equal.
Key canonical(Key key);

/// 32 hexadecimal digits: XXH3-128 of the canonical form. Keys of equal digests may differ: who
/// looks one up compares the keys too.
std::string digest(const Key& key);
/// True for what digest() can return.
bool is_digest(const std::string& text);

/// Names, sorted, of the components that differ or that only one of the two keys has.
std::vector<std::string> differences(const Key& a, const Key& b);

}  // namespace ourjit::cache
