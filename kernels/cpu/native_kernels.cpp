#include "native_kernels.h"

namespace ourjit {

int native_vector_bits() {
  static const int bits = __builtin_cpu_supports("x86-64-v4")   ? 512
                          : __builtin_cpu_supports("x86-64-v3") ? 256
                          : __builtin_cpu_supports("x86-64-v2") ? 128
                                                                : 0;
  return bits;
}

const AttentionKernels* native_attention() {
  switch (native_vector_bits()) {
    case 512:
      return &ourjit_attention_512;
    case 256:
      return &ourjit_attention_256;
    case 128:
      return &ourjit_attention_128;
    default:
      return nullptr;
  }
}

const matmul::Kernel* native_matmul() {
  const int bits = native_vector_bits();
  return bits == 512 ? &matmul::kKernel512 : bits == 256 ? &matmul::kKernel256 : nullptr;
}

}  // namespace ourjit
