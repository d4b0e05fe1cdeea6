// Loop nests that read along one dim and write along another.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Tiles nests of two serial loops of which one walks along memory that the other one jumps
/// through, so that cache lines read across are used up while they are in cache. `width`: lanes of
/// vector loops.
void tile_transposes(Kernel& k, int width);

}  // namespace ourjit::loop
