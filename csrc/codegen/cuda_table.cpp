#include "codegen/cuda_table.h"

#include <algorithm>
#include <bit>

namespace ourjit {

CudaTable cuda_table(size_t rows, size_t pointers, size_t sizes) {
  constexpr size_t kFirst = 2 * sizeof(int32_t);
  const size_t begin = (kFirst + (rows + 1) * sizeof(int32_t) + 7) / 8 * 8;
  return {rows, kFirst, begin, (pointers + sizes) * 8};
}

int cuda_table_rows(const loop::Kernel& k, size_t rows, int64_t parameter_bytes) {
  const auto space =
      static_cast<size_t>(parameter_bytes) - 2 * sizeof(void*);  // less ticket and status
  size_t fit = std::bit_ceil(rows);
  while (fit > 1 && cuda_table(fit, k.buffers.size(), k.sizes.size()).bytes() > space) --fit;
  return static_cast<int>(fit);
}

}  // namespace ourjit
