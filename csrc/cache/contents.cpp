#include "cache/contents.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/error.h"
#include "cache/files.h"

namespace ourjit::cache {

namespace {

constexpr char kStamp[] = "swept";
constexpr double kSweepSeconds = 3600;
constexpr double kTemporarySeconds = 3600;

double seconds(const timespec& t) { return static_cast<double>(t.tv_sec) + 1e-9 * t.tv_nsec; }

double now() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return seconds(t);
}

/// The format version in the name of an entry.
std::optional<long> version_of(const std::string& name) {
  const bool fits = name.size() > 34 && name.size() < 44 && is_digest(name.substr(0, 32)) &&
                    name.compare(32, 2, ".v") == 0 &&
                    name.find_first_not_of("0123456789", 34) == std::string::npos;
  if (!fits) return {};
  return std::strtol(name.c_str() + 34, nullptr, 10);
}

bool is_folder_name(const std::string& name) {
  return name.size() == 2 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Opened open_or_raise(const std::string& folder) {
  Opened o = open_folder(folder, false);
  if (!o.refused.empty()) OURJIT_RAISE(UserError) << "the cache " << folder << " " << o.refused;
  if (!o && o.error != ENOENT)
    OURJIT_RAISE(UserError) << "cannot open the cache " << folder << ": " << strerror(o.error);
  return o;
}

/// Calls f(folder, its name, file name) for the files in all folders of entries.
template <class F>
void each_file(int folder, const F& f) {
  for (const std::string& name : names_in(folder)) {
    if (!is_folder_name(name)) continue;
    if (const Opened sub = open_folder_in(folder, name, false))
      for (const std::string& file : names_in(sub.fd.get())) f(sub.fd.get(), name, file);
  }
}

/// Reads and checks the file behind `item`, whose name is that of an entry of our version. No state
/// is set if it is gone.
void look_into(int folder, const std::string& name, bool payload, Listed& item) {
  const Opened file = open_file(folder, name);
  const auto is = [&](const char* state, const std::string& problem) {
    item.state = state;
    item.problem = problem;
  };
  if (!file.refused.empty()) return is("refused", file.refused);
  if (file.error == ENOENT) return;
  if (!file) return is("unreadable", strerror(file.error));
  const auto size = static_cast<size_t>(file.status.st_size);
  std::string bytes;
  try {
    constexpr size_t kFirst = 16384;  // most heads fit
    int error = read_bytes(file.fd.get(), 0, std::min(size, kFirst), bytes);
    if (!error) {
      const size_t head = head_bytes(bytes, size);  // raises for wrong sizes, before more is read
      const size_t wanted = payload ? size : head;
      if (wanted > bytes.size()) error = read_bytes(file.fd.get(), 0, wanted, bytes);
    }
    if (error) return is("unreadable", strerror(error));
    item.entry = payload ? decode(bytes) : decode_head(bytes, size);
    item.entry.payload.clear();
    if (digest(item.entry.key) != item.digest) throw BadEntry("it is the entry of another key");
    item.state = "ok";
  } catch (const BadEntry& e) {
    item.entry = {};
    is("corrupt", e.what());
  }
}

struct EntryFile {
  std::string folder, name;
  int64_t bytes;
  double used;
};

/// All entries, and into `temporary` the unfinished ones.
std::vector<EntryFile> entry_files(int folder, std::vector<EntryFile>& temporary) {
  std::vector<EntryFile> files;
  each_file(folder, [&](int sub, const std::string& name, const std::string& file) {
    const bool unfinished = is_temporary(file);
    if (!unfinished && !version_of(file)) return;
    struct stat s{};
    if (fstatat(sub, file.c_str(), &s, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(s.st_mode)) return;
    (unfinished ? temporary : files).push_back({name, file, s.st_size, seconds(s.st_mtim)});
  });
  return files;
}

/// True if this call deleted the file, and not another process before it.
bool remove(int folder, const EntryFile& file) {
  const Opened sub = open_folder_in(folder, file.folder, false);
  return sub && delete_file(sub.fd.get(), file.name) == 0;
}

void remove_entry(int folder, const EntryFile& file, Removed& removed) {
  --removed.files_left;
  removed.bytes_left -= file.bytes;
  if (!remove(folder, file)) return;
  ++removed.files;
  removed.bytes += file.bytes;
}

Removed all_left(const std::vector<EntryFile>& files) {
  Removed removed;
  for (const EntryFile& file : files) removed.bytes_left += file.bytes;
  removed.files_left = static_cast<int64_t>(files.size());
  return removed;
}

}  // namespace

std::string folder_name(const std::string& digest) { return digest.substr(0, 2); }

std::string file_name(const std::string& digest) {
  return digest + ".v" + std::to_string(kFormatVersion);
}

std::vector<Listed> list(const std::string& folder, bool payloads) {
  std::vector<Listed> items;
  const Opened root = open_or_raise(folder);
  if (!root) return items;
  const auto add = [&](int in, const std::string& prefix, const std::string& name) {
    struct stat s{};
    // What others delete meanwhile is not listed.
    if (fstatat(in, name.c_str(), &s, AT_SYMLINK_NOFOLLOW) != 0) return;
    Listed item;
    item.name = prefix + name;
    item.bytes = s.st_size;
    item.used = seconds(s.st_mtim);
    const std::optional<long> version = prefix.empty() ? std::nullopt : version_of(name);
    if (is_temporary(name)) {
      item.state = "temporary";
    } else if (!version) {
      item.state = "foreign";
    } else {
      item.digest = name.substr(0, 32);
      if (*version == kFormatVersion)
        look_into(in, name, payloads, item);
      else
        item.state = "version";
    }
    if (!item.state.empty()) items.push_back(std::move(item));
  };
  each_file(root.fd.get(), [&](int sub, const std::string& name, const std::string& file) {
    add(sub, name + "/", file);
  });
  for (const std::string& name : names_in(root.fd.get()))
    if (!is_folder_name(name) && name != kStamp) add(root.fd.get(), "", name);
  std::sort(items.begin(), items.end(),
            [](const Listed& a, const Listed& b) { return a.name < b.name; });
  return items;
}

Entry read(const std::string& folder, const std::string& digest) {
  if (!is_digest(digest)) OURJIT_RAISE(UserError) << "not the digest of an entry";
  const Opened root = open_or_raise(folder);
  const Opened sub = root ? open_folder_in(root.fd.get(), folder_name(digest), false) : Opened();
  const Opened file = sub ? open_file(sub.fd.get(), file_name(digest)) : Opened();
  if (!file.refused.empty())
    OURJIT_RAISE(UserError) << "the entry " << digest << " " << file.refused;
  if (!file) OURJIT_RAISE(UserError) << "there is no entry " << digest << " in " << folder;
  const auto size = static_cast<size_t>(file.status.st_size);
  if (size > kMaxEntryBytes) throw BadEntry("it is too large");
  std::string bytes;
  if (const int error = read_bytes(file.fd.get(), 0, size, bytes))
    OURJIT_RAISE(UserError) << "cannot read the entry " << digest << ": " << strerror(error);
  return decode(bytes);
}

Removed sweep(int folder, int64_t limit_bytes, int64_t goal_bytes) {
  std::vector<EntryFile> temporary;
  std::vector<EntryFile> files = entry_files(folder, temporary);
  Removed removed = all_left(files);
  for (const EntryFile& file : temporary)
    if (now() - file.used > kTemporarySeconds) removed.temporary += remove(folder, file);
  if (removed.bytes_left <= limit_bytes) return removed;
  std::sort(files.begin(), files.end(),
            [](const EntryFile& a, const EntryFile& b) { return a.used < b.used; });
  for (const EntryFile& file : files) {
    if (removed.bytes_left <= goal_bytes) break;
    remove_entry(folder, file, removed);
  }
  return removed;
}

bool claim_sweep(int folder, bool enough) {
  struct stat s{};
  if (fstatat(folder, kStamp, &s, AT_SYMLINK_NOFOLLOW) == 0) {
    // A stamp from the future, of a clock that was wrong, does not stop sweeps for ever.
    const bool due = enough || std::abs(now() - seconds(s.st_mtim)) > kSweepSeconds;
    if (!due || unlinkat(folder, kStamp, 0) != 0) return false;
  }
  // Made before the sweep, so that one who dies in it leaves a stamp.
  const Fd stamp(
      openat(folder, kStamp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  return static_cast<bool>(stamp);
}

Removed prune(const std::string& folder, int64_t limit_bytes) {
  const Opened root = open_or_raise(folder);
  return root ? sweep(root.fd.get(), limit_bytes, limit_bytes) : Removed();
}

Removed clear(const std::string& folder) {
  const Opened root = open_or_raise(folder);
  if (!root) return {};
  const int fd = root.fd.get();
  std::vector<EntryFile> temporary;
  const std::vector<EntryFile> files = entry_files(fd, temporary);
  Removed removed = all_left(files);
  for (const EntryFile& file : files) remove_entry(fd, file, removed);
  for (const EntryFile& file : temporary) removed.temporary += remove(fd, file);
  for (const std::string& name : names_in(fd))
    if (is_folder_name(name)) unlinkat(fd, name.c_str(), AT_REMOVEDIR);
  unlinkat(fd, kStamp, 0);
  return removed;
}

}  // namespace ourjit::cache
