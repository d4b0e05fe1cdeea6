#include "runtime/guarded_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>

namespace ourjit {
namespace {

using Bytes = std::array<char, 100>;

Bytes numbered() {
  Bytes b;
  std::iota(b.begin(), b.end(), char{0});
  return b;
}

TEST(GuardedMemory, HoldsCopiesAndWritesBackOnlyChanges) {
  Bytes original = numbered();
  for (const GuardedEnd end : {GuardedEnd::Begin, GuardedEnd::End}) {
    GuardedCopies copies(end);
    // The same memory twice, as a kernel's operand and its result in place.
    const char* read = static_cast<char*>(copies.add(original.data(), original.size()));
    char* written = static_cast<char*>(copies.add(original.data() + 10, 20));
    EXPECT_EQ(read[99], 99);
    written[0] = 77;
    EXPECT_EQ(read[10], numbered()[10]);
    EXPECT_EQ(original[10], numbered()[10]);
    copies.finish();
    EXPECT_EQ(original[10], 77);
    original[10] = numbered()[10];
  }
  EXPECT_EQ(original, numbered());
}

TEST(GuardedMemoryDeathTest, OneByteOutsideEndsTheProcess) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  Bytes original = numbered();
  const auto touch = [&](GuardedEnd end, size_t bytes, std::ptrdiff_t at) {
    GuardedCopies copies(end);
    volatile char* copy = static_cast<char*>(copies.add(original.data(), bytes));
    copy[at] = copy[at];
  };
  touch(GuardedEnd::Begin, 100, 0);
  touch(GuardedEnd::End, 100, 99);
  EXPECT_DEATH(touch(GuardedEnd::Begin, 100, -1), "");
  EXPECT_DEATH(touch(GuardedEnd::End, 100, 100), "");
  EXPECT_DEATH(touch(GuardedEnd::End, 0, 0), "");
}

}  // namespace
}  // namespace ourjit
