#include "cpu_bitcode.h"

// The build defines OURJIT_BITCODE_128, _256 and _512 as the paths of the modules.
#define OURJIT_EMBED(bits, path)                                                       \
  asm(".pushsection .rodata\n"                                                         \
      ".balign 16\n"                                                                   \
      ".local ourjit_bitcode_" #bits                                                   \
      "\n"                                                                             \
      "ourjit_bitcode_" #bits                                                          \
      ":\n"                                                                            \
      ".incbin \"" path                                                                \
      "\"\n"                                                                           \
      ".local ourjit_bitcode_end_" #bits                                               \
      "\n"                                                                             \
      "ourjit_bitcode_end_" #bits                                                      \
      ":\n"                                                                            \
      ".popsection\n");                                                                \
  extern "C" __attribute__((visibility("hidden"))) const char ourjit_bitcode_##bits[]; \
  extern "C" __attribute__((visibility("hidden"))) const char ourjit_bitcode_end_##bits[];

OURJIT_EMBED(128, OURJIT_BITCODE_128)
OURJIT_EMBED(256, OURJIT_BITCODE_256)
OURJIT_EMBED(512, OURJIT_BITCODE_512)

namespace ourjit {

std::string_view cpu_bitcode(int vector_bits) {
  switch (vector_bits) {
    case 128:
      return {ourjit_bitcode_128, ourjit_bitcode_end_128};
    case 256:
      return {ourjit_bitcode_256, ourjit_bitcode_end_256};
    case 512:
      return {ourjit_bitcode_512, ourjit_bitcode_end_512};
    default:
      return {};
  }
}

}  // namespace ourjit
