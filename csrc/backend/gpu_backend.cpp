#include "backend/gpu_backend.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>

#include "backend/cuda_driver.h"
#include "backend/nvrtc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "codegen/cuda_emitter.h"
#include "loop/text.h"
#include "loop/visit.h"

namespace ourjit {

namespace {

constexpr size_t kUnitKernels = 16;  // at most

/// A unit's name in messages.
std::string unit_name(const std::vector<const loop::Kernel*>& kernels) {
  std::string name = kernels.front()->name;
  if (kernels.size() > 1) name += "_and_" + std::to_string(kernels.size() - 1) + "_more";
  return name;
}

/// True if threads take several elements at once.
bool has_vectors(const loop::Kernel& k) {
  bool found = false;
  loop::for_each_node(k.body, [&](const loop::Node& n) {
    const auto* f = std::get_if<loop::For>(&n.v);
    found |= f && f->width > 1;
  });
  return found;
}

class GpuBackendImpl final : public GpuBackend,
                             public std::enable_shared_from_this<GpuBackendImpl> {
 public:
  GpuBackendImpl(const GpuConfig& config, CodeStore store)
      : library_(config.nvrtc),
        architecture_(config.architecture),
        folder_(config.save_folder),
        store_(std::move(store)) {
    if (!config.driver.empty())
      device_ = std::make_shared<CudaDevice>(std::make_shared<CudaDriver>(config.driver),
                                             config.ordinal, config.emulated);
    if (architecture_.empty()) {
      OURJIT_CHECK(device_) << "neither a device nor an architecture";
      architecture_ = device_->architecture();
    }
    if (device_) nvrtc();
    store_.common.push_back({"architecture", architecture_});
  }

  const std::string& architecture() const override { return architecture_; }

  loop::GpuTarget target() const override {
    loop::GpuTarget t;
    if (device_) t.multiprocessors = device_->multiprocessors();
    if (device_ && device_->driver().version() < 12010) t.parameter_bytes = 4096;
    return t;
  }

  std::shared_ptr<Device> device() const override { return device_; }

  std::vector<std::shared_ptr<DeviceKernel>> compile(
      const std::vector<const loop::Kernel*>& kernels, int threads) override {
    OURJIT_CHECK(device_) << "kernels for " << architecture_ << " cannot be loaded";
    std::vector<size_t> weights;
    for (const loop::Kernel* k : kernels) weights.push_back(loop::print(*k).size());
    const std::vector<std::vector<size_t>> units = make_units(weights, threads);
    std::vector<std::shared_ptr<DeviceKernel>> loaded(kernels.size());
    for_each_parallel(units.size(), static_cast<size_t>(threads), [&](size_t u) {
      std::vector<const loop::Kernel*> unit;
      for (const size_t i : units[u]) unit.push_back(kernels[i]);
      const std::vector<std::shared_ptr<DeviceKernel>> done = compile_unit(unit);
      for (size_t i = 0; i < done.size(); ++i) loaded[units[u][i]] = done[i];
    });
    return loaded;
  }

  int64_t variants() const override { return variants_; }
  int64_t loaded() const override { return loaded_; }

  std::string source(const loop::Kernel& k) const override { return emit_cuda_unit({&k}); }

  std::string compile_cubin(const std::string& source) const override {
    GpuCode code = nvrtc().compile(source, architecture_, "kernel", folder_);
    if (code.is_ptx)
      OURJIT_RAISE(BackendError) << "NVRTC " << nvrtc().version() << " does not know "
                                 << architecture_ << ": install a newer one";
    return std::move(code.image);
  }

  std::string compile_ptx(const std::string& source) const override {
    return nvrtc().ptx(source, architecture_, "kernel", folder_);
  }

 private:
  std::vector<std::shared_ptr<DeviceKernel>> compile_unit(
      const std::vector<const loop::Kernel*>& unit) const {
    std::vector<std::shared_ptr<DeviceKernel>> kernels;
    const auto library = load(emit_cuda_unit(unit), unit_name(unit), unit.size());
    for (const loop::Kernel* k : unit) {
      const bool vectors = has_vectors(*k);
      kernels.push_back(std::make_shared<CudaKernel>(library, *k, vectors ? kBufferAlignment : 1,
                                                     vectors ? unaligned_variant(*k) : nullptr));
    }
    return kernels;
  }

  /// The code of a unit of so many kernels.
  std::shared_ptr<const CudaLibrary> load(const std::string& text, const std::string& name,
                                          size_t kernels) const {
    const cache::Key key = store_.key({{"compiler", compiler()}, {"kernel", text}});
    const DeviceScope scope(device_.get());
    if (std::optional<cache::Entry> entry = store_.find(key)) {
      try {
        auto library = std::make_shared<const CudaLibrary>(device_, entry->payload, name);
        loaded_ += static_cast<int64_t>(kernels);
        return library;
      } catch (const BackendError&) {  // it is compiled, and replaced
      }
    }
    const auto start = std::chrono::steady_clock::now();
    GpuCode code = nvrtc().compile(text, architecture_, name, folder_);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    auto library = std::make_shared<const CudaLibrary>(device_, code.image, name);
    store_.keep(key, {{"name", name}, {"compile ms", std::to_string(took.count())}},
                std::move(code.image));
    return library;
  }

  /// What compiles: the library's version, and the file it is in, as versions do not tell builds.
  std::string compiler() const {
    std::string text = "NVRTC " + nvrtc().version();
    struct stat status{};
    if (!library_.empty() && stat(library_.c_str(), &status) == 0)
      text += ", " + std::to_string(status.st_size) + " bytes of " +
              std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec);
    return text;
  }

