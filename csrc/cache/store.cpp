#include "cache/store.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>
#include <utility>
#include <vector>

#include "cache/contents.h"

namespace ourjit::cache {

namespace {

// A hit marks its entry as used at most so often: a warm start writes nothing.
constexpr int64_t kTouchSeconds = 3600;
constexpr int64_t kLookSeconds = 3600;
// A sweep is due after this part of the limit was written, and leaves that part of it.
constexpr double kSweepAfter = 0.1;
constexpr double kSweepTo = 0.8;

std::string home_of_user() {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) return {};
  return found->pw_dir ? found->pw_dir : "";
}

/// An absolute path without slashes at its end, behind which a symbolic link would be followed.
std::string plain_path(const std::string& path) {
  std::error_code error;
  std::string plain = std::filesystem::absolute(path, error).lexically_normal().string();
  if (error) return {};
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  return plain;
}

int64_t wall_seconds() { return static_cast<int64_t>(time(nullptr)); }

}  // namespace

std::string default_folder() {
  const auto absolute = [](const char* text) { return text && *text == '/'; };
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); absolute(cache))
    return plain_path(std::string(cache) + "/ourjit");
  const char* variable = std::getenv("HOME");
  const std::string home = absolute(variable) ? variable : home_of_user();
  return home.empty() ? "" : plain_path(home + "/.cache/ourjit");
}

std::shared_ptr<Store> Store::open(const std::string& folder, int64_t limit_bytes, Warn warn,
                                   BeforeStep before) {
  const std::string path = folder.empty() ? default_folder() : plain_path(folder);
  std::shared_ptr<Store> store(new Store(path, limit_bytes, std::move(warn), std::move(before)));
  if (path.empty()) {
    store->off_ = true;
    store->warn(Trouble::no_folder,
                "there is no home directory to keep compiled kernels in: name a directory "
                "(option cache_dir), or switch the cache off (option cache)");
  }
  return store;
}

Store::Store(std::string folder, int64_t limit_bytes, Warn warn, BeforeStep before)
    : folder_(std::move(folder)),
      limit_bytes_(limit_bytes),
      warn_(std::move(warn)),
      before_(std::move(before)) {}

std::optional<Entry> Store::load(const Key& key) {
  std::optional<Entry> entry;
  try {
    if (!off_) entry = find(key);
  } catch (const std::exception& e) {
    ++errors_;
    warn(Trouble::failed, std::string("cannot read a compiled kernel: ") + e.what());
  }
  ++(entry ? hits_ : misses_);
  return entry;
}

std::optional<Entry> Store::find(const Key& key) {
  const std::string name = digest(key);
  const Opened root = open_folder(folder_, false, before_);
  if (!root.refused.empty()) off_ = true;
  if (!usable(root, folder_)) return {};
  std::string path = folder_ + "/" + folder_name(name);
  const Opened sub = open_folder_in(root.fd.get(), folder_name(name), false);
  if (!usable(sub, path)) return {};
  path += "/" + file_name(name);
  const Opened file = open_file(sub.fd.get(), file_name(name), before_);
  if (!usable(file, path)) return {};
  try {
    const auto size = static_cast<size_t>(file.status.st_size);
    if (size > kMaxEntryBytes) throw BadEntry("it is too large");
    std::string bytes;
    if (const int error = read_bytes(file.fd.get(), 0, size, bytes, before_)) {
      ++errors_;
      warn(Trouble::failed, "cannot read " + path + ": " + strerror(error));
      return {};
    }
    Entry entry = decode(bytes);
    if (canonical(entry.key) != canonical(key)) {
      if (digest(entry.key) != name) throw BadEntry("it is the entry of another key");
      return {};  // keys of the same digest
    }
    if (std::abs(wall_seconds() - static_cast<int64_t>(file.status.st_mtim.tv_sec)) > kTouchSeconds)
      futimens(file.fd.get(), nullptr);
    return entry;
  } catch (const BadEntry& e) {
    ++corrupt_;
    const bool deleted = delete_file(sub.fd.get(), file_name(name), before_) == 0;
    warn(Trouble::corrupt, "the compiled kernel in " + path + " is damaged (" + e.what() +
                               "): it " +
                               (deleted ? "was deleted, and is compiled again" : "is not used"));
    return {};
  }
}

