// The CPU as a target: in builds with LLVM.
#include <atomic>
#include <utility>

#include "backend/cpu_backend.h"
#include "base/parallel.h"
#include "code_target.h"
#include "schedule/schedule.h"

namespace ourjit {
namespace {

class CpuCode final : public CodeTarget {
 public:
  CpuCode(const Options& options, CodeStore store)
      : host_(detect_host(static_cast<int>(options.max_vector_bits))),
        backend_(make_cpu_backend(host_, std::move(store))) {}

  loop::Kernel schedule(loop::Kernel lowered) const override {
    return loop::schedule_cpu(std::move(lowered), host_.target);
  }

  std::vector<std::shared_ptr<const KernelCode>> compile(
      const std::vector<const loop::Kernel*>& kernels, size_t threads) override {
    std::vector<std::shared_ptr<const KernelCode>> codes(kernels.size());
    for_each_parallel(kernels.size(), threads,
                      [&](size_t i) { codes[i] = code(backend_->compile(*kernels[i])); });
    return codes;
  }

  const CodeStore* codes() const override { return &backend_->codes(); }
  std::string code_key(const loop::Kernel& k) const override { return backend_->code_key(k); }
  std::shared_ptr<const KernelCode> find(const std::string& code_key) override {
    const std::shared_ptr<LoadedKernel> stored = backend_->find(code_key);
    return stored ? code(stored) : nullptr;
  }

  int64_t loaded() const override { return loaded_; }

  std::string source(const loop::Kernel& k) const override { return backend_->optimized_llvm(k); }
  std::string assembly(const loop::Kernel& k) const override { return backend_->assembly(k); }
  std::string binary(const loop::Kernel& k) const override {
    return std::string(backend_->compile(k)->object());
  }

  void log(const loop::Kernel& k, StageLog& log) const override {
    if (log.wants("llvm")) log.write("llvm", k.name + ".ll", source(k));
    if (log.wants("asm")) log.write("asm", k.name + ".s", assembly(k));
  }

 private:
  std::shared_ptr<const KernelCode> code(const std::shared_ptr<LoadedKernel>& loaded) {
    loaded_ += loaded->was_stored();
    return std::make_shared<const KernelCode>(KernelCode{loaded->function(), nullptr, loaded});
  }

  const HostCpu host_;
  const std::unique_ptr<CpuBackend> backend_;
  std::atomic<int64_t> loaded_{0};
};

}  // namespace

bool has_cpu_target() { return true; }

std::optional<HostFacts> host_facts() {
  const HostCpu host = detect_host();
  return HostFacts{host.name, host.features, llvm_version(), host.target.vector_bits};
}

std::unique_ptr<CodeTarget> make_cpu_code(const Options& options, CodeStore store) {
  return std::make_unique<CpuCode>(options, std::move(store));
}

}  // namespace ourjit
