// An emitted module to optimized LLVM IR, and that to machine code.
#pragma once

#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

namespace ourjit {

/// Links in the functions of kernels/cpu for `vector_bits` that `module` declares, sets the CPU on
/// all functions and runs the pass pipeline. Raises BackendError with LLVM's message.
void optimize_module(llvm::Module& module, llvm::TargetMachine& machine, int vector_bits);

/// Object file or assembly text of an optimized module, which code generation spoils. Raises
/// BackendError.
llvm::SmallVector<char, 0> generate_code(llvm::Module& module, llvm::TargetMachine& machine,
                                         llvm::CodeGenFileType type);

}  // namespace ourjit
