// LLVM's X86 target, set up once, and machines to generate code with.
#pragma once

#include <llvm/Target/TargetMachine.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace ourjit {

/// Registers the X86 target; later calls do nothing.
void initialize_llvm();

/// Target machines of one CPU. They are costly to make and serve one thread at a time.
class TargetMachinePool {
 public:
  TargetMachinePool(std::string cpu, std::string features);

  /// A machine on loan; it goes back when the handle dies.
  class Lease {
   public:
    Lease(TargetMachinePool& pool, std::unique_ptr<llvm::TargetMachine> machine)
        : pool_(pool), machine_(std::move(machine)) {}
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    llvm::TargetMachine& operator*() const { return *machine_; }
    llvm::TargetMachine* operator->() const { return machine_.get(); }

   private:
    TargetMachinePool& pool_;
    std::unique_ptr<llvm::TargetMachine> machine_;
  };
  /// Raises BackendError if LLVM does not know the target.
  Lease lease();

  const std::string& cpu() const { return cpu_; }
  const std::string& features() const { return features_; }

 private:
  std::string cpu_, features_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<llvm::TargetMachine>> idle_;
};

}  // namespace ourjit
