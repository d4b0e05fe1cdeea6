// What can be wrong with a cache, one row a fault: the program goes on, nothing wrong is read, and
// the store works again or is off.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "cache/contents.h"
#include "cache/hash.h"
#include "cache/scratch_check.h"
#include "cache/store.h"

namespace ourjit::cache {
namespace {

using namespace testing;

void append_row(const char* name, bool survived) {
  std::printf("  %-44s %s\n", name, survived ? "survived" : "FAILED");
}

// --- contents -----------------------------------------------------------------------------------

/// Changes the file of entry 1. Entry 2 lies in the same cache.
using Damage = std::function<void(const std::string& path, const std::string& cache)>;

Damage bytes_at(size_t offset, const std::string& value) {
  return [=](const std::string& path, const std::string&) {
    put(path, bytes_in(path).replace(offset, value.size(), value));
  };
}

struct ContentFault {
  const char* name;
  Damage damage;
};

const ContentFault kContentFaults[] = {
    {"empty", [](const std::string& path, const std::string&) { put(path, ""); }},
    {"half of it",
     [](const std::string& path, const std::string&) {
       put(path, bytes_in(path).substr(0, bytes_in(path).size() / 2));
     }},
    {"a byte more",
     [](const std::string& path, const std::string&) { put(path, bytes_in(path) + "x"); }},
    {"zeros (a crash before its blocks were written)",
     [](const std::string& path, const std::string&) {
       put(path, std::string(bytes_in(path).size(), '\0'));
     }},
    {"the file of another key",
     [](const std::string& path, const std::string& cache) {
       put(path, bytes_in(path_of(cache, key_of(2))));
     }},
    {"forged: of another kernel, checksums right",
     [](const std::string& path, const std::string&) {
       Entry forged = entry_of(1);
       forged.key[1].value += " ";
       put(path, encode(forged));
     }},
    {"an old format under a new name", bytes_at(8, {"\0\0\0\0", 4})},
    {"giant number of notes", bytes_at(12, "\xff\xff\xff\xff")},
    {"giant number of components", bytes_at(16, "\xff\xff\xff\xff")},
    {"giant head", bytes_at(20, "\xff\xff\xff\xff")},
    {"giant payload", bytes_at(24, "\xff\xff\xff\xff\xff\xff\xff\xff")},
    {"a file of 1 TiB, mostly a hole",
     [](const std::string& path, const std::string&) {
       ASSERT_EQ(truncate(path.c_str(), off_t{1} << 40), 0);
     }},
    {"text",
     [](const std::string& path, const std::string&) { put(path, std::string(4000, 'x')); }},
};

/// True if the damaged entry was a miss, was deleted, counted and reported once, and can be made
/// anew.
bool recovers(const Damage& damage) {
  const Scratch scratch;
  Watched w(scratch.cache());
  w.store->save(entry_of(1));
  w.store->save(entry_of(2));
  const std::string path = path_of(scratch.cache(), key_of(1));
  damage(path, scratch.cache());
  const bool missed = !w.store->load(key_of(1)) && w.store->counters().corrupt == 1;
  const bool deleted = !std::filesystem::exists(path);
  w.store->save(entry_of(1));
  const auto again = w.store->load(key_of(1)), other = w.store->load(key_of(2));
  return missed && deleted && again && same(*again, entry_of(1)) && other &&
         same(*other, entry_of(2)) && w.warnings.size() == 1;
}

TEST(CacheFaults, WrongContents) {
  for (const ContentFault& fault : kContentFaults) {
    const bool survived = recovers(fault.damage);
    append_row(fault.name, survived);
    EXPECT_TRUE(survived) << fault.name;
  }
}

TEST(CacheFaults, EveryLengthAndManyFlips) {
  const Scratch scratch;
  Watched w(scratch.cache());
  w.store->save(entry_of(1));
  const std::string path = path_of(scratch.cache(), key_of(1)), good = bytes_in(path);
  int faults = 0, survived = 0;
  const auto try_one = [&](const std::string& bytes) {
    put(path, bytes);
    ++faults;
    survived += !w.store->load(key_of(1)) && !std::filesystem::exists(path);
  };
  for (size_t size = 0; size < good.size(); size += 64) try_one(good.substr(0, size));
  for (size_t i = 0; i < 2000; ++i) {
    std::string bytes = good;
    char& byte = bytes[i * 7919 % bytes.size()];
    byte = static_cast<char>(byte ^ (1 << i % 8));
    try_one(bytes);
  }
  append_row("cut off at each 64 bytes, 2,000 flipped bits", survived == faults);
  EXPECT_EQ(survived, faults);
  EXPECT_EQ(w.store->counters().corrupt, faults);
  EXPECT_EQ(w.warnings.size(), 1u);
}

// --- what lies in the place of an entry or folder ------------------------------------------------

struct PlaceFault {
  const char* name;
  Damage damage;
  bool heals;  // by the next save
};

const PlaceFault kPlaceFaults[] = {
    {"entry that others can write",
     [](const std::string& path, const std::string&) { chmod(path.c_str(), 0602); }, true},
    {"entry that the group can write",
     [](const std::string& path, const std::string&) { chmod(path.c_str(), 0620); }, true},
    {"symbolic link for an entry",
     [](const std::string& path, const std::string& cache) {
       std::filesystem::rename(path, cache + "/real");
       std::filesystem::create_symlink(cache + "/real", path);
     },
     true},
    {"pipe for an entry",
     [](const std::string& path, const std::string&) {
       unlink(path.c_str());
       ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
     },
     true},
    {"folder for an entry",
     [](const std::string& path, const std::string&) {
       unlink(path.c_str());
       ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
     },
     false},
    {"file for a folder of entries",
     [](const std::string& path, const std::string&) {
       const std::filesystem::path folder = std::filesystem::path(path).parent_path();
       std::filesystem::remove_all(folder);
       put(folder, "x");
     },
     false},
    {"symbolic link for a folder of entries",
     [](const std::string& path, const std::string& cache) {
       const std::filesystem::path folder = std::filesystem::path(path).parent_path();
       std::filesystem::rename(folder, cache + "/real");
       std::filesystem::create_directory_symlink(cache + "/real", folder);
     },
     false},
    {"folder of entries that others can write",
     [](const std::string& path, const std::string&) {
       chmod(std::filesystem::path(path).parent_path().c_str(), 0777);
     },
     false},
    {"cache that others can write",
     [](const std::string&, const std::string& cache) { chmod(cache.c_str(), 01777); }, false},
    {"symbolic link for the cache",
     [](const std::string&, const std::string& cache) {
       std::filesystem::rename(cache, cache + ".real");
       std::filesystem::create_directory_symlink(cache + ".real", cache);
     },
     false},
    {"file for the cache",
     [](const std::string&, const std::string& cache) {
       std::filesystem::remove_all(cache);
       put(cache, "x");
     },
     false},
};

bool refuses(const PlaceFault& fault) {
  const Scratch scratch;
  Watched(scratch.cache()).store->save(entry_of(1));
  fault.damage(path_of(scratch.cache(), key_of(1)), scratch.cache());
  Watched w(scratch.cache() + "/");
  const bool missed = !w.store->load(key_of(1)) && w.store->counters().refused == 1;
  w.store->save(entry_of(1));
  const bool found = w.store->load(key_of(1)).has_value();
  return missed && found == fault.heals && !w.warnings.empty() && w.warnings.size() <= 2;
}

TEST(CacheFaults, RefusedPlaces) {
  for (const PlaceFault& fault : kPlaceFaults) {
    const bool survived = refuses(fault);
    append_row(fault.name, survived);
    EXPECT_TRUE(survived) << fault.name;
  }
}

TEST(CacheFaults, OfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  const auto given = [](const std::string& path) {
    ASSERT_EQ(chown(path.c_str(), 65534, 65534), 0);
  };
  const PlaceFault faults[] = {
      {"entry of another user", [&](const std::string& path, const std::string&) { given(path); },
       true},
      {"cache of another user", [&](const std::string&, const std::string& cache) { given(cache); },
       false},
  };
  for (const PlaceFault& fault : faults) {
    const bool survived = refuses(fault);
    append_row(fault.name, survived);
    EXPECT_TRUE(survived) << fault.name;
  }
}

// --- errors of the file system -------------------------------------------------------------------

/// True if a store in which `step` fails with `error` warns, once of reading and once of writing,
/// deletes nothing and leaves no unfinished file, and reads what was there when the error is over.
bool passes_over(const char* step, int error) {
  const Scratch scratch;
  Watched(scratch.cache()).store->save(entry_of(1));
  bool fails = true;
  Watched w(scratch.cache(), 1 << 30,
            [&](const char* s) { return fails && std::strcmp(s, step) == 0 ? error : 0; });
  for (int i = 0; i < 3; ++i) {
    w.store->load(key_of(1));
    w.store->save(entry_of(1));
    w.store->save(entry_of(100 + i));
  }
  const size_t warnings = w.warnings.size();
  const bool warned = warnings >= 1 && warnings <= 2 && w.store->counters().errors > 0;
  const bool clean = temporaries_in(scratch.cache()) == 0;
  fails = false;
  const auto found = w.store->load(key_of(1));
  return warned && clean && found && same(*found, entry_of(1));
}

TEST(CacheFaults, ErrorsOfTheFileSystem) {
  for (const char* step : {"open", "read", "create", "write", "close", "publish"})
    for (const int error : {EIO, ESTALE, EBUSY, ENOSPC, EDQUOT, EMFILE, EACCES, EROFS}) {
      const bool survived = passes_over(step, error);
      const std::string name = std::string(strerror(error)) + " at " + step;
      append_row(name.c_str(), survived);
      EXPECT_TRUE(survived) << name;
    }
}

TEST(CacheFaults, CorruptEntryThatCannotBeDeleted) {
  const Scratch scratch;
  Watched(scratch.cache()).store->save(entry_of(1));
  put(path_of(scratch.cache(), key_of(1)), "x");
  Watched w(scratch.cache(), 1 << 30,
            [](const char* s) { return std::strcmp(s, "delete") == 0 ? EROFS : 0; });
  EXPECT_FALSE(w.store->load(key_of(1)));
  EXPECT_FALSE(w.store->load(key_of(1)));
  EXPECT_EQ(w.warnings.size(), 1u);
}

TEST(CacheFaults, NamesAreTooLong) {
  const Scratch scratch;
  Watched(scratch.path() + "/" + std::string(255, 'n')).store->save(entry_of(1));
  Watched longest(scratch.path() + "/" + std::string(255, 'n'));
  EXPECT_TRUE(longest.store->load(key_of(1)));
  Watched w(scratch.path() + "/" + std::string(300, 'n'));
  w.store->save(entry_of(1));
  EXPECT_FALSE(w.store->load(key_of(1)));
  EXPECT_EQ(w.warnings.size(), 1u);
  append_row("a name of more than 255 characters", w.warnings.size() == 1);
}

TEST(CacheFaults, FolderDeletedMeanwhile) {
  const Scratch scratch;
  Watched w(scratch.cache());
  w.store->save(entry_of(1));
  std::filesystem::remove_all(scratch.cache());
  EXPECT_FALSE(w.store->load(key_of(1)));
  w.store->save(entry_of(1));
  EXPECT_TRUE(w.store->load(key_of(1)));
  // Between the steps of a save.
  int deleted = 0;
  Watched other(scratch.cache(), 1 << 30, [&](const char* step) {
    if (std::strcmp(step, "create") == 0 && deleted++ == 0)
      std::filesystem::remove_all(scratch.cache());
    return 0;
  });
  other.store->save(entry_of(2));
  EXPECT_TRUE(other.store->load(key_of(2)));
  EXPECT_TRUE(w.warnings.empty() && other.warnings.empty());
  append_row("folder deleted during the run", other.warnings.empty());
}

// --- real file systems, where the rights of the tests suffice ------------------------------------

/// In a child whose mounts are its own: mounts a tmpfs at the cache and calls `work`. A text that
/// begins with "skip" says why that could not be done.
std::string on_tmpfs(const std::string& cache, const char* options,
                     const std::function<std::string()>& work) {
  return in_child([&]() -> std::string {
    mkdir(cache.c_str(), 0700);
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", cache.c_str(), "tmpfs", 0, options) != 0)
      return std::string("skip: cannot mount: ") + strerror(errno);
    return work();
  });
}

TEST(CacheFaults, FullDisk) {
  const Scratch scratch;
  const std::string answer = on_tmpfs(scratch.cache(), "size=1m,mode=0700", [&]() -> std::string {
    Watched w(scratch.cache());
    int wrong = 0, kept = 0;
    for (int i = 0; i < 100; ++i) w.store->save(entry_of(i, 50000));
    for (int i = 0; i < 100; ++i)
      if (const auto found = w.store->load(key_of(i))) {
        ++kept;
        wrong += !same(*found, entry_of(i, 50000));
      }
    if (wrong || kept < 5 || kept > 25) return "kept " + std::to_string(kept);
    if (temporaries_in(scratch.cache()) != 0) return "unfinished files are left";
    if (w.warnings.size() != 1) return "warnings: " + std::to_string(w.warnings.size());
    return "fine";
  });
  if (answer.starts_with("skip")) GTEST_SKIP() << answer;
  append_row("a full disk (tmpfs of 1 MiB)", answer == "fine");
  EXPECT_EQ(answer, "fine");
}

TEST(CacheFaults, ReadOnlyFileSystem) {
  const Scratch scratch;
  const std::string answer = on_tmpfs(scratch.cache(), "size=1m,mode=0700", [&]() -> std::string {
    Watched(scratch.cache()).store->save(entry_of(1));
    if (mount("none", scratch.cache().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0)
      return std::string("skip: cannot mount again: ") + strerror(errno);
    Watched w(scratch.cache());
    for (int i = 0; i < 3; ++i) {
      if (!w.store->load(key_of(1))) return "cannot be read";
      w.store->save(entry_of(2));
    }
    return w.warnings.size() == 1 && w.store->counters().errors == 1 ? "fine" : "not latched";
  });
  if (answer.starts_with("skip")) GTEST_SKIP() << answer;
  append_row("a read-only file system", answer == "fine");
  EXPECT_EQ(answer, "fine");
}

TEST(CacheFaults, FolderWithoutRights) {
  const Scratch scratch;
  const std::string answer = in_child([&]() -> std::string {
    // As root everything may be written.
    chmod(scratch.path().c_str(), 0777);
    if (geteuid() == 0 && seteuid(54321) != 0) return "cannot become another user";
    Watched(scratch.cache()).store->save(entry_of(1));
    for (const auto& sub : std::filesystem::directory_iterator(scratch.cache()))
      chmod(sub.path().c_str(), 0500);
    chmod(scratch.cache().c_str(), 0500);
    Watched w(scratch.cache());
    for (int i = 0; i < 3; ++i) {
      if (!w.store->load(key_of(1))) return "cannot be read";
      w.store->save(entry_of(2));
    }
    if (w.warnings.size() != 1 || w.store->counters().errors != 1) return "not latched";
    chmod(scratch.cache().c_str(), 0000);
    Watched closed(scratch.cache());
    closed.store->save(entry_of(1));
    const bool missed = !closed.store->load(key_of(1));
    chmod(scratch.cache().c_str(), 0700);
    for (const auto& sub : std::filesystem::directory_iterator(scratch.cache()))
      chmod(sub.path().c_str(), 0700);
    return missed && closed.store->load(key_of(1)) ? "fine" : "entry is gone";
  });
  append_row("a folder without the right to write", answer == "fine");
  EXPECT_EQ(answer, "fine");
}

TEST(CacheFaults, FileSizeLimit) {
  const Scratch scratch;
  const std::string answer = in_child([&]() -> std::string {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {20000, 20000};
    setrlimit(RLIMIT_FSIZE, &limit);
    Watched w(scratch.cache());
    w.store->save(entry_of(1, 50000));
    w.store->save(entry_of(1, 50000));
    if (w.store->load(key_of(1)) || temporaries_in(scratch.cache()) != 0) return "a part is left";
    w.store->save(entry_of(2));
    return w.store->load(key_of(2)) && w.warnings.size() == 1 ? "fine" : "does not go on";
  });
  append_row("a limit on the size of files", answer == "fine");
  EXPECT_EQ(answer, "fine");
}

TEST(CacheFaults, NoFileDescriptors) {
  const Scratch scratch;
  const std::string answer = in_child([&]() -> std::string {
    Watched w(scratch.cache());
    w.store->save(entry_of(1));
    rlimit old{};
    getrlimit(RLIMIT_NOFILE, &old);
    const rlimit none = {0, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    const bool missed = !w.store->load(key_of(1));
    w.store->save(entry_of(2));
    setrlimit(RLIMIT_NOFILE, &old);
    return missed && w.store->load(key_of(1)) && w.warnings.size() == 1 ? "fine" : "not so";
  });
  append_row("no file descriptors", answer == "fine");
  EXPECT_EQ(answer, "fine");
}

// --- writes in parts -----------------------------------------------------------------------------

TEST(CacheFaults, ShortAndInterruptedWrites) {
  // A pipe takes a part of what is written, and signals interrupt who waits for its reader.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string bytes = entry_of(1, 2 << 20).payload;
  struct sigaction count{}, old{};
  count.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(SIGUSR1, &count, &old);
  const pthread_t writer = pthread_self();
  std::string got;
  std::thread reader([&] {
    char buffer[5000];
    for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) != 0;) {
      if (n > 0) got.append(buffer, static_cast<size_t>(n));
      // Until then the writer is in its call.
      if (got.size() < bytes.size()) pthread_kill(writer, SIGUSR1);
    }
  });
  EXPECT_EQ(write_bytes(ends[1], bytes), 0);
  close(ends[1]);
  reader.join();
  close(ends[0]);
  sigaction(SIGUSR1, &old, nullptr);
  append_row("short and interrupted writes", got == bytes);
  EXPECT_TRUE(got == bytes);
}

}  // namespace
}  // namespace ourjit::cache
