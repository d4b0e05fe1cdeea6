#include "adapter/profiling.h"

#include <unordered_map>

namespace ourjit {

void ProfilerRecord::begin(const std::string& name, const std::vector<std::string>& lines) {
  record_.emplace(at::RecordScope::FUNCTION);
  if (!record_->isActive()) return;
  std::unordered_map<std::string, c10::IValue> arguments;
  if (record_->needsInputs() && !lines.empty()) {
    std::string text;
    for (const std::string& line : lines) text += (text.empty() ? "" : "; ") + line;
    arguments.emplace("python", std::move(text));
  }
  const std::string shown = "ourjit::" + name;
  record_->before(shown, &arguments);
}

}  // namespace ourjit
