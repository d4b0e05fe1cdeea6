#include "base/log.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/error.h"

namespace ourjit {

StageLog::StageLog(const Options& options, std::string graph)
    : options_(options), graph_(std::move(graph)) {}

void log_line(std::string_view graph, std::string_view stage, std::string_view text) {
  std::string out = "[ourjit ";
  out.append(graph).append("] ").append(stage).append(": ").append(text) += '\n';
  std::fwrite(out.data(), 1, out.size(), stderr);
}

bool StageLog::wants(std::string_view stage) const {
  return !options_.dump.empty() || options_.logs(stage);
}

void StageLog::write(std::string_view stage, std::string_view name, std::string_view text) {
  if (options_.logs(stage)) {
    std::string out = "[ourjit " + graph_ + "] " + std::string(stage) + ": " + std::string(name) +
                      "\n" + std::string(text);
    if (out.back() != '\n') out += '\n';
    std::fwrite(out.data(), 1, out.size(), stderr);
  }
  if (options_.dump.empty()) return;
  const std::filesystem::path folder = std::filesystem::path(options_.dump) / graph_;
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  const std::string number = std::to_string(number_++);
  const auto file = folder / (std::string(3 - std::min<size_t>(3, number.size()), '0') + number +
                              "_" + std::string(name));
  std::ofstream out(file, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!out)
    OURJIT_RAISE(UserError) << "option 'dump': cannot write " << file.string()
                            << "; name a writable folder";
}

}  // namespace ourjit
