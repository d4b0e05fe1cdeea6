// What the tests of the cache share: a scratch folder, entries, and work in a child process.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cache/entry.h"
#include "cache/store.h"

namespace ourjit::cache::testing {

/// An empty folder in the system's place for temporary files, deleted with all in it at the end.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// The path of the cache in it, which nobody has made yet.
  std::string cache() const { return path_ + "/cache"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Key key_of(int number);
/// An entry whose payload follows from `number`, so that readers can check it.
Entry entry_of(int number, size_t bytes = 3000);
bool same(const Entry& a, const Entry& b);

/// A store and what it warned of.
struct Watched {
  explicit Watched(const std::string& folder, int64_t limit = 1 << 30, BeforeStep before = {});
  std::vector<std::string> warnings;
  std::shared_ptr<Store> store;
};

/// The file of an entry.
std::string path_of(const std::string& folder, const Key& key);
std::string bytes_in(const std::string& path);
void put(const std::string& path, const std::string& bytes);
/// Number of files that were not completely written.
int temporaries_in(const std::string& folder);

/// Runs `work` in a forked child and returns its answer; a text about its end if it gave none.
std::string in_child(const std::function<std::string()>& work);

}  // namespace ourjit::cache::testing
