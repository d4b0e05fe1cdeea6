// Loop IR to LLVM IR text for the CPU.
#pragma once

#include <string>

#include "loop/loop_ir.h"
#include "loop/target.h"

namespace ourjit {

/// A module in LLVM's textual form with one function `name` of type KernelFunction
/// (codegen/kernel_abi.h) and declarations of the vector maths that it calls. Deterministic. Used
/// by golden tests, emit() and dumps.
std::string emit_llvm_text(const loop::Kernel& k, const loop::Target& target);

}  // namespace ourjit
