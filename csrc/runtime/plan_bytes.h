// Plans as bytes, for the disk cache: all but the code of the kernels and the device.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "runtime/plan.h"

namespace ourjit {

void write(ByteWriter& out, const Plan& plan);
/// A plan whose kernels have names and no code. Raises BadBytes.
Plan read_plan(ByteReader& in);

}  // namespace ourjit
