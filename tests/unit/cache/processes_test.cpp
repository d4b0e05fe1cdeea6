// Many processes on one cache, and processes that die while they write.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

#include "cache/contents.h"
#include "cache/scratch_check.h"
#include "cache/store.h"

namespace ourjit::cache {
namespace {

using namespace testing;
using Clock = std::chrono::steady_clock;

/// True if the entry is there and right, or is not there at all.
bool complete_or_absent(const std::string& folder, int number, size_t bytes) {
  Watched w(folder);
  const auto found = w.store->load(key_of(number));
  return (!found || same(*found, entry_of(number, bytes))) && w.store->counters().corrupt == 0;
}

TEST(CacheProcesses, KilledAtEachStepOfAWrite) {
  for (const bool replaces : {false, true})
    for (const char* step : {"make folder", "open", "create", "write", "close", "publish"}) {
      const Scratch scratch;
      if (replaces) Watched(scratch.cache()).store->save(entry_of(1));
      if (replaces && std::strcmp(step, "make folder") == 0) continue;
      const std::string answer = in_child([&]() -> std::string {
        Watched w(scratch.cache(), 1 << 30, [&](const char* s) {
          if (std::strcmp(s, step) == 0) raise(SIGKILL);
          return 0;
        });
        w.store->save(entry_of(1));
        return "not killed";
      });
      EXPECT_EQ(answer, "ended by signal 9") << step;
      EXPECT_TRUE(complete_or_absent(scratch.cache(), 1, 3000)) << step;
      Watched w(scratch.cache());
      EXPECT_EQ(w.store->load(key_of(1)).has_value(), replaces) << step;
      w.store->save(entry_of(1));
      EXPECT_TRUE(w.store->load(key_of(1))) << step;
      EXPECT_LE(temporaries_in(scratch.cache()), 1) << step;
      std::printf("  killed before: %-30s %s\n", step, "survived");
    }
}

TEST(CacheProcesses, KilledAtRandomTimes) {
  const Scratch scratch;
  std::mt19937 random(1);
  int killed = 0;
  for (int round = 0; round < 60; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      Watched w(scratch.cache());
      for (int i = 0;; i = (i + 1) % 8) w.store->save(entry_of(i, 200000));
    }
    usleep(random() % 8000);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    killed += WIFSIGNALED(status);
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(complete_or_absent(scratch.cache(), i, 200000));
  }
  const int left = std::filesystem::exists(scratch.cache()) ? temporaries_in(scratch.cache()) : 0;
  EXPECT_LE(left, killed);
  std::printf("  %d writers killed, %d unfinished files left for the next sweep\n", killed, left);
}

double seconds_to_run() {
  const char* given = std::getenv("OURJIT_TEST_CACHE_SECONDS");
  return given ? std::atof(given) : 3;
}

/// What one of the processes does until `end`; returns "", or what went wrong.
std::string hammer(const std::string& folder, int process, Clock::time_point end, int64_t* calls) {
  constexpr int64_t kLimit = 3 << 20;  // half of what they write
  Watched w(folder, kLimit);
  std::mt19937 random(static_cast<unsigned>(process));
  while (Clock::now() < end) {
    const int number = static_cast<int>(random() % 200);
    const size_t bytes = 1000 + static_cast<size_t>(number) * 300;
    const unsigned turn = random() % 1000;
    ++*calls;
    if (process == 0 && turn < 5) {
      prune(folder, kLimit / 4);
    } else if (process == 0 && turn == 5) {
      clear(folder);
    } else if (process == 0 && turn == 6) {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    } else if (process == 1 && turn < 5) {
      for (const Listed& l : list(folder, true))
        if (l.state != "ok" && l.state != "temporary")
          return "listed as " + l.state + ": " + l.problem;
    } else if (const auto found = w.store->load(key_of(number))) {
      if (!same(*found, entry_of(number, bytes))) return "a wrong payload";
    } else {
      w.store->save(entry_of(number, bytes));
    }
  }
  const Counters c = w.store->counters();
  if (c.corrupt != 0) return "corrupt entries: " + std::to_string(c.corrupt);
  if (c.refused != 0) return "refused: " + w.warnings[0];
  if (c.hits == 0 || c.stores == 0) return "nothing was read or written";
  return "";
}

TEST(CacheProcesses, ManyShareOne) {
  const Scratch scratch;
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(seconds_to_run()));
  constexpr int kProcesses = 8;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    int64_t calls = 0;
    std::string problem = hammer(scratch.cache(), process, end, &calls);
    if (!problem.empty()) problem = "process " + std::to_string(process) + ": " + problem + "\n";
    write_bytes(ends[1], problem + "#" + std::to_string(calls) + "\n");
    _exit(problem.empty() ? 0 : 1);
  }
  close(ends[1]);
  std::string answers;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    answers.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  int64_t calls = 0;
  for (size_t at = 0; (at = answers.find('#', at)) != std::string::npos; ++at)
    calls += std::atoll(answers.c_str() + at + 1);
  std::printf("  %d processes, %lld calls\n", kProcesses, static_cast<long long>(calls));
  EXPECT_EQ(answers.find("process"), std::string::npos) << answers;
  for (const Listed& l : list(scratch.cache(), true)) EXPECT_EQ(l.state, "ok") << l.name;
}

}  // namespace
}  // namespace ourjit::cache
