// The vector maths of one width applied to arrays, for tests and benchmarks.
#pragma once

#include <cstddef>

namespace ourjit {

/// One function of the vector maths. `apply` computes out[i] = f(a[i], b[i]) for `count` elements,
/// a multiple of 16, of float or double; unary functions ignore b.
struct VecmathFunction {
  const char* name;
  bool is_double;
  int operands;
  void (*apply)(const void* a, const void* b, void* out, std::size_t count);
};

/// One random distribution: out[i] = number of the stream `seed` at index[i], for `count` elements,
/// a multiple of 16.
struct VecmathRandom {
  const char* name;
  bool is_double;
  void (*apply)(long seed, const long* index, void* out, std::size_t count);
};

/// All functions of a width.
struct VecmathTable {
  int vector_bits;
  const VecmathFunction* functions;
  std::size_t function_count;
  const VecmathRandom* randoms;
  std::size_t random_count;
};

/// The table of a width; call its functions only where the processor has the instructions of that
/// width.
extern "C" const VecmathTable* ourjit_vecmath_table_128();
extern "C" const VecmathTable* ourjit_vecmath_table_256();
extern "C" const VecmathTable* ourjit_vecmath_table_512();

}  // namespace ourjit
