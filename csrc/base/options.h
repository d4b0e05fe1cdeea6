// Options of one compiler: read once, immutable afterwards.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace ourjit {

struct Options {
#define X(name, type, default_value, environment, affects_code, help) type name = default_value;
#include "ourjit/options.def"
#undef X

  /// True if stage `name` is in `log` (or `log` is "all").
  bool logs(std::string_view stage) const;
};

using OptionValue = std::variant<bool, int64_t, std::string>;

/// One row of options.def.
struct OptionInfo {
  std::string name, type, environment, help;
  OptionValue default_value;
  bool affects_code;
};

const std::vector<OptionInfo>& option_table();

/// Defaults, then the environment, then `given`. Raises UserError naming the option for a bad value
/// or an unknown name.
Options make_options(const std::map<std::string, OptionValue>& given);

}  // namespace ourjit
