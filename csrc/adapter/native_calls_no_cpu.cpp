// In builds without LLVM, which have no kernels for the CPU.
#include "adapter/native_calls.h"

namespace ourjit {

NativeCall find_native_call(const std::string&) { return nullptr; }

}  // namespace ourjit
