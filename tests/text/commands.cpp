#include "commands.h"

#include "base/error.h"

namespace ourjit::text_tests {
namespace {

std::string guarded(const Command& c, std::string_view args, std::string_view body) {
  const auto error = [](const char* kind, const Error& e) {
    return std::string("error: ") + kind + ": " + e.what() + "\n";
  };
  try {
    return c.run(args, body);
  } catch (const UserError& e) {
    return error("UserError", e);
  } catch (const Unsupported& e) {
    return error("Unsupported", e);
  } catch (const BackendError& e) {
    return error("BackendError", e);
  } catch (const InternalError& e) {
    return error("InternalError", e);
  }
}

}  // namespace

std::optional<std::string> run_command(std::string_view line, std::string_view body) {
  std::vector<Command> all = graph_commands();
  for (const auto& table : {kernel_commands(), llvm_commands()})
    all.insert(all.end(), table.begin(), table.end());
  const Command* best = nullptr;
  for (const Command& c : all) {
    const bool fits = line == c.name || (line.starts_with(c.name) && line[c.name.size()] == ' ');
    if (fits && (!best || c.name.size() > best->name.size())) best = &c;
  }
  if (!best) {
    std::string names;
    for (const Command& c : all) names += (names.empty() ? "" : ", ") + std::string(c.name);
    OURJIT_RAISE(UserError) << "unknown command '" << line << "'; there are: " << names;
  }
  if (!best->run) return std::nullopt;
  std::string_view args = line.substr(best->name.size());
  while (args.starts_with(' ')) args.remove_prefix(1);
  return guarded(*best, args, body);
}

}  // namespace ourjit::text_tests
