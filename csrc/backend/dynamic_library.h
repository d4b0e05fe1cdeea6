// Libraries that are opened at run time.
#pragma once

#include <string>

namespace ourjit {

/// An open library. It is never closed: the CUDA libraries do not survive that.
class DynamicLibrary {
 public:
  /// `path` is a file or a name that the loader looks up. Raises BackendError with the loader's
  /// message and `advice`, which says what to install.
  DynamicLibrary(const std::string& path, const std::string& advice);

  /// The address of `name`, null if there is none.
  void* find(const char* name) const;
  /// Sets `function` to `name`. Raises BackendError if there is none.
  template <class F>
  void resolve(const char* name, F*& function) const {
    function = reinterpret_cast<F*>(require(name));
  }
  const std::string& path() const { return path_; }

 private:
  void* require(const char* name) const;

  std::string path_, advice_;
  void* handle_;
};

}  // namespace ourjit
