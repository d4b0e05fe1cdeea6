#include "cache/key.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cache/scratch_check.h"

namespace ourjit::cache {
namespace {

using testing::Scratch;
using testing::Watched;

const Key kKey = {{"build", "b1"}, {"kernel", "for i:\n"}, {"options", ""}, {"target", "avx2"}};

TEST(CacheKey, OrderDoesNotMatter) {
  Key key = kKey;
  std::sort(key.begin(), key.end());
  do {
    EXPECT_EQ(digest(key), digest(kKey));
    EXPECT_TRUE(differences(key, kKey).empty());
  } while (std::next_permutation(key.begin(), key.end()));
}

TEST(CacheKey, DigestIsStable) {
  // Entries of other processes, builds and machines are found by it.
  EXPECT_EQ(digest({}), "99aa06d3014798d86001c324468d497f");
  EXPECT_TRUE(is_digest(digest(kKey)));
  EXPECT_FALSE(is_digest("../" + digest(kKey).substr(3)));
  EXPECT_FALSE(is_digest(digest(kKey) + "0"));
}

TEST(CacheKey, EveryPartMatters) {
  std::vector<Key> keys = {kKey, {}};
  for (size_t i = 0; i < kKey.size(); ++i) {
    Key changed = kKey;
    changed[i].value += "x";
    keys.push_back(changed);
    EXPECT_EQ(differences(kKey, changed), std::vector<std::string>{kKey[i].name});
    changed = kKey;
    changed[i].name += "x";
    keys.push_back(changed);
    changed = kKey;
    changed.erase(changed.begin() + static_cast<ptrdiff_t>(i));
    keys.push_back(changed);
    EXPECT_EQ(differences(changed, kKey), std::vector<std::string>{kKey[i].name});
    changed = kKey;
    changed.push_back(kKey[i]);
    keys.push_back(changed);
    EXPECT_EQ(differences(kKey, changed), std::vector<std::string>{kKey[i].name});
  }
  // The same text, cut at other places.
  keys.push_back({{"ab", "c"}});
  keys.push_back({{"a", "bc"}});
  keys.push_back({{"a", "b"}, {"c", ""}});
  std::vector<std::string> digests;
  for (const Key& key : keys) digests.push_back(digest(key));
  std::sort(digests.begin(), digests.end());
  EXPECT_EQ(std::unique(digests.begin(), digests.end()), digests.end());
}

/// Two values of one size for which XXH3 gives the same: where the low half of a word is that of
/// the secret, the product is 0, and the high half is only added, so that two such halves can
/// change places.
std::pair<std::string, std::string> colliding_values() {
  constexpr size_t kBefore =
      8 + 48 + 8;  // what digest() puts before the value of the only component
  static_assert(kBefore % 64 == 0);
  std::string a(512, 'v');
  const auto set = [&](std::string& text, size_t stripe, const char* high) {
    std::memcpy(text.data() + stripe * 64, XXH3_kSecret + (stripe + kBefore / 64) * 8, 4);
    std::memcpy(text.data() + stripe * 64 + 4, high, 4);
  };
  std::string b = a;
  set(a, 1, "left");
  set(a, 3, "righ");
  set(b, 1, "righ");
  set(b, 3, "left");
  return {a, b};
}

TEST(CacheKey, KeysOfOneDigestAreTwoEntries) {
  const auto [a, b] = colliding_values();
  const Key one = {{std::string(48, 'n'), a}}, other = {{std::string(48, 'n'), b}};
  ASSERT_NE(one, other);
  ASSERT_EQ(digest(one), digest(other));
  const Scratch scratch;
  Watched w(scratch.cache());
  w.store->save({one, {}, "of one"});
  EXPECT_FALSE(w.store->load(other));
  EXPECT_EQ(w.store->load(one)->payload, "of one");
  w.store->save({other, {}, "of other"});
  EXPECT_FALSE(w.store->load(one));
  EXPECT_EQ(w.store->load(other)->payload, "of other");
  EXPECT_TRUE(w.warnings.empty());
}

}  // namespace
}  // namespace ourjit::cache
