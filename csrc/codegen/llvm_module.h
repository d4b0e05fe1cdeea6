// Loop IR to an LLVM module. For files that include LLVM; others see codegen/llvm_emitter.h.
#pragma once

#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>

#include <memory>

#include "loop/loop_ir.h"
#include "loop/target.h"

namespace ourjit {

/// Prefix of the functions of kernels/cpu that a module may declare: oj_<op>_<dtype>.
inline constexpr const char* kBitcodePrefix = "oj_";
/// Memory for locals too large for the stack: ptr (i64 bytes) and void (ptr). The loader provides
/// both.
inline constexpr const char* kScratchAllocate = "ourjit_scratch_allocate";
inline constexpr const char* kScratchFree = "ourjit_scratch_free";

/// One function named as the kernel, of type KernelFunction. The module knows nothing of the host:
/// neither triple nor data layout nor CPU is set.
std::unique_ptr<llvm::Module> build_llvm_module(const loop::Kernel& k, const loop::Target& target,
                                                llvm::LLVMContext& context);

}  // namespace ourjit