  CudaKernel::MakeUnaligned unaligned_variant(const loop::Kernel& k) const {
    return [this, self = weak_from_this(), k] {
      const std::shared_ptr<const GpuBackend> alive = self.lock();
      OURJIT_CHECK(alive) << "the compiler of kernel " << k.name << " is gone";
      ++variants_;
      return std::make_shared<const CudaKernel>(load(emit_cuda_unit({&k}, false), k.name, 1), k);
    };
  }

  /// Opened when first needed: text can be emitted without it.
  const Nvrtc& nvrtc() const {
    const std::lock_guard lock(mutex_);
    if (!nvrtc_) nvrtc_.emplace(library_);
    return *nvrtc_;
  }

  const std::string library_;
  mutable std::mutex mutex_;
  mutable std::optional<const Nvrtc> nvrtc_;
  mutable std::atomic<int64_t> variants_{0}, loaded_{0};
  std::shared_ptr<CudaDevice> device_;
  std::string architecture_;
  const std::string folder_;
  CodeStore store_;
};

}  // namespace

std::vector<std::vector<size_t>> make_units(const std::vector<size_t>& weights, int threads) {
  const size_t n = weights.size(), workers = static_cast<size_t>(std::max(1, threads));
  if (n == 0) return {};
  // As many as the threads, or a multiple of that.
  const size_t least = (n + kUnitKernels - 1) / kUnitKernels;
  const size_t count = std::min(n, (least + workers - 1) / workers * workers);
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return weights[a] > weights[b]; });
  std::vector<std::vector<size_t>> units(count);
  std::vector<size_t> load(count);
  for (const size_t k : order) {
    size_t best = count;
    for (size_t u = 0; u < count; ++u)
      if (units[u].size() < kUnitKernels && (best == count || load[u] < load[best])) best = u;
    units[best].push_back(k);
    load[best] += weights[k];
  }
  for (std::vector<size_t>& u : units) std::sort(u.begin(), u.end());
  return units;
}

std::shared_ptr<GpuBackend> make_gpu_backend(const GpuConfig& config, CodeStore store) {
  return std::make_shared<GpuBackendImpl>(config, std::move(store));
}

}  // namespace ourjit
