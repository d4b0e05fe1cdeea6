// How the table of a table kernel lies in its parameter: the number of rows and of silent ones, the
// first block of each row and one more for the end, then the rows, each with its pointers and
// sizes.
#pragma once

#include <cstddef>

#include "loop/loop_ir.h"

namespace ourjit {

struct CudaTable {
  size_t rows;   // that fit
  size_t first;  // offset of the first blocks, int32 each
  size_t begin;  // offset of the rows
  size_t row;    // bytes of a row
  size_t bytes() const { return begin + rows * row; }
};

/// The table of kernels with so many buffer and size parameters.
CudaTable cuda_table(size_t rows, size_t pointers, size_t sizes);

/// Rows for a kernel that is to be launched over `rows` of them, given the bytes that the
/// parameters of a launch may have. The fewest kernels differ if this is a power of two where that
/// fits.
int cuda_table_rows(const loop::Kernel& k, size_t rows, int64_t parameter_bytes);

}  // namespace ourjit
