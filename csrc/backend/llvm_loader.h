// Object files to code that runs.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace ourjit {

/// The linked code of one object file; freed with the object.
class LoadedObject {
 public:
  virtual ~LoadedObject() = default;
  /// Address of the function that load_object was asked for.
  virtual void* entry() const = 0;
  /// Its length in bytes.
  virtual size_t entry_bytes() const = 0;
};

/// Places `object` in memory (code readable and executable, data readable, nothing both writable
/// and executable), resolves its few outside symbols from a fixed list, never from the process, and
/// finds `entry`. Thread-safe. Raises BackendError.
std::unique_ptr<LoadedObject> load_object(std::string_view object, const std::string& entry);

}  // namespace ourjit
