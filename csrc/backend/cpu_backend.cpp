#include "backend/cpu_backend.h"

#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/IR/DiagnosticPrinter.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/Support/raw_ostream.h>

#include "backend/llvm_compile.h"
#include "backend/llvm_fatal.h"
#include "backend/llvm_host.h"
#include "backend/llvm_loader.h"
#include "base/error.h"
#include "codegen/llvm_module.h"
#include "loop/text.h"

namespace ourjit {

namespace {

/// A context whose errors, which LLVM would otherwise print before it ends the process, are
/// collected.
class CheckedContext {
 public:
  CheckedContext() { context_.setDiagnosticHandlerCallBack(&handle, &errors_); }
  llvm::LLVMContext& operator*() { return context_; }
  /// Raises BackendError if there was an error.
  void check() const {
    if (!errors_.empty()) throw BackendError(errors_);
  }

 private:
  static void handle(const llvm::DiagnosticInfo* info, void* errors) {
    if (info->getSeverity() != llvm::DS_Error) return;
    llvm::raw_string_ostream out(*static_cast<std::string*>(errors));
    llvm::DiagnosticPrinterRawOStream printer(out);
    info->print(printer);
  }

  llvm::LLVMContext context_;
  std::string errors_;
};

class LoadedKernelImpl : public LoadedKernel {
 public:
  LoadedKernelImpl(llvm::SmallVector<char, 0> object, const std::string& name)
      : object_(std::move(object)), code_(load_object({object_.data(), object_.size()}, name)) {}
  KernelFunction function() const override {
    return reinterpret_cast<KernelFunction>(code_->entry());
  }
  size_t function_bytes() const override { return code_->entry_bytes(); }
  std::string_view object() const override { return {object_.data(), object_.size()}; }

 private:
  llvm::SmallVector<char, 0> object_;
  std::unique_ptr<LoadedObject> code_;
};

class CpuBackendImpl : public CpuBackend {
 public:
  explicit CpuBackendImpl(const HostCpu& host)
      : target_(host.target), machines_(host.name, host.features) {
    initialize_llvm();
  }

  std::shared_ptr<LoadedKernel> compile(const loop::Kernel& k) override {
    return std::make_shared<LoadedKernelImpl>(generate(k, llvm::CodeGenFileType::ObjectFile),
                                              k.name);
  }

  std::string optimized_llvm(const loop::Kernel& k) override {
    std::string text;
    checked(k, [&](llvm::LLVMContext& context, llvm::TargetMachine& machine) {
      llvm::raw_string_ostream out(text);
      build(k, context, machine)->print(out, nullptr);
    });
    return text;
  }

  std::string assembly(const loop::Kernel& k) override {
    const auto text = generate(k, llvm::CodeGenFileType::AssemblyFile);
    return {text.data(), text.size()};
  }

 private:
  /// Does `work` such that each way in which LLVM may fail is a BackendError that shows the kernel.
  /// What a fatal error leaves behind, the machine on loan too, is never used again.
  template <class Work>
  void checked(const loop::Kernel& k, const Work& work) {
    try {
      run_apart([&] {
        CheckedContext context;
        const auto machine = machines_.lease();
        work(*context, *machine);
        context.check();
      });
    } catch (const BackendError& e) {
      OURJIT_RAISE(BackendError) << "LLVM failed on @" << k.name << ": " << e.what()
                                 << "\nthe kernel:\n"
                                 << loop::print(k, /*with_provenance=*/true);
    }
  }

  std::unique_ptr<llvm::Module> build(const loop::Kernel& k, llvm::LLVMContext& context,
                                      llvm::TargetMachine& machine) {
    auto module = build_llvm_module(k, target_, context);
    optimize_module(*module, machine, target_.vector_bits);
    return module;
  }

  llvm::SmallVector<char, 0> generate(const loop::Kernel& k, llvm::CodeGenFileType type) {
    llvm::SmallVector<char, 0> bytes;
    checked(k, [&](llvm::LLVMContext& context, llvm::TargetMachine& machine) {
      bytes = generate_code(*build(k, context, machine), machine, type);
    });
    return bytes;
  }

  loop::Target target_;
  TargetMachinePool machines_;
};

}  // namespace

std::unique_ptr<CpuBackend> make_cpu_backend(const HostCpu& host) {
  return std::make_unique<CpuBackendImpl>(host);
}

}  // namespace ourjit
