#include "backend/dynamic_library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace ourjit {

DynamicLibrary::DynamicLibrary(const std::string& path, const std::string& advice)
    : path_(path), advice_(advice), handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_) return;
  const char* reason = dlerror();
  OURJIT_RAISE(BackendError) << "cannot open " << path << ": " << (reason ? reason : "no reason")
                             << "\n"
                             << advice;
}

void* DynamicLibrary::find(const char* name) const { return dlsym(handle_, name); }

void* DynamicLibrary::require(const char* name) const {
  void* address = find(name);
  if (!address)
    OURJIT_RAISE(BackendError) << path_ << " has no function " << name << ", it may be too old\n"
                               << advice_;
  return address;
}

}  // namespace ourjit
