// CUDA text compiled for the host.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "machine.h"

namespace ourjit::emulator {

/// Compiles a translation unit with the host's compiler. Returns the shared library's bytes, empty
/// if that failed; `log` gets what the compiler said. Thread-safe; equal texts are compiled once.
std::string compile_unit(const std::string& text, std::string& log);

/// A loaded unit.
class Unit {
 public:
  /// Null if the bytes are no unit.
  static std::shared_ptr<Unit> load(const void* bytes);
  ~Unit();
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;

  struct Kernel {
    std::string name;
    KernelCode code = nullptr;
    size_t parameters = 0;
    size_t table_bytes = 0;  // of the first parameter, if it is a struct
    std::shared_ptr<Unit> unit;
  };
  /// Empty name if there is none called so.
  Kernel kernel(const std::string& name) const;
  oj_emulate_context** context() const { return context_; }

 private:
  Unit() = default;
  void* handle_ = nullptr;
  oj_emulate_context** context_ = nullptr;
};

}  // namespace ourjit::emulator
