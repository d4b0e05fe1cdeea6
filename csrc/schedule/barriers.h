// Where the threads of a GPU block must wait for each other.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Puts barriers into a kernel whose thread loops are chosen: between two accesses of one memory of
/// which one writes, unless each thread meets only what it wrote itself. Memory of threads needs
/// none.
void insert_barriers(Kernel& k);

}  // namespace ourjit::loop
