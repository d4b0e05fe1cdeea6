#include "code_target.h"

#include <bit>
#include <utility>

#include "backend/gpu_backend.h"
#include "base/error.h"
#include "codegen/cuda_emitter.h"
#include "codegen/cuda_table.h"
#include "schedule/schedule.h"

namespace ourjit {
namespace {

constexpr int64_t kKeptRow = 16384, kSumColumns = 4096;  // in registers of a block

class GpuCode final : public CodeTarget {
 public:
  GpuCode(const GpuConfig& config, CodeStore store, std::string tensors_on, bool deterministic)
      : backend_(make_gpu_backend(config, std::move(store))),
        tensors_on_(std::move(tensors_on)),
        deterministic_(deterministic) {}

  LowerOptions lowering() const override {
    return {backend_->target().shared_bytes, !deterministic_, kKeptRow, kSumColumns,
            /*epilogues=*/true};
  }
  /// Two blocks for each multiprocessor.
  int64_t parallel_rows() const override {
    return static_cast<int64_t>(
        std::bit_floor(2 * static_cast<uint64_t>(backend_->target().multiprocessors)));
  }

  int table_rows(const loop::Kernel& k, size_t rows) const override {
    return cuda_table_rows(k, rows, backend_->target().parameter_bytes);
  }

  loop::Kernel schedule(loop::Kernel lowered) const override {
    return loop::schedule_gpu(std::move(lowered), backend_->target());
  }

  std::vector<std::shared_ptr<const KernelCode>> compile(
      const std::vector<const loop::Kernel*>& kernels, size_t threads) override {
    std::vector<std::shared_ptr<const KernelCode>> codes;
    if (!backend_->device()) {
      codes.assign(kernels.size(), std::make_shared<const KernelCode>());
      return codes;
    }
    for (const std::shared_ptr<DeviceKernel>& k :
         backend_->compile(kernels, static_cast<int>(threads)))
      codes.push_back(std::make_shared<const KernelCode>(KernelCode{nullptr, k.get(), k}));
    return codes;
  }

  std::string source(const loop::Kernel& k) const override { return backend_->source(k); }
  std::string assembly(const loop::Kernel& k) const override {
    return backend_->compile_ptx(backend_->source(k));
  }
  std::string binary(const loop::Kernel& k) const override {
    return backend_->compile_cubin(backend_->source(k));
  }

  void log(const loop::Kernel& k, StageLog& log) const override {
    if (log.wants("cuda")) log.write("cuda", k.name + ".cu", emit_cuda_kernel(k));
  }

  int64_t variants() const override { return backend_->variants(); }
  int64_t loaded() const override { return backend_->loaded(); }
  std::shared_ptr<Device> device() const override { return backend_->device(); }
  std::string tensors_on() const override { return tensors_on_; }

 private:
  const std::shared_ptr<GpuBackend> backend_;
  const std::string tensors_on_;
  const bool deterministic_;
};

}  // namespace

std::unique_ptr<CodeTarget> make_code_target(const Options& options,
                                             std::shared_ptr<cache::Store> store) {
  const std::string& target = options.target;
  CodeStore code{std::move(store), key_of_options(options)};
  if (target == "cpu") return make_cpu_code(options, std::move(code));
  GpuConfig config;
  config.nvrtc = options.nvrtc;
  config.save_folder = options.dump;
  if (target.starts_with("sm_")) {
    config.architecture = target;
    return std::make_unique<GpuCode>(config, std::move(code), "", options.deterministic);
  }
  if (target == "emulate") {
    if (options.emulator.empty())
      OURJIT_RAISE(UserError)
          << "target 'emulate' is for a checkout of ourjit: build it with `./dev build`, or set "
             "OURJIT_EMULATOR to the path of libourjit_emulator.so";
    config.nvrtc = config.driver = options.emulator;
    config.emulated = true;
    return std::make_unique<GpuCode>(config, std::move(code), "cpu", options.deterministic);
  }
  config.driver = "libcuda.so.1";
  if (target.size() > 5) config.ordinal = std::stoi(target.substr(5));
  return std::make_unique<GpuCode>(config, std::move(code),
                                   "cuda:" + std::to_string(config.ordinal), options.deterministic);
}

}  // namespace ourjit
