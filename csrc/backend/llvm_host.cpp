#include "backend/llvm_host.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Host.h>
#include <unistd.h>

#include <map>

#include "backend/cpu_backend.h"
#include "base/error.h"

namespace ourjit {

namespace {

int best_vector_bits(const llvm::StringMap<bool>& features) {
  const auto all = [&](std::initializer_list<const char*> names) {
    for (const char* n : names)
      if (!features.lookup(n)) return false;
    return true;
  };
  if (all({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "f16c", "fma", "bmi2"}))
    return 512;
  if (all({"avx2", "fma", "f16c", "bmi2", "lzcnt"})) return 256;
  if (all({"sse4.2", "popcnt"})) return 128;
  return 0;
}

/// What the host has beyond the CPU that LLVM takes it for, or lacks of it, in LLVM's syntax.
/// Listing every feature would work too, but the string is hashed again and again in code
/// generation.
std::string feature_difference(const std::string& cpu, const llvm::StringMap<bool>& features) {
  initialize_llvm();
  const std::string triple = llvm::sys::getProcessTriple();
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target) OURJIT_RAISE(BackendError) << "LLVM has no target for " << triple << ": " << error;
  const std::unique_ptr<llvm::MCSubtargetInfo> base(target->createMCSubtargetInfo(triple, cpu, ""));
  const std::map<std::string, bool> sorted = [&] {
    std::map<std::string, bool> r;
    for (const auto& f : features) r[f.getKey().str()] = f.getValue();
    return r;
  }();
  std::string text;
  for (const auto& [name, on] : sorted) {
    // AVX10 adds nothing to AVX-512 here but LLVM's limits on vector width.
    if (name.starts_with("avx10") || base->checkFeatures("+" + name) == on) continue;
    text += (text.empty() ? "" : ",") + std::string(on ? "+" : "-") + name;
  }
  return text;
}

int64_t cache_bytes(int name, int64_t otherwise) {
  const int64_t bytes = sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}

HostCpu detect() {
  const llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  const int best = best_vector_bits(features);
  if (best == 0)
    OURJIT_RAISE(BackendError) << "this CPU (" << llvm::sys::getHostCPUName().str()
                               << ") lacks SSE 4.2, which compiled kernels need";
  HostCpu host;
  host.target.vector_bits = best;
  host.target.l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, host.target.l1_bytes);
  host.target.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, host.target.l2_bytes);
  host.name = llvm::sys::getHostCPUName().str();
  host.features = feature_difference(host.name, features);
  return host;
}

}  // namespace

void initialize_llvm() {
  [[maybe_unused]] static const bool done = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
}

std::string llvm_version() { return LLVM_VERSION_STRING; }

HostCpu detect_host(int max_vector_bits) {
  static const HostCpu best = detect();
  HostCpu host = best;
  if (max_vector_bits > 0)
    host.target.vector_bits = std::min(host.target.vector_bits, max_vector_bits);
  return host;
}

TargetMachinePool::TargetMachinePool(std::string cpu, std::string features)
    : cpu_(std::move(cpu)), features_(std::move(features)) {}

TargetMachinePool::Lease::~Lease() {
  const std::lock_guard lock(pool_.mutex_);
  pool_.idle_.push_back(std::move(machine_));
}

TargetMachinePool::Lease TargetMachinePool::lease() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto machine = std::move(idle_.back());
      idle_.pop_back();
      return {*this, std::move(machine)};
    }
  }
  const std::string triple = llvm::sys::getProcessTriple();
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target) OURJIT_RAISE(BackendError) << "LLVM has no target for " << triple << ": " << error;
  llvm::TargetOptions options;
  // Only what the vector maths asks for is fused.
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return {*this, std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
                     triple, cpu_, features_, options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
                     llvm::CodeGenOptLevel::Default, /*JIT=*/true))};
}

}  // namespace ourjit
