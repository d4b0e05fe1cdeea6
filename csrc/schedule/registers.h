// Values that the threads of a GPU block keep from one loop to the next.
#pragma once

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Puts into locals of threads, which become registers: locals of the block of which each thread
/// meets only its own elements; elements of buffers that several loops over one row load; and those
/// that the rows of a serial loop add to, which are loaded before and stored after it. For kernels
/// whose thread loops and numbers of threads are chosen. Returns the registers, of 32 bits, that a
/// thread keeps values in.
int64_t keep_in_registers(Kernel& k);

}  // namespace ourjit::loop