/// True for what was opened. Counts and reports what was not, unless it is just not there.
bool Store::usable(const Opened& opened, const std::string& path) {
  if (opened) return true;
  if (!opened.refused.empty()) {
    ++refused_;
    warn(Trouble::refused,
         "compiled kernels are not taken from or kept in " + path + ": it " + opened.refused);
  } else if (opened.error != ENOENT) {
    ++errors_;
    warn(Trouble::failed, "cannot open " + path + ": " + strerror(opened.error));
  }
  return false;
}

void Store::save(const Entry& entry) {
  if (off_ || read_only_) return;
  try {
    const std::string bytes = encode(entry);
    if (static_cast<int64_t>(bytes.size()) > limit_bytes_) {
      ++refused_;
      return;
    }
    const std::string name = digest(entry.key);
    int error = write(name, bytes);
    // A folder that was deleted meanwhile is made again.
    if (error == ENOENT) error = write(name, bytes);
    if (error > 0) failed_to_save(error);
  } catch (const BadEntry&) {
    ++refused_;  // too large
  } catch (const std::exception& e) {
    ++errors_;
    warn(Trouble::failed, std::string("cannot keep a compiled kernel: ") + e.what());
  }
}

/// Returns 0, an errno, or -1 for a folder that is refused.
int Store::write(const std::string& digest, const std::string& bytes) {
  const Opened root = open_folder(folder_, true, before_);
  if (!root.refused.empty()) off_ = true;
  if (!root && root.refused.empty()) return root.error;
  if (!usable(root, folder_)) return -1;
  const Opened sub = open_folder_in(root.fd.get(), folder_name(digest), true, before_);
  if (!sub && sub.refused.empty()) return sub.error;
  if (!usable(sub, folder_ + "/" + folder_name(digest))) return -1;
  if (const int error = publish(sub.fd.get(), file_name(digest), bytes, before_)) return error;
  ++stores_;
  sweep_if_due(root.fd.get(), static_cast<int64_t>(bytes.size()));
  return 0;
}

void Store::failed_to_save(int error) {
  ++errors_;
  const std::string why = std::string(": ") + strerror(error);
  if (error == EROFS || error == EACCES || error == EPERM) {
    read_only_ = true;
    warn(Trouble::read_only, "compiled kernels are not kept, as " + folder_ + " cannot be written" +
                                 why + "; name another directory (option cache_dir)");
  } else if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    warn(Trouble::full, "a compiled kernel was not kept in " + folder_ + why);
  } else {
    warn(Trouble::failed, "a compiled kernel was not kept in " + folder_ + why);
  }
}

void Store::sweep_if_due(int folder, int64_t written) {
  const int64_t unswept = unswept_bytes_.fetch_add(written) + written;
  const bool enough =
      static_cast<double>(unswept) > kSweepAfter * static_cast<double>(limit_bytes_);
  const int64_t now = wall_seconds();
  int64_t look = next_look_;
  if (!enough && now < look) return;
  // One thread of those that come here at once.
  if (!next_look_.compare_exchange_strong(look, now + kLookSeconds)) return;
  if (!claim_sweep(folder, enough)) return;
  unswept_bytes_ = 0;
  const auto goal = static_cast<int64_t>(kSweepTo * static_cast<double>(limit_bytes_));
  evicted_ += sweep(folder, limit_bytes_, goal).files;
}

void Store::warn(Trouble trouble, const std::string& message) {
  const unsigned bit = 1U << static_cast<unsigned>(trouble);
  if ((warned_.fetch_or(bit) & bit) == 0 && warn_) warn_(message);
}

Counters Store::counters() const {
  return {hits_, misses_, stores_, corrupt_, refused_, evicted_, errors_};
}

}  // namespace ourjit::cache
