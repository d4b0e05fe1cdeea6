#include "unit.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <regex>

namespace ourjit::emulator {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string compiler() {
  if (const char* given = std::getenv("OURJIT_EMULATOR_CXX")) return given;
  for (const char* name : {"clang++-19", "clang++", "g++", "c++"})
    if (std::system(("command -v " + std::string(name) + " >/dev/null 2>&1").c_str()) == 0)
      return name;
  return "";
}

/// Declares the number of parameters of each kernel to the loader as "oj_parameters_<name>", and
/// with "oj_table_<name>" how large the first one is if it is a table (kernels/cuda/index.cuh).
std::string parameter_counts(const std::string& text) {
  std::string out;
  static const std::regex head(R"(__global__[^(]*\([^)]*\)\s*(\w+)\(([^)]*)\))");
  for (auto it = std::sregex_iterator(text.begin(), text.end(), head); it != std::sregex_iterator();
       ++it) {
    const std::string list = (*it)[2];
    const bool none = list.find_first_not_of(" \n") == std::string::npos;
    static const std::regex table_type(R"(__grid_constant__ (oj_table<.*>))");
    std::smatch type;
    const bool table = std::regex_search(list, type, table_type);
    // The table's type has a comma of its own.
    const auto commas = std::count(list.begin(), list.end(), ',') - (table ? 1 : 0);
    const std::string head =
        "extern \"C\" __attribute__((visibility(\"default\"))) const unsigned ";
    out += head + "oj_parameters_" + (*it)[1].str() + " = " +
           std::to_string(none ? 0 : commas + 1) + ";\n" + head + "oj_table_" + (*it)[1].str() +
           " = " + (table ? "sizeof(" + type[1].str() + ")" : "0") + ";\n";
  }
  return out;
}

std::string compile(const std::string& text, std::string& log) {
  static const std::string cxx = compiler();
  if (cxx.empty()) {
    log = "no host compiler (clang++-19, clang++, g++, c++) is on PATH";
    return "";
  }
  std::string folder = (fs::temp_directory_path() / "ourjit-emulator-XXXXXX").string();
  if (!mkdtemp(folder.data())) {
    log = "cannot make a temporary directory: " + std::string(std::strerror(errno));
    return "";
  }
  const fs::path dir = folder;
  std::ofstream(dir / "unit.cpp") << text << "\n" << parameter_counts(text);
  const std::string command = cxx + " -std=c++17 -O1 -fno-fast-math -ffp-contract=off -w -shared " +
                              "-fPIC -fvisibility=hidden -DOJ_EMULATE -include '" +
                              OURJIT_EMULATOR_DEVICE_H + "' '" + (dir / "unit.cpp").string() +
                              "' -o '" + (dir / "unit.so").string() + "' >'" +
                              (dir / "log").string() + "' 2>&1";
  const int rc = std::system(command.c_str());
  log = read_file(dir / "log");
  std::string bytes = rc == 0 ? read_file(dir / "unit.so") : "";
  std::error_code ignored;
  fs::remove_all(dir, ignored);
  return bytes;
}

}  // namespace

std::string compile_unit(const std::string& text, std::string& log) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;
  {
    const std::lock_guard lock(mutex);
    if (const auto it = known.find(text); it != known.end()) return it->second;
  }
  std::string bytes = compile(text, log);
  const std::lock_guard lock(mutex);
  if (!bytes.empty()) known[text] = bytes;
  return bytes;
}

std::shared_ptr<Unit> Unit::load(const void* bytes) {
  // The size is not handed over; it follows from the ELF header: the section table stands last.
  const auto* p = static_cast<const unsigned char*>(bytes);
  if (std::memcmp(p, "\177ELF", 4) != 0) return nullptr;
  uint64_t table = 0;
  uint16_t entry = 0, entries = 0;
  std::memcpy(&table, p + 40, 8);
  std::memcpy(&entry, p + 58, 2);
  std::memcpy(&entries, p + 60, 2);
  const size_t size = table + size_t{entry} * entries;
  // A name of its own: the loader would take a second file of one name for the first.
  std::string path = (fs::temp_directory_path() / "ourjit-unit-XXXXXX").string();
  const int fd = mkstemp(path.data());
  if (fd < 0) return nullptr;
  const bool written = write(fd, bytes, size) == static_cast<ssize_t>(size);
  close(fd);
  std::shared_ptr<Unit> unit(new Unit);
  if (written) unit->handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  unlink(path.c_str());
  if (!unit->handle_) return nullptr;
  unit->context_ = static_cast<oj_emulate_context**>(dlsym(unit->handle_, "oj_emulate"));
  return unit->context_ ? unit : nullptr;
}

Unit::~Unit() {
  if (handle_) dlclose(handle_);
}

Unit::Kernel Unit::kernel(const std::string& name) const {
  void* code = dlsym(handle_, name.c_str());
  const void* count = dlsym(handle_, ("oj_parameters_" + name).c_str());
  const void* table = dlsym(handle_, ("oj_table_" + name).c_str());
  if (!code || !count || !table) return {};
  return {name, reinterpret_cast<KernelCode>(code), *static_cast<const unsigned*>(count),
          *static_cast<const unsigned*>(table), nullptr};
}

}  // namespace ourjit::emulator
