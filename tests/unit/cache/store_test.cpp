#include "cache/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "cache/contents.h"
#include "cache/scratch_check.h"

namespace ourjit::cache {
namespace {

using testing::entry_of;
using testing::key_of;
using testing::path_of;
using testing::same;
using testing::Scratch;
using testing::Watched;

struct stat status_of(const std::string& path) {
  struct stat s{};
  EXPECT_EQ(lstat(path.c_str(), &s), 0) << path;
  return s;
}

/// Makes a file look as if it was used so many seconds ago.
void age(const std::string& path, time_t seconds) {
  const timespec then = {time(nullptr) - seconds, 0};
  const timespec times[2] = {then, then};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

TEST(CacheStore, KeepsEntries) {
  const Scratch scratch;
  Watched a(scratch.cache()), b(scratch.cache());
  EXPECT_FALSE(a.store->load(key_of(1)));
  EXPECT_FALSE(std::filesystem::exists(scratch.cache()));
  a.store->save(entry_of(1));
  a.store->save(entry_of(2));
  ASSERT_TRUE(b.store->load(key_of(1)));
  EXPECT_TRUE(same(*b.store->load(key_of(1)), entry_of(1)));
  EXPECT_TRUE(same(*b.store->load(key_of(2)), entry_of(2)));
  EXPECT_FALSE(b.store->load(key_of(3)));
  Key changed = key_of(1);
  changed[0].value = "b2";
  EXPECT_FALSE(b.store->load(changed));
  std::reverse(changed.begin(), changed.end());
  changed.back().value = "b1";
  EXPECT_TRUE(b.store->load(changed));
  EXPECT_EQ(a.store->counters().stores, 2);
  EXPECT_EQ(b.store->counters().hits, 4);
  EXPECT_EQ(b.store->counters().misses, 2);
  EXPECT_TRUE(a.warnings.empty() && b.warnings.empty());
}

TEST(CacheStore, LaterEntriesReplaceEarlier) {
  const Scratch scratch;
  Watched w(scratch.cache());
  w.store->save(entry_of(1));
  Entry other = entry_of(1);
  other.payload = "other";
  w.store->save(other);
  EXPECT_EQ(w.store->load(key_of(1))->payload, "other");
}

TEST(CacheStore, IsOfItsOwnerAlone) {
  const Scratch scratch;
  const mode_t before = umask(0);
  Watched w(scratch.path() + "/a/b/cache/");
  w.store->save(entry_of(1));
  umask(before);
  for (const std::string folder : {"/a", "/a/b", "/a/b/cache"})
    EXPECT_EQ(status_of(scratch.path() + folder).st_mode & 0777, 0700u);
  const std::string path = path_of(w.store->folder(), key_of(1));
  EXPECT_EQ(status_of(path).st_mode & 0777, 0600u);
  EXPECT_EQ(status_of(std::filesystem::path(path).parent_path()).st_mode & 0777, 0700u);
}

TEST(CacheStore, DefaultFolder) {
  const char* home = std::getenv("HOME");
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const std::string old_home = home ? home : "", old_cache = cache ? cache : "";
  setenv("XDG_CACHE_HOME", "/x/cache/", 1);
  setenv("HOME", "/home/y", 1);
  EXPECT_EQ(default_folder(), "/x/cache/ourjit");
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(default_folder(), "/home/y/.cache/ourjit");
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  EXPECT_TRUE(default_folder().empty() || default_folder().ends_with("/.cache/ourjit"));
  if (geteuid() == 0) {
    // A user that the system does not know.
    EXPECT_EQ(testing::in_child([] {
                if (seteuid(54321) != 0) return std::string("cannot become another user");
                Watched w("");
                w.store->save(entry_of(1));
                const bool miss = !w.store->load(key_of(1));
                return default_folder() + (miss && w.warnings.size() == 1 ? "off" : "on");
              }),
              "off");
  }
  if (home) setenv("HOME", old_home.c_str(), 1);
  if (cache) setenv("XDG_CACHE_HOME", old_cache.c_str(), 1);
}

TEST(CacheStore, HitsTouchAtMostOnceAnHour) {
  const Scratch scratch;
  Watched w(scratch.cache());
  w.store->save(entry_of(1));
  const std::string path = path_of(scratch.cache(), key_of(1));
  const auto modified = [&] { return status_of(path).st_mtim; };
  const auto equal = [](timespec a, timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
  };
  age(path, 1800);
  const timespec first = modified();
  EXPECT_TRUE(w.store->load(key_of(1)));
  EXPECT_TRUE(equal(first, modified()));
  age(path, 2 * 3600);
  EXPECT_TRUE(w.store->load(key_of(1)));
  const timespec second = modified();
  EXPECT_GT(second.tv_sec, first.tv_sec);
  EXPECT_TRUE(w.store->load(key_of(1)));
  EXPECT_TRUE(equal(second, modified()));
}

TEST(CacheStore, StaysWithinItsLimit) {
  const Scratch scratch;
  constexpr int64_t kLimit = 10 << 20;
  Watched w(scratch.cache(), kLimit);
  for (int i = 0; i < 500; ++i) {
    w.store->save(entry_of(i, 100 << 10));
    // The first ones are in use.
    for (int used = 0; i >= 5 && used < 5; ++used) EXPECT_TRUE(w.store->load(key_of(used))) << i;
    age(path_of(scratch.cache(), key_of(i)), i < 5 ? 0 : 100000 - i);
  }
  const std::vector<Listed> left = list(scratch.cache());
  const int64_t bytes = std::accumulate(left.begin(), left.end(), int64_t{0},
                                        [](int64_t n, const Listed& l) { return n + l.bytes; });
  EXPECT_LE(bytes, kLimit + kLimit / 10);
  EXPECT_GE(bytes, kLimit / 2);
  EXPECT_TRUE(w.store->load(key_of(499)));
  EXPECT_FALSE(w.store->load(key_of(100)));
  EXPECT_EQ(w.store->counters().evicted + static_cast<int64_t>(left.size()), 500);
  EXPECT_TRUE(w.warnings.empty());
}

TEST(CacheStore, EntriesBeyondTheLimitAreNotKept) {
  const Scratch scratch;
  Watched w(scratch.cache(), 1000);
  w.store->save(entry_of(1, 3000));
  EXPECT_FALSE(w.store->load(key_of(1)));
  EXPECT_EQ(w.store->counters().refused, 1);
}

TEST(CacheContents, SweepsOldLeftovers) {
  const Scratch scratch;
  Watched w(scratch.cache());
  w.store->save(entry_of(1));
  const std::string folder =
      std::filesystem::path(path_of(scratch.cache(), key_of(1))).parent_path();
  for (const std::string name : {"/.h.1.aa.tmp", "/.h.2.bb.tmp", "/.nfs0001", "/other"})
    testing::put(folder + name, "x");
  age(folder + "/.h.1.aa.tmp", 7200);
  age(folder + "/.nfs0001", 7200);
  age(folder + "/other", 7200);
  const Removed removed = prune(scratch.cache(), 1 << 30);
  EXPECT_EQ(removed.temporary, 1);
  EXPECT_EQ(removed.files_left, 1);
  EXPECT_FALSE(std::filesystem::exists(folder + "/.h.1.aa.tmp"));
  for (const std::string name : {"/.h.2.bb.tmp", "/.nfs0001", "/other"})
    EXPECT_TRUE(std::filesystem::exists(folder + name)) << name;
  EXPECT_TRUE(w.store->load(key_of(1)));
}

TEST(CacheContents, OneOfThoseWhoAskSweeps) {
  const Scratch scratch;
  const Opened folder = open_folder(scratch.path(), false);
  ASSERT_TRUE(folder);
  const int fd = folder.fd.get();
  EXPECT_TRUE(claim_sweep(fd, false));
  EXPECT_FALSE(claim_sweep(fd, false));
  EXPECT_TRUE(claim_sweep(fd, true));
  age(scratch.path() + "/swept", 7200);
  std::atomic<int> claims = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { claims += claim_sweep(fd, false); });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(claims, 1);
}

TEST(CacheContents, ListsWhatThereIs) {
  const Scratch scratch;
  EXPECT_TRUE(list(scratch.cache()).empty());
  Watched w(scratch.cache());
  for (int i = 0; i < 4; ++i) w.store->save(entry_of(i));
  const auto path = [&](int i) { return path_of(scratch.cache(), key_of(i)); };
  std::string bytes = testing::bytes_in(path(1));
  bytes.back() = static_cast<char>(bytes.back() + 1);
  testing::put(path(1), bytes);
  testing::put(path(2), "");
  chmod(path(3).c_str(), 0666);
  const std::string other = path(0).substr(0, path(0).size() - 1) + "0";
  testing::put(other, "of another version");
  testing::put(scratch.cache() + "/\x1b[31m", "x");
  const auto states = [&](bool payloads) {
    std::vector<std::string> found;
    for (const Listed& l : list(scratch.cache(), payloads)) found.push_back(l.state);
    std::sort(found.begin(), found.end());
    return found;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(states(false), (Texts{"corrupt", "foreign", "ok", "ok", "refused", "version"}));
  EXPECT_EQ(states(true), (Texts{"corrupt", "corrupt", "foreign", "ok", "refused", "version"}));
  EXPECT_TRUE(same(read(scratch.cache(), digest(key_of(0))), entry_of(0)));
  EXPECT_THROW(read(scratch.cache(), digest(key_of(1))), BadEntry);
  EXPECT_THROW(read(scratch.cache(), digest(key_of(9))), UserError);
  EXPECT_THROW(read(scratch.cache(), "../../../../../etc/passwd"), UserError);
  EXPECT_EQ(clear(scratch.cache()).files, 5);
  EXPECT_EQ(states(true), Texts{"foreign"});
}

TEST(CacheStore, ThreadsShareOne) {
  const Scratch scratch;
  Watched w(scratch.cache(), 200 << 10);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const int number = (i * 7 + t) % 100;
        if (const auto found = w.store->load(key_of(number))) {
          wrong += !same(*found, entry_of(number));
        } else {
          w.store->save(entry_of(number));
        }
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  const Counters c = w.store->counters();
  EXPECT_EQ(c.hits + c.misses, 1600);
  EXPECT_EQ(c.errors + c.corrupt + c.refused, 0);
  EXPECT_TRUE(w.warnings.empty());
}

TEST(CacheStore, ForksGoOn) {
  const Scratch scratch;
  Watched w(scratch.cache());
  std::atomic<bool> stop = false;
  std::thread busy([&] {
    for (int i = 0; !stop; i = (i + 1) % 50) w.store->save(entry_of(i));
  });
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(testing::in_child([&] {
                w.store->save(entry_of(100 + i));
                const auto found = w.store->load(key_of(100 + i));
                return std::string(found && same(*found, entry_of(100 + i)) ? "fine" : "not found");
              }),
              "fine");
  stop = true;
  busy.join();
  EXPECT_TRUE(w.store->load(key_of(119)));
}

}  // namespace
}  // namespace ourjit::cache
