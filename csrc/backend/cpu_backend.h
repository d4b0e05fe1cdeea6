// Machine code for the host CPU through LLVM ORC. No LLVM type appears here.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/code_store.h"
#include "codegen/kernel_abi.h"
#include "loop/loop_ir.h"
#include "loop/target.h"

namespace ourjit {

/// The host as schedules see it, and its name and features for reports.
struct HostCpu {
  loop::Target target;
  std::string name;
  std::string features;
};

/// As in "19.1.7".
std::string llvm_version();

/// Detects once; `max_vector_bits` (0: no limit) narrows vectors.
HostCpu detect_host(int max_vector_bits = 0);

/// Code of one kernel, ready to run. The code lives as long as the object.
class LoadedKernel {
 public:
  virtual ~LoadedKernel() = default;
  virtual KernelFunction function() const = 0;
  /// The object file (ELF).
  virtual std::string_view object() const = 0;
  /// True if it was not compiled now, but found in the store.
  virtual bool was_stored() const = 0;
};

class CpuBackend {
 public:
  virtual ~CpuBackend() = default;
  /// Compiles a scheduled kernel, or finds its code in the store, and loads it. Thread-safe: may be
  /// called from many threads at once. Raises BackendError.
  virtual std::shared_ptr<LoadedKernel> compile(const loop::Kernel& k) = 0;
  virtual const CodeStore& codes() const = 0;
  /// What finds the code of a kernel in the store: its text.
  virtual std::string code_key(const loop::Kernel& k) const = 0;
  /// The code of the kernel with this key; null if the store has none, or none that can be loaded.
  virtual std::shared_ptr<LoadedKernel> find(const std::string& code_key) const = 0;
  /// LLVM IR after optimization, as text (for emit and dumps).
  virtual std::string optimized_llvm(const loop::Kernel& k) = 0;
  /// Host assembly of the kernel (for emit and dumps).
  virtual std::string assembly(const loop::Kernel& k) = 0;
};

std::unique_ptr<CpuBackend> make_cpu_backend(const HostCpu& host, CodeStore store = {});

}  // namespace ourjit
