#include "cache/entry.h"

#include <gtest/gtest.h>

#include "cache/scratch_check.h"

namespace ourjit::cache {
namespace {

using testing::entry_of;
using testing::same;

std::string problem(const std::string& bytes) {
  try {
    decode(bytes);
  } catch (const BadEntry& e) {
    return e.what();
  }
  return "";
}

TEST(CacheEntry, RoundTrips) {
  const std::string zeros("a\0b\n\x1b[0m", 8);
  const std::vector<Entry> entries = {
      {},
      {{{"", ""}}, {}, ""},
      {{{zeros, zeros}}, {{zeros, zeros}, {zeros, ""}}, zeros},
      entry_of(1, 0),
      entry_of(2, 100000),
      {{{"kernel", std::string(300000, 'x')}}, {}, "p"},
  };
  for (const Entry& entry : entries) {
    const std::string bytes = encode(entry);
    EXPECT_TRUE(same(decode(bytes), entry));
    const size_t head = head_bytes(std::string_view(bytes).substr(0, kHeaderBytes), bytes.size());
    EXPECT_EQ(head + entry.payload.size(), bytes.size());
    const Entry read = decode_head(std::string_view(bytes).substr(0, head), bytes.size());
    EXPECT_EQ(read.key, entry.key);
    EXPECT_EQ(read.notes, entry.notes);
  }
}

TEST(CacheEntry, EveryByteIsChecked) {
  const std::string bytes = encode(entry_of(1, 500));
  for (size_t i = 0; i < bytes.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      ASSERT_NE(problem(changed), "") << "byte " << i << " bit " << bit;
    }
}

TEST(CacheEntry, EveryLengthIsChecked) {
  const std::string bytes = encode(entry_of(1, 500));
  for (size_t size = 0; size < bytes.size(); ++size)
    ASSERT_NE(problem(bytes.substr(0, size)), "") << size;
  EXPECT_NE(problem(bytes + '\0'), "");
  EXPECT_NE(problem(bytes + bytes), "");
}

TEST(CacheEntry, SaysWhatIsWrong) {
  std::string bytes = encode(entry_of(1));
  EXPECT_EQ(problem(""), "it is empty");
  EXPECT_EQ(problem("short"), "it is cut off");
  EXPECT_EQ(problem(std::string(1000, 'x')), "it does not begin as an entry does");
  EXPECT_EQ(problem(bytes.substr(0, 100)), "its size is not the one that it names");
  bytes.back() = static_cast<char>(bytes.back() + 1);
  EXPECT_EQ(problem(bytes), "the checksum of its payload is wrong");
  bytes[8] = 9;
  EXPECT_EQ(problem(bytes), "its format version is 9, not 1");
}

TEST(CacheEntry, LargeOnesAreRefused) {
  Entry entry = entry_of(1, 0);
  entry.payload.resize(kMaxEntryBytes);
  EXPECT_THROW(encode(entry), BadEntry);
}

}  // namespace
}  // namespace ourjit::cache
