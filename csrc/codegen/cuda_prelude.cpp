#include "codegen/cuda_prelude.h"

#include <cctype>
#include <map>
#include <set>
#include <vector>

namespace ourjit {
namespace {

/// The names of the prelude in `text`, "oj_..." and "OJ_...", each once.
std::set<std::string_view> names_in(std::string_view text) {
  const auto in_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  };
  std::set<std::string_view> names;
  for (size_t i = 0; i < text.size();) {
    if (!in_word(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && in_word(text[end])) ++end;
    const std::string_view word = text.substr(i, end - i);
    // The emulator's own functions are declared elsewhere.
    if ((word.starts_with("oj_") || word.starts_with("OJ_")) && !word.starts_with("oj_emulate"))
      names.insert(word);
    i = end;
  }
  return names;
}

struct Part {
  std::string_view text;
  std::set<size_t> needs;  // other parts
};

struct Parts {
  std::vector<Part> parts;                     // the first one is always needed
  std::map<std::string_view, size_t> home_of;  // the part where a name appears first
};

Parts split(std::string_view prelude) {
  Parts p;
  for (size_t begin = 0; begin < prelude.size();) {
    const size_t next = prelude.find("\n// --- ", begin);
    const size_t end = next == std::string_view::npos ? prelude.size() : next + 1;
    p.parts.push_back({prelude.substr(begin, end - begin), {}});
    begin = end;
  }
  for (size_t i = 0; i < p.parts.size(); ++i)
    for (const std::string_view name : names_in(p.parts[i].text))
      p.parts[i].needs.insert(p.home_of.emplace(name, i).first->second);
  return p;
}

}  // namespace

std::string cuda_prelude_for(std::string_view text) {
  static const Parts all = split(cuda_prelude());
  std::set<size_t> needed{0};
  std::vector<size_t> found;
  for (const std::string_view name : names_in(text))
    if (const auto it = all.home_of.find(name); it != all.home_of.end())
      found.push_back(it->second);
  while (!found.empty()) {
    const size_t part = found.back();
    found.pop_back();
    if (needed.insert(part).second)
      found.insert(found.end(), all.parts[part].needs.begin(), all.parts[part].needs.end());
  }
  std::string out;
  for (const size_t part : needed) out += all.parts[part].text;
  return out;
}

}  // namespace ourjit
