// What a text test can run: a command turns IR text into text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loop/target.h"

namespace ourjit::text_tests {

/// A test's command line is `name`, or `name` and arguments behind a blank.
struct Command {
  std::string_view name;
  /// Null where this build lacks what the command needs.
  std::string (*run)(std::string_view args, std::string_view body);
};

// One table for each IR; add rows there.
std::vector<Command> graph_commands();   // commands_graph.cpp
std::vector<Command> kernel_commands();  // commands_kernel.cpp
std::vector<Command> llvm_commands();    // commands_llvm.cpp

/// The CPU that `args` names by the width of its vectors in bits, 512 if empty.
loop::Target cpu_target(std::string_view args);  // commands_kernel.cpp

/// Interprets a kernel; `args` gives its sizes, as "s0=3". Buffers hold small numbers at
/// first; answers the status and what the buffers that are not inputs hold then.
std::string loop_run(std::string_view args, std::string_view body);  // commands_run.cpp

/// Interprets a kernel as it is and scheduled for small and large GPUs: "same" for each, or the
/// schedule that gave something else.
std::string schedule_compare(std::string_view args, std::string_view body);  // commands_run.cpp

/// Runs a command line; errors that ourjit raises become text; nothing if this build cannot run it.
/// Raises UserError for an unknown command.
std::optional<std::string> run_command(std::string_view line, std::string_view body);

}  // namespace ourjit::text_tests
