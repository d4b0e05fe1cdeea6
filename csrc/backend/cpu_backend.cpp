#include "backend/cpu_backend.h"

#include <llvm/Config/llvm-config.h>
#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/IR/DiagnosticPrinter.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/Support/raw_ostream.h>

#include <chrono>
#include <set>
#include <string_view>
#include <utility>

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

/// "model.py:41, model.py:42": where the kernel's operators come from.
std::string python_lines(const loop::Kernel& k) {
  constexpr std::string_view kMark = "  # ";
  std::string text;
  std::set<std::string_view> seen;
  for (const std::string_view line : k.provenance) {
    const size_t mark = line.rfind(kMark);
    if (mark == line.npos) continue;
    const std::string_view place = line.substr(mark + kMark.size());
    if (seen.insert(place).second) text.append(text.empty() ? "" : ", ").append(place);
  }
  return text;
}

class LoadedKernelImpl : public LoadedKernel {
 public:
  LoadedKernelImpl(std::string object, const std::string& symbol, bool was_stored)
      : object_(std::move(object)), code_(load_object(object_, symbol)), was_stored_(was_stored) {}
  KernelFunction function() const override {
    return reinterpret_cast<KernelFunction>(code_->entry());
  }
  size_t function_bytes() const override { return code_->entry_bytes(); }
  std::string_view object() const override { return object_; }
  bool was_stored() const override { return was_stored_; }

 private:
  std::string object_;
  std::unique_ptr<LoadedObject> code_;
  bool was_stored_;
};

class CpuBackendImpl : public CpuBackend {
 public:
  CpuBackendImpl(const HostCpu& host, CodeStore store)
      : target_(host.target), machines_(host.name, host.features), codes_(std::move(store)) {
    initialize_llvm();
    for (cache::Component c : {cache::Component{"compiler", "LLVM " LLVM_VERSION_STRING},
                               {"cpu", host.name},
                               {"cpu features", host.features},
                               {"vector bits", std::to_string(host.target.vector_bits)}})
      codes_.common.push_back(std::move(c));
  }

  std::shared_ptr<LoadedKernel> compile(const loop::Kernel& k) override {
    const std::string own_key = codes_.store ? code_key(k) : "";
    if (std::shared_ptr<LoadedKernel> stored = find(own_key)) return stored;
    const auto start = std::chrono::steady_clock::now();
    const auto bytes = generate(k, llvm::CodeGenFileType::ObjectFile);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    std::string object(bytes.data(), bytes.size());
    auto loaded = std::make_shared<LoadedKernelImpl>(object, k.name, false);
    codes_.keep(codes_.key({{"kernel", own_key}}),
                {{"name", k.name},
                 {"lines", python_lines(k)},
                 {"compile ms", std::to_string(took.count())}},
                std::move(object));
    return loaded;
  }

  const CodeStore& codes() const override { return codes_; }
  std::string code_key(const loop::Kernel& k) const override { return loop::canonical_text(k); }

  std::shared_ptr<LoadedKernel> find(const std::string& code_key) const override {
    std::optional<cache::Entry> entry = codes_.find(codes_.key({{"kernel", code_key}}));
    if (!entry) return nullptr;
    try {
      return std::make_shared<LoadedKernelImpl>(std::move(entry->payload), note(*entry, "name"),
                                                true);
    } catch (const BackendError&) {
      return nullptr;  // it is compiled, and replaced
    }
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
  CodeStore codes_;
};

}  // namespace

std::unique_ptr<CpuBackend> make_cpu_backend(const HostCpu& host, CodeStore store) {
  return std::make_unique<CpuBackendImpl>(host, std::move(store));
}

}  // namespace ourjit
