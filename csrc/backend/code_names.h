// Names of kernels for tools that look at this process from outside: perf and gdb.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace ourjit {

/// Appends code that is loaded now to /tmp/perf-PID.map, where perf looks names up. Code that is
/// unloaded later stays there. Opens the file anew each time, so that a forked process writes its
/// own. The file is the owner's alone: where it is a link, or somebody else's, nothing is written.
void write_perf_map(const void* code, size_t bytes, const std::string& name);

/// Code that gdb knows by name as long as this lives.
class GdbName {
 public:
  GdbName(const void* code, size_t bytes, const std::string& name);
  ~GdbName();
  GdbName(const GdbName&) = delete;
  GdbName& operator=(const GdbName&) = delete;

 private:
  struct Entry;
  std::unique_ptr<Entry> entry_;
};

}  // namespace ourjit
