// Index expressions as C text.
#pragma once

#include <functional>
#include <string>

#include "loop/loop_ir.h"

namespace ourjit::cuda {

/// What stands for a symbol in the text.
using SymbolName = std::function<std::string(const std::string&)>;

/// `s` in C, of type oj_index. Operations other than + and * are parenthesized or calls.
std::string c_index(const Sym& s, const SymbolName& name);

/// True if no index of the kernel, nor any part of one, can leave the range of int.
bool fits_int(const loop::Kernel& k);

}  // namespace ourjit::cuda
