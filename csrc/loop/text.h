// Text form of the loop IR; parse(print(k)) equals k.
#pragma once

#include <string>
#include <string_view>

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// No addresses; provenance is printed only if asked: all of it as leading comments, and behind
/// each statement the Python line that it came from.
std::string print(const Kernel& k, bool with_provenance = false);
/// Raises UserError with line and column on bad text; also for what verify() refuses.
Kernel parse_kernel(std::string_view text);
/// The text with values, buffers, locals, loop variables and the kernel itself renamed in order of
/// appearance and no provenance: equal for kernels that do the same thing. Size symbols are renamed
/// too.
std::string canonical_text(const Kernel& k);

}  // namespace ourjit::loop
