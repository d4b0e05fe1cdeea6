// Nests on GPUs that read along one dim and write along another.
#pragma once

#include "loop/loop_ir.h"
#include "loop/target.h"

namespace ourjit::loop {

/// If the kernel is a nest over two dims of which some loads run along one and the stores along the
/// other: gives it threads, and has each block bring one square tile of those loads through shared
/// memory, so that neighbouring threads meet neighbouring elements both times. Complete with
/// barriers. False if the kernel is not like that; it is unchanged then.
bool tile_through_shared(Kernel& k, const GpuTarget& target);

}  // namespace ourjit::loop
