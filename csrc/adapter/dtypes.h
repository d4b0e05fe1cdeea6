// Element types of ourjit and of torch.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>

#include "base/dtype.h"

namespace ourjit {

c10::ScalarType to_torch(DType t);
/// Absent for types that ourjit has no name for (quantized and others).
std::optional<DType> from_torch(c10::ScalarType t);

}  // namespace ourjit
