// Kernels that are called as they are, in the version for this processor.
#pragma once

#include "attention.h"
#include "matmul.h"

namespace ourjit {

/// The widest vectors that kernels can use here: 512, 256 or 128 bits, 0 if the processor is too
/// old for all.
int native_vector_bits();

/// Null where native_vector_bits() is 0.
const AttentionKernels* native_attention();

/// Null below 256 bits.
const matmul::Kernel* native_matmul();

}  // namespace ourjit
