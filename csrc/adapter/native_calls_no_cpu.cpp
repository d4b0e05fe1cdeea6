// In builds without LLVM, which have no kernels for the CPU.
#include "adapter/native_calls.h"
#include "native_kernels.h"

namespace ourjit {

NativeCall find_native_call(const std::string&) { return nullptr; }
const matmul::Kernel* native_matmul() { return nullptr; }

}  // namespace ourjit
