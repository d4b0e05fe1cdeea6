#include "codegen/cuda_prelude.h"

#include <gtest/gtest.h>

namespace ourjit {
namespace {

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

TEST(CudaPrelude, TextThatNeedsEverythingGetsAllInOrder) {
  EXPECT_EQ(cuda_prelude_for(cuda_prelude()), cuda_prelude());
}

TEST(CudaPrelude, TextThatNeedsNothingGetsTheFirstPartAlone) {
  const std::string first = cuda_prelude_for("int f() { return 0; }");
  EXPECT_TRUE(contains(first, "#define OJ_FUNCTION"));
  EXPECT_FALSE(contains(first, "\n// --- "));
}

TEST(CudaPrelude, PartsBringWhatTheyNeedThemselves) {
  const std::string text = cuda_prelude_for("oj_bf16 x; oj_load_vector(v, b0, 0);");
  for (const char* part : {"--- bits", "--- casts", "--- vector accesses ---", "--- bf16",
                           "--- vector accesses of 16-bit floats", "--- accesses as the emulator"})
    EXPECT_TRUE(contains(text, part)) << part;
  for (const char* part :
       {"--- f16", "--- f8", "--- random numbers", "--- reductions", "--- tables"})
    EXPECT_FALSE(contains(text, part)) << part;
}

TEST(CudaPrelude, NamesCountAsWhole) {
  EXPECT_FALSE(contains(cuda_prelude_for("my_oj_sin(x)"), "--- sines"));
  EXPECT_TRUE(contains(cuda_prelude_for("oj_sin(x)"), "--- sines"));
}

}  // namespace
}  // namespace ourjit
