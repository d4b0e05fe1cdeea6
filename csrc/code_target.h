// What the compiler does differently for each target: schedules, machine code, and its texts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/code_store.h"
#include "base/log.h"
#include "base/options.h"
#include "loop/loop_ir.h"
#include "lower/lower.h"
#include "passes/passes.h"
#include "runtime/plan.h"

namespace ourjit {

/// Thread-safe.
class CodeTarget {
 public:
  virtual ~CodeTarget() = default;
  /// What lowering may ask of the target.
  virtual LowerOptions lowering() const { return {}; }
  /// Independent rows that keep the target busy: see PassContext.
  virtual int64_t parallel_rows() const { return PassContext().parallel_rows; }
  /// Loop::Kernel::table_rows for a kernel that is launched over `rows` sets of arguments.
  virtual int table_rows(const loop::Kernel&, size_t /*rows*/) const { return 0; }
  virtual loop::Kernel schedule(loop::Kernel lowered) const = 0;
  /// Code of scheduled kernels, in their order, made on up to `threads` threads. Raises
  /// BackendError.
  virtual std::vector<std::shared_ptr<const KernelCode>> compile(
      const std::vector<const loop::Kernel*>& kernels, size_t threads) = 0;

  /// Where code is kept, if each kernel's is found by a key of its own; else null.
  virtual const CodeStore* codes() const { return nullptr; }
  /// What finds the code of a scheduled kernel there.
  virtual std::string code_key(const loop::Kernel&) const { return ""; }
  /// The code with this key; null if it is not there.
  virtual std::shared_ptr<const KernelCode> find(const std::string& /*code_key*/) {
    return nullptr;
  }

  /// Kernels that were compiled once more when they were launched.
  virtual int64_t variants() const { return 0; }
  /// Kernels, such ones among them, whose code was not compiled, but found in the store.
  virtual int64_t loaded() const = 0;

  /// The text that machine code is made of: LLVM IR or CUDA.
  virtual std::string source(const loop::Kernel& k) const = 0;
  /// The machine code as text: assembly or PTX.
  virtual std::string assembly(const loop::Kernel& k) const = 0;
  /// An ELF file: an object or a cubin.
  virtual std::string binary(const loop::Kernel& k) const = 0;
  /// Logs the texts of `k` that are wanted.
  virtual void log(const loop::Kernel& k, StageLog& log) const = 0;

  /// Where kernels run; null for the host, and where code is only emitted.
  virtual std::shared_ptr<Device> device() const { return nullptr; }
  /// torch's name of the device that tensors are on; empty for any.
  virtual std::string tensors_on() const { return "cpu"; }
};

/// False in builds without LLVM, which compile for GPUs only.
bool has_cpu_target();

/// The CPU that kernels are made for.
struct HostFacts {
  std::string name, features, llvm_version;
  int vector_bits;
};
/// Nothing in builds without LLVM.
std::optional<HostFacts> host_facts();

/// The host. Raises BackendError in builds without LLVM.
std::unique_ptr<CodeTarget> make_cpu_code(const Options& options, CodeStore store);

/// The target that the options name, which keeps code in `store` (null: nowhere). Raises
/// BackendError if a library or a device is missing.
std::unique_ptr<CodeTarget> make_code_target(const Options& options,
                                             std::shared_ptr<cache::Store> store);

}  // namespace ourjit
