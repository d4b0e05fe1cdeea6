#include "backend/llvm_loader.h"

#include <llvm/ExecutionEngine/JITLink/ELF_x86_64.h>
#include <llvm/ExecutionEngine/JITLink/JITLink.h>
#include <llvm/ExecutionEngine/JITLink/JITLinkMemoryManager.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "backend/code_names.h"
#include "base/error.h"
#include "codegen/llvm_module.h"

namespace ourjit {

namespace {

namespace jitlink = llvm::jitlink;

/// For locals that do not fit the stack. Kernels have no way to fail here, as a stack has none.
void* scratch_allocate(int64_t bytes) {
  constexpr size_t kAlignment = 64;
  const size_t size = (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  void* p = std::aligned_alloc(kAlignment, size);
  if (!p) std::abort();
  return p;
}

/// f16 conversions of CPUs without F16C.
float extend_half(_Float16 x) { return static_cast<float>(x); }
_Float16 truncate_to_half(float x) { return static_cast<_Float16>(x); }

/// All that code may refer to outside of itself: what LLVM makes of large copies and, on CPUs
/// without 16-bit arithmetic, of selections between f16 numbers that are the smaller or larger ones
/// (minnum, maxnum); and scratch memory.
void* known_symbol(llvm::StringRef name) {
  using CopyFunction = void* (*)(void*, const void*, size_t);
  using SetFunction = void* (*)(void*, int, size_t);
  if (name == "memcpy") return reinterpret_cast<void*>(static_cast<CopyFunction>(std::memcpy));
  if (name == "memmove") return reinterpret_cast<void*>(static_cast<CopyFunction>(std::memmove));
  if (name == "memset") return reinterpret_cast<void*>(static_cast<SetFunction>(std::memset));
  using FloatFunction = float (*)(float, float);
  if (name == "fminf") return reinterpret_cast<void*>(static_cast<FloatFunction>(std::fmin));
  if (name == "fmaxf") return reinterpret_cast<void*>(static_cast<FloatFunction>(std::fmax));
  if (name == "__extendhfsf2") return reinterpret_cast<void*>(&extend_half);
  if (name == "__truncsfhf2") return reinterpret_cast<void*>(&truncate_to_half);
  if (name == kScratchAllocate) return reinterpret_cast<void*>(&scratch_allocate);
  if (name == kScratchFree) return reinterpret_cast<void*>(static_cast<void (*)(void*)>(std::free));
  return nullptr;
}

uint64_t page_size() { return static_cast<uint64_t>(sysconf(_SC_PAGESIZE)); }

/// What a link leaves behind; the linker owns its context only until it is done.
struct LinkResult {
  std::optional<jitlink::JITLinkMemoryManager::FinalizedAlloc> memory;
  void* entry = nullptr;
  size_t entry_bytes = 0;
  std::string error;
};

class LinkContext : public jitlink::JITLinkContext {
 public:
  LinkContext(jitlink::JITLinkMemoryManager& memory, std::string entry, LinkResult& result)
      : JITLinkContext(nullptr), memory_(memory), entry_(std::move(entry)), result_(result) {}

  jitlink::JITLinkMemoryManager& getMemoryManager() override { return memory_; }

  void notifyFailed(llvm::Error error) override {
    result_.error = llvm::toString(std::move(error));
  }

  void lookup(const LookupMap& symbols,
              std::unique_ptr<jitlink::JITLinkAsyncLookupContinuation> continuation) override {
    jitlink::AsyncLookupResult found;
    for (const auto& [name, flags] : symbols) {
      void* address = known_symbol(name);
      if (!address) {
        continuation->run(
            llvm::createStringError("the code refers to " + name + ", which kernels must not use"));
        return;
      }
      found[name] = {llvm::orc::ExecutorAddr::fromPtr(address), llvm::JITSymbolFlags::Exported};
    }
    continuation->run(std::move(found));
  }

  llvm::Error notifyResolved(jitlink::LinkGraph& graph) override {
    for (const jitlink::Symbol* s : graph.defined_symbols())
      if (s->hasName() && s->getName() == entry_) {
        result_.entry = s->getAddress().toPtr<void*>();
        result_.entry_bytes = s->getSize();
      }
    return result_.entry ? llvm::Error::success()
                         : llvm::createStringError("the object does not define " + entry_);
  }

  void notifyFinalized(jitlink::JITLinkMemoryManager::FinalizedAlloc memory) override {
    result_.memory = std::move(memory);
  }

  jitlink::LinkGraphPassFunction getMarkLivePass(const llvm::Triple&) const override {
    return [entry = entry_](jitlink::LinkGraph& graph) {
      for (jitlink::Symbol* s : graph.defined_symbols())
        if (s->hasName() && s->getName() == entry) s->setLive(true);
      return llvm::Error::success();
    };
  }

 private:
  jitlink::JITLinkMemoryManager& memory_;
  std::string entry_;
  LinkResult& result_;
};

class LoadedObjectImpl : public LoadedObject {
 public:
  LoadedObjectImpl() : manager_(page_size()) {}
  ~LoadedObjectImpl() override {
    if (!result.memory) return;
    std::vector<jitlink::JITLinkMemoryManager::FinalizedAlloc> all;
    all.push_back(std::move(*result.memory));
    // Nobody can act on a failed munmap.
    manager_.deallocate(std::move(all), [](llvm::Error e) { llvm::consumeError(std::move(e)); });
  }
  void* entry() const override { return result.entry; }
  size_t entry_bytes() const override { return result.entry_bytes; }
  void name(const std::string& entry) { name_.emplace(result.entry, result.entry_bytes, entry); }
  jitlink::JITLinkMemoryManager& manager() { return manager_; }

  LinkResult result;

 private:
  jitlink::InProcessMemoryManager manager_;
  std::optional<GdbName> name_;
};

}  // namespace

std::unique_ptr<LoadedObject> load_object(std::string_view object, const std::string& entry) {
  auto graph = jitlink::createLinkGraphFromELFObject_x86_64(
      llvm::MemoryBufferRef(llvm::StringRef(object.data(), object.size()), entry));
  if (!graph) OURJIT_RAISE(BackendError) << "bad object: " << llvm::toString(graph.takeError());
  auto loaded = std::make_unique<LoadedObjectImpl>();
  jitlink::link(std::move(*graph),
                std::make_unique<LinkContext>(loaded->manager(), entry, loaded->result));
  // The memory manager is synchronous: the link is over when link() returns.
  if (!loaded->result.memory)
    OURJIT_RAISE(BackendError) << "@" << entry << " cannot be loaded: " << loaded->result.error;
  loaded->name(entry);
  return loaded;
}

}  // namespace ourjit
