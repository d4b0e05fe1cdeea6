// Files in a folder that belongs to this user alone.
//
// Nothing here raises for what a file system does, follows a symbolic link that stands for a folder
// or file of the cache, or takes one that somebody else owns or can write.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ourjit::cache {

/// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Asked before each step on a file ("make folder", "open", "read", "create", "write", "close",
/// "publish", "delete"); a result other than 0 is an errno with which the step then fails. For
/// tests of faults; empty in use.
using BeforeStep = std::function<int(const char* step)>;

/// A folder or file, or why it could not be opened.
struct Opened {
  Fd fd;
  struct stat status{};
  int error = 0;        // an errno
  std::string refused;  // or what makes it unsafe, and what to do about it
  explicit operator bool() const { return static_cast<bool>(fd); }
};

/// Opens the folder at `path`; `make` makes it where it is missing, with those above it.
Opened open_folder(const std::string& path, bool make, const BeforeStep& before = {});
/// The same for a folder in `folder`.
Opened open_folder_in(int folder, const std::string& name, bool make,
                      const BeforeStep& before = {});
/// Opens a file to read it.
Opened open_file(int folder, const std::string& name, const BeforeStep& before = {});

/// Reads `size` bytes from `offset`, fewer where the file ends. Returns an errno or 0.
int read_bytes(int fd, size_t offset, size_t size, std::string& bytes,
               const BeforeStep& before = {});
/// Writes all. Returns an errno or 0.
int write_bytes(int fd, std::string_view bytes);

/// Makes the file `name` with these contents, or leaves all as it was: readers never see a part,
/// whatever else writes there or dies meanwhile. Returns an errno or 0.
int publish(int folder, const std::string& name, std::string_view bytes,
            const BeforeStep& before = {});
/// True for names that publish() gives to files that are not complete.
bool is_temporary(std::string_view name);

/// Deletes a file. Returns an errno or 0.
int delete_file(int folder, const std::string& name, const BeforeStep& before = {});

/// The names in a folder but for "." and ".."; none if it cannot be read.
std::vector<std::string> names_in(int folder);

}  // namespace ourjit::cache
