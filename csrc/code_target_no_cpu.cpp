// In place of code_target_cpu.cpp in builds without LLVM.
#include "base/error.h"
#include "code_target.h"

namespace ourjit {

bool has_cpu_target() { return false; }

std::optional<HostFacts> host_facts() { return std::nullopt; }

std::unique_ptr<CodeTarget> make_cpu_code(const Options&, CodeStore) {
  OURJIT_RAISE(BackendError)
      << "this build of ourjit has no CPU target, because it was built without LLVM: use "
         "target=cuda and tensors on the GPU, or build with LLVM (-DOURJIT_WITH_LLVM=ON)";
}

}  // namespace ourjit
