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

/// True if the terms of `s` show that it is a multiple of n, whatever its symbols are.
bool is_multiple(const Sym& s, int64_t n);

/// The number of the lane in results of over_lanes().
inline constexpr const char* kLane = "@l";

/// `s` in lane @l of a loop whose thread takes `lanes` iterations side by side: `var`, the first
/// one, is `begin` plus a multiple of `lanes`. A quotient or remainder that the lanes share a
/// period of is a symbol of its own, plus @l for a remainder.
Sym over_lanes(const Sym& s, const std::string& var, const Sym& begin, int lanes);

}  // namespace ourjit::cuda
