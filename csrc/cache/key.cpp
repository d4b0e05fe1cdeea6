#include "cache/key.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>

#include "cache/hash.h"

namespace ourjit::cache {

Key canonical(Key key) {
  std::sort(key.begin(), key.end());
  return key;
}

std::string digest(const Key& key) {
  // Lengths before the texts: no two keys are the same bytes.
  std::string bytes;
  const auto add = [&](const std::string& text) {
    const uint64_t size = text.size();
    bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
    bytes += text;
  };
  for (const Component& c : canonical(key)) {
    add(c.name);
    add(c.value);
  }
  return hash128(bytes);
}

bool is_digest(const std::string& text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::vector<std::string> differences(const Key& a, const Key& b) {
  std::map<std::string, std::multiset<std::string>> in_a, in_b;
  for (const Component& c : a) in_a[c.name].insert(c.value);
  for (const Component& c : b) in_b[c.name].insert(c.value);
  std::set<std::string> names;
  for (const auto& [name, values] : in_a)
    if (in_b[name] != values) names.insert(name);
  for (const auto& [name, values] : in_b)
    if (in_a[name] != values) names.insert(name);
  return {names.begin(), names.end()};
}

}  // namespace ourjit::cache
