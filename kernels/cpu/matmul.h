// Products of f32 matrices: packed, tiled for registers and caches, one object for each width of
// vectors.
#pragma once

#include <cstdint>

namespace ourjit::matmul {

/// Element (i, j) is data[i * row + j * column].
struct Matrix {
  const float* data;
  int64_t row, column;
};

/// c = a * b for a [m, k], b [k, n], c [m, n]; the rows of c are contiguous.
struct Product {
  Matrix a, b;
  float* c;
  int64_t c_row;
  int64_t m, n, k;
};

/// The kernel for one width of vectors. Each element of c is a sum in an order that depends on k
/// alone: a product that is cut into ranges of rows and columns gives the same bits.
struct Kernel {
  int vector_bits;
  int64_t rows, columns;  // of the tile in registers: ranges should begin at multiples
  /// Computes on this thread; `scratch` holds scratch_floats(), aligned to 64 bytes.
  void (*multiply)(const Product& p, float* scratch);
  int64_t (*scratch_floats)(const Product& p);
};

extern const Kernel kKernel256, kKernel512;

}  // namespace ourjit::matmul
