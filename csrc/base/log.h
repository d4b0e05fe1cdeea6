// Where the text of each stage goes: standard error (option log) and numbered files (option dump).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/options.h"

namespace ourjit {

/// The record of one compilation. Not thread-safe; one belongs to one call of the compiler.
class StageLog {
 public:
  /// `graph` names the compilation, as in "3_backward"; it becomes a folder under options.dump.
  StageLog(const Options& options, std::string graph);

  /// True if text of `stage` goes anywhere, so that it is worth making.
  bool wants(std::string_view stage) const;
  /// Records `text` of a stage under a name, as in ("passes", "cse.graph"). An unwritable dump
  /// folder raises UserError.
  void write(std::string_view stage, std::string_view name, std::string_view text);

 private:
  const Options& options_;
  std::string graph_;
  int64_t number_ = 0;
};

/// Writes one line of a stage to standard error.
void log_line(std::string_view graph, std::string_view stage, std::string_view text);

}  // namespace ourjit
