// The disk cache: entries by key, each in a file of its own.
//
// A store keeps no file open, no thread and no lock: between two calls there is nothing that a fork
// could tear, and what other processes do to the folder meanwhile shows at the next call.
//   - Contents that are wrong (cut off, changed, under another's name) delete the entry; an error
//   of
//     the file system never does. Both are a miss.
//   - What another user owns, or can write, is not used.
//   - A folder that cannot be written is read.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cache/entry.h"
#include "cache/files.h"
#include "cache/key.h"

namespace ourjit::cache {

struct Counters {
  int64_t hits = 0;
  int64_t misses = 0;
  int64_t stores = 0;
  int64_t corrupt = 0;  // entries whose contents were wrong
  int64_t refused = 0;  // what others can write, and entries too large to keep
  int64_t evicted = 0;
  int64_t errors = 0;  // of the file system
};

/// ourjit in $XDG_CACHE_HOME, else in .cache of $HOME, else of the home directory that the system
/// knows; empty if there is none.
std::string default_folder();

/// Thread-safe. Nothing that the file system does or an entry holds raises an exception.
class Store {
 public:
  using Warn = std::function<void(const std::string&)>;

  /// The store in `folder`, or in default_folder() if that is empty. The folder is made by the
  /// first save. `warn` is called at most once for each kind of trouble; it must not raise.
  static std::shared_ptr<Store> open(const std::string& folder, int64_t limit_bytes, Warn warn,
                                     BeforeStep before = {});

  /// The entry of an equal key.
  std::optional<Entry> load(const Key& key);
  /// Keeps an entry, in place of an older one of the same key. Entries used least recently go when
  /// all have more than the limit.
  void save(const Entry& entry);

  Counters counters() const;
  /// Empty if there is none.
  const std::string& folder() const { return folder_; }

 private:
  enum class Trouble { no_folder, refused, corrupt, read_only, full, failed };

  Store(std::string folder, int64_t limit_bytes, Warn warn, BeforeStep before);
  std::optional<Entry> find(const Key& key);
  int write(const std::string& digest, const std::string& bytes);
  void sweep_if_due(int folder, int64_t written);
  bool usable(const Opened& opened, const std::string& path);
  void failed_to_save(int error);
  void warn(Trouble trouble, const std::string& message);

  const std::string folder_;
  const int64_t limit_bytes_;
  const Warn warn_;
  const BeforeStep before_;
  std::atomic<bool> off_ = false;
  std::atomic<bool> read_only_ = false;
  std::atomic<unsigned> warned_ = 0;        // a bit for each Trouble
  std::atomic<int64_t> unswept_bytes_ = 0;  // written since the last look at the whole folder
  std::atomic<int64_t> next_look_ = 0;      // seconds
  std::atomic<int64_t> hits_ = 0, misses_ = 0, stores_ = 0, corrupt_ = 0, refused_ = 0,
                       evicted_ = 0, errors_ = 0;
};

}  // namespace ourjit::cache
