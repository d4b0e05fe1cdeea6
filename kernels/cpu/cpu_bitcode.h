// The vector maths of generated CPU kernels, as LLVM bitcode.
#pragma once

#include <string_view>

namespace ourjit {

/// The bitcode module of the vector maths whose registers have `vector_bits` bits (128, 256 or
/// 512), or an empty view for any other width. It needs x86-64-v2, -v3 and -v4 respectively; its
/// symbols are listed in kernels/cpu/README.md.
std::string_view cpu_bitcode(int vector_bits);

}  // namespace ourjit
