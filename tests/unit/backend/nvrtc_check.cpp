#include "backend/nvrtc_check.h"

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/error.h"

namespace ourjit::testing {

namespace fs = std::filesystem;

std::string nvrtc_path() {
  if (const char* given = std::getenv("OURJIT_NVRTC")) return given;
  std::error_code ignored;
  const fs::path root = fs::path(OURJIT_SOURCE_DIR) / ".venv" / "lib";
  for (const auto& python : fs::directory_iterator(root, ignored)) {
    const fs::path folder = python.path() / "site-packages" / "nvidia" / "cu13" / "lib";
    for (const auto& file : fs::directory_iterator(folder, ignored))
      if (file.path().filename().string().starts_with("libnvrtc.so.")) return file.path().string();
  }
  return "";
}

const Nvrtc* find_nvrtc() {
  static const std::unique_ptr<const Nvrtc> nvrtc = []() -> std::unique_ptr<const Nvrtc> {
    try {
      return std::make_unique<const Nvrtc>(nvrtc_path());
    } catch (const BackendError&) {
      return nullptr;
    }
  }();
  return nvrtc.get();
}

}  // namespace ourjit::testing
