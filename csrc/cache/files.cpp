#include "cache/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace ourjit::cache {

namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr char kTemporaryEnd[] = ".tmp";

/// The errno with which a test lets `step` fail, or 0.
int injected(const BeforeStep& before, const char* step) { return before ? before(step) : 0; }

/// What is unsafe about a folder or file, and what to do; empty if nothing is.
std::string unsafe(const struct stat& s, mode_t type) {
  if ((s.st_mode & S_IFMT) != type) return "is no regular file: remove it";
  if (s.st_uid != geteuid())
    return "belongs to another user (uid " + std::to_string(s.st_uid) +
           "): name a directory of your own (option cache_dir)";
  if (s.st_mode & (S_IWGRP | S_IWOTH)) return "can be written by other users: run chmod go-w on it";
  return {};
}

/// Checks what `fd` is, or says with which errno it was not opened.
Opened checked(int fd, mode_t type, int folder, const std::string& name) {
  Opened o;
  if (fd < 0) {
    o.error = errno;
    // Links are reported as ELOOP for files and as ENOTDIR for folders.
    struct stat link{};
    if ((o.error == ELOOP || o.error == ENOTDIR) &&
        fstatat(folder, name.c_str(), &link, AT_SYMLINK_NOFOLLOW) == 0) {
      if (S_ISLNK(link.st_mode))
        o.refused = "is a symbolic link: name the directory itself (option cache_dir)";
      else if (type == S_IFDIR)
        o.refused = "is no directory: remove it, or name another";
    }
    return o;
  }
  o.fd = Fd(fd);
  if (fstat(fd, &o.status) != 0)
    o.error = errno;
  else
    o.refused = unsafe(o.status, type);
  if (o.error != 0 || !o.refused.empty()) o.fd = Fd();
  return o;
}

/// Makes the folders of `path` from the root on. Those that exist are not looked at.
int make_folders(const std::string& path, const BeforeStep& before) {
  if (const int error = injected(before, "make folder")) return error;
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      // One that exists may be in a folder where nothing can be made.
      const int error = errno;
      struct stat s{};
      if (stat(part.c_str(), &s) != 0) return error;
    }
    if (end == std::string::npos) return 0;
  }
}

/// Unique among machines that share the folder, processes and their forks: drawn anew each time.
std::string temporary_name() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  std::string name = ".";
  for (const char* c = host; *c && name.size() < 65; ++c) name += *c == '/' ? '_' : *c;
  unsigned long long random = 0;
  if (getrandom(&random, sizeof random, 0) < 0) random = reinterpret_cast<uintptr_t>(&random);
  char end[64];
  std::snprintf(end, sizeof end, ".%ld.%016llx%s", static_cast<long>(getpid()), random,
                kTemporaryEnd);
  return name + end;
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Opened open_folder(const std::string& path, bool make, const BeforeStep& before) {
  const auto open_it = [&] {
    if (const int error = injected(before, "open")) {
      errno = error;
      return -1;
    }
    return open(path.c_str(), kFolderFlags);
  };
  int fd = open_it();
  if (fd < 0 && errno == ENOENT && make) {
    if (const int error = make_folders(path, before)) {
      Opened o;
      o.error = error;
      return o;
    }
    fd = open_it();
  }
  return checked(fd, S_IFDIR, AT_FDCWD, path);
}

Opened open_folder_in(int folder, const std::string& name, bool make, const BeforeStep& before) {
  int fd = openat(folder, name.c_str(), kFolderFlags);
  if (fd < 0 && errno == ENOENT && make) {
    Opened o;
    o.error = injected(before, "make folder");
    if (o.error == 0 && mkdirat(folder, name.c_str(), 0700) != 0 && errno != EEXIST)
      o.error = errno;
    if (o.error != 0) return o;
    fd = openat(folder, name.c_str(), kFolderFlags);
  }
  return checked(fd, S_IFDIR, folder, name);
}

Opened open_file(int folder, const std::string& name, const BeforeStep& before) {
  if (const int error = injected(before, "open")) {
    Opened o;
    o.error = error;
    return o;
  }
  // O_NONBLOCK: a pipe in the place of a file must not make anyone wait.
  const int fd = openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  return checked(fd, S_IFREG, folder, name);
}

int read_bytes(int fd, size_t offset, size_t size, std::string& bytes, const BeforeStep& before) {
  if (const int error = injected(before, "read")) return error;
  bytes.resize(size);
  size_t done = 0;
  while (done < size) {
    const ssize_t n =
        pread(fd, bytes.data() + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  bytes.resize(done);
  return 0;
}

int write_bytes(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

int publish(int folder, const std::string& name, std::string_view bytes, const BeforeStep& before) {
  if (const int error = injected(before, "create")) return error;
  const std::string temporary = temporary_name();
  const int fd =
      openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return errno;
  // In halves for tests alone, which stop between them.
  const size_t half = before ? bytes.size() / 2 : 0;
  int error = write_bytes(fd, bytes.substr(0, half));
  if (error == 0) error = injected(before, "write");
  if (error == 0) error = write_bytes(fd, bytes.substr(half));
  if (error == 0) error = injected(before, "close");
  // On some file systems it is here that a full disk shows.
  if (close(fd) != 0 && error == 0) error = errno;
  if (error == 0) error = injected(before, "publish");
  if (error == 0 && renameat(folder, temporary.c_str(), folder, name.c_str()) != 0) error = errno;
  if (error != 0) unlinkat(folder, temporary.c_str(), 0);
  return error;
}

bool is_temporary(std::string_view name) {
  return name.starts_with('.') && name.ends_with(kTemporaryEnd);
}

int delete_file(int folder, const std::string& name, const BeforeStep& before) {
  if (const int error = injected(before, "delete")) return error;
  return unlinkat(folder, name.c_str(), 0) == 0 ? 0 : errno;
}

std::vector<std::string> names_in(int folder) {
  std::vector<std::string> names;
  const int fd = openat(folder, ".", kFolderFlags);
  if (fd < 0) return names;
  DIR* open = fdopendir(fd);
  if (!open) {
    close(fd);
    return names;
  }
  while (const dirent* d = readdir(open)) {
    const std::string_view name = d->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  closedir(open);
  return names;
}

}  // namespace ourjit::cache
