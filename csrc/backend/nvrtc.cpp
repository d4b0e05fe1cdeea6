#include "backend/nvrtc.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace ourjit {

namespace {

using namespace cuda;
namespace fs = std::filesystem;

constexpr const char* kAdvice =
    "NVRTC compiles kernels for NVIDIA GPUs: install it with `pip install nvidia-cuda-nvrtc` (CUDA "
    "13), or set OURJIT_NVRTC to the path of libnvrtc.so";

/// NVRTC finds its builtins only through the loader's paths, unless they are open already.
void open_builtins(const std::string& library) {
  const fs::path folder = fs::path(library).parent_path();
  std::error_code ignored;
  if (folder.empty()) return;
  for (const auto& file : fs::directory_iterator(folder, ignored)) {
    const std::string name = file.path().filename().string();
    if (name.starts_with("libnvrtc-builtins.so")) DynamicLibrary(file.path().string(), kAdvice);
  }
}

DynamicLibrary open_library(const std::string& given) {
  if (!given.empty()) {
    open_builtins(given);
    return {given, kAdvice};
  }
  try {
    return {"libnvrtc.so.13", kAdvice};
  } catch (const BackendError&) {
    return {"libnvrtc.so.12", kAdvice};
  }
}

/// Where `source` was saved, or why not, as a sentence.
std::string save(const std::string& source, const std::string& name, const std::string& folder) {
  static std::atomic<int> number{0};
  std::error_code failed;
  const fs::path where = folder.empty() ? fs::temp_directory_path(failed) : fs::path(folder);
  fs::create_directories(where, failed);
  const fs::path file = where / ("ourjit_" + name.substr(0, 64) + "_" + std::to_string(getpid()) +
                                 "_" + std::to_string(number++) + ".cu");
  std::ofstream out(file, std::ios::binary);
  out << source << std::flush;
  return out ? "the source is in " + file.string()
             : "the source could not be saved in " + where.string();
}

struct Program {
  const NvrtcTable& functions;
  nvrtcProgram handle = nullptr;
  ~Program() {
    if (handle) functions.nvrtcDestroyProgram(&handle);
  }
};

// Architectures with PTX of their own, newest first.
constexpr std::array kVirtual = {121, 120, 110, 103, 100, 90, 89, 87, 86, 80, 75};

}  // namespace

std::vector<std::string> nvrtc_options(const std::string& architecture, int major) {
  // Warnings would be about functions of the prelude that a unit does not use.
  std::vector<std::string> options = {"--std=c++17", "-default-device", "-minimal", "-w",
                                      "-arch=" + architecture};
  // Leaves out what NVRTC spends a third of its time on: finding loops to unroll, addresses to
  // share and divisors that are numbers. The text says all of that itself.
  if (major >= 13) options.push_back("--Ofast-compile=min");
  return options;
}

struct Nvrtc::Outcome {
  nvrtcResult result = NVRTC_SUCCESS;
  std::string image, log;
};

Nvrtc::Nvrtc(const std::string& library) : library_(open_library(library)) {
#define X(name, result, parameters) library_.resolve(#name, functions_.name);
  OURJIT_NVRTC_FUNCTIONS(X)
#undef X
  functions_.nvrtcVersion(&major_, &minor_);
}

std::string Nvrtc::version() const { return std::to_string(major_) + "." + std::to_string(minor_); }

Nvrtc::Outcome Nvrtc::try_compile(const std::string& source, const std::string& architecture,
                                  const std::string& name) const {
  const NvrtcTable& f = functions_;
  Outcome out;
  Program program{f};
  out.result =
      f.nvrtcCreateProgram(&program.handle, source.c_str(), name.c_str(), 0, nullptr, nullptr);
  if (out.result != NVRTC_SUCCESS) return out;
  const std::vector<std::string> options = nvrtc_options(architecture, major_);
  std::vector<const char*> words;
  for (const std::string& o : options) words.push_back(o.c_str());
  out.result = f.nvrtcCompileProgram(program.handle, static_cast<int>(words.size()), words.data());
  const auto fetch = [&](auto size_of, auto get, std::string& to) {
    size_t bytes = 0;
    nvrtcResult r = size_of(program.handle, &bytes);
    to.resize(bytes);
    if (r == NVRTC_SUCCESS && bytes) r = get(program.handle, to.data());
    return r;
  };
  if (out.result != NVRTC_SUCCESS) {
    fetch(f.nvrtcGetProgramLogSize, f.nvrtcGetProgramLog, out.log);
    while (!out.log.empty() && (out.log.back() == '\0' || out.log.back() == '\n'))
      out.log.pop_back();
    return out;
  }
  out.result = architecture.starts_with("compute_")
                   ? fetch(f.nvrtcGetPTXSize, f.nvrtcGetPTX, out.image)
                   : fetch(f.nvrtcGetCUBINSize, f.nvrtcGetCUBIN, out.image);
  return out;
}

namespace {

template <class Outcome>
[[noreturn]] void raise(const NvrtcTable& f, const Outcome& o, const std::string& architecture,
                        const std::string& name, const std::string& saved) {
  OURJIT_RAISE(BackendError) << "NVRTC failed on " << name << " for " << architecture << ": "
                             << f.nvrtcGetErrorString(o.result) << "\n"
                             << o.log << (o.log.empty() ? "" : "\n") << saved;
}

}  // namespace

GpuCode Nvrtc::compile(const std::string& source, const std::string& architecture,
                       const std::string& name, const std::string& folder) const {
  Outcome first = try_compile(source, architecture, name);
  if (first.result == NVRTC_SUCCESS) return {std::move(first.image), false};
  const int number = std::atoi(architecture.substr(architecture.find('_') + 1).c_str());
  if (first.result == NVRTC_ERROR_INVALID_OPTION)
    for (const int older : kVirtual) {
      if (older > number) continue;
      Outcome o = try_compile(source, "compute_" + std::to_string(older), name);
      if (o.result == NVRTC_SUCCESS) return {std::move(o.image), true};
      if (o.result != NVRTC_ERROR_INVALID_OPTION) break;
    }
  raise(functions_, first, architecture, name, save(source, name, folder));
}

std::string Nvrtc::ptx(const std::string& source, const std::string& architecture,
                       const std::string& name, const std::string& folder) const {
  const std::string arch = "compute_" + architecture.substr(architecture.find('_') + 1);
  Outcome o = try_compile(source, arch, name);
  if (o.result != NVRTC_SUCCESS) raise(functions_, o, arch, name, save(source, name, folder));
  while (!o.image.empty() && o.image.back() == '\0') o.image.pop_back();
  return std::move(o.image);
}

}  // namespace ourjit
