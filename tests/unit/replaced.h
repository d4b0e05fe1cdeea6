// Text with parts of it put in.
#pragma once

#include <string>
#include <string_view>

namespace ourjit::testing {

/// `text` with every occurrence of `from` replaced.
inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace ourjit::testing
