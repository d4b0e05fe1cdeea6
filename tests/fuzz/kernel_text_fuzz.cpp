// Any text: the parser of the loop IR, which verifies, says what is wrong with it, and a kernel
// that it takes prints as itself, before and after it is simplified.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "loop/simplify.h"
#include "loop/text.h"
#include "loop/verify.h"

namespace {

using namespace ourjit;

void must_read_back(const loop::Kernel& k) {
  const std::string printed = loop::print(k);
  if (loop::print(loop::parse_kernel(printed)) == printed) return;
  std::fprintf(stderr, "does not read back:\n%s\n", printed.c_str());
  std::abort();
}

void check(const std::string& text) {
  loop::Kernel k;
  try {
    k = loop::parse_kernel(text);
  } catch (const UserError&) {
    return;
  }
  must_read_back(k);
  loop::simplify_indices(k);
  loop::verify(k);
  must_read_back(k);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check({reinterpret_cast<const char*>(data), size});
  return 0;
}
