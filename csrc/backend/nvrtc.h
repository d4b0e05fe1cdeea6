// CUDA text to machine code through NVRTC, which needs neither a GPU nor a driver.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/cuda_api.h"
#include "backend/dynamic_library.h"

namespace ourjit {

/// Machine code of one translation unit.
struct GpuCode {
  std::string image;
  bool is_ptx = false;  // text for the driver to compile, else a cubin
};

/// What NVRTC of this major version is told beside the text, for an architecture as in "sm_90".
std::vector<std::string> nvrtc_options(const std::string& architecture, int major);

/// Thread-safe.
class Nvrtc {
 public:
  /// Opens `library`; empty looks for the ones that CUDA 13 and 12 install. Raises BackendError
  /// that says what to install.
  explicit Nvrtc(const std::string& library);

  /// A cubin for `architecture` ("sm_90"); PTX for the newest older one if NVRTC does not know it.
  /// `name` stands for the text in messages. On errors raises BackendError with NVRTC's log and the
  /// file under `folder` (empty: the temporary one) that `source` was saved in.
  GpuCode compile(const std::string& source, const std::string& architecture,
                  const std::string& name, const std::string& folder) const;
  /// PTX for `architecture`.
  std::string ptx(const std::string& source, const std::string& architecture,
                  const std::string& name, const std::string& folder) const;

  /// As in "13.0".
  std::string version() const;

 private:
  struct Outcome;
  Outcome try_compile(const std::string& source, const std::string& architecture,
                      const std::string& name) const;

  DynamicLibrary library_;
  cuda::NvrtcTable functions_;
  int major_ = 0, minor_ = 0;  // version
};

}  // namespace ourjit
