// What generated CUDA text is written in: the files of kernels/cuda.
#pragma once

#include <string>
#include <string_view>

namespace ourjit {

/// All of it.
std::string_view cuda_prelude();

/// What `text` needs of it: parts begin with a line "// --- name ---", and one is needed if a name
/// that appears there first is mentioned in `text` or in a part that is needed. What stands before
/// the first part always is.
std::string cuda_prelude_for(std::string_view text);

}  // namespace ourjit
