// Records of torch's profiler for compiled graphs and their steps.
#pragma once

#include <ATen/record_function.h>

#include <optional>
#include <string>
#include <vector>

namespace ourjit {

/// True if a profiler, or whatever else asked torch for records, listens on this thread.
inline bool is_profiled() { return at::hasCallbacks(); }

/// A record from begin() to end(), as "ourjit::" and the name. `lines` are Python lines, which a
/// profiler with record_shapes=True shows as the argument `python`.
class ProfilerRecord {
 public:
  void begin(const std::string& name, const std::vector<std::string>& lines);
  void end() { record_.reset(); }

 private:
  std::optional<at::RecordFunction> record_;
};

}  // namespace ourjit
