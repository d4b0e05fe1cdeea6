// Which build of ourjit this is.
#pragma once

#include <string>

namespace ourjit {

/// Hex digits that differ between builds with any difference in code: what the linker wrote as the
/// build id of the shared library or program that holds this function. Empty if it wrote none.
const std::string& build_id();

}  // namespace ourjit
