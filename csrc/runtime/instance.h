// A plan with the values of its symbols put in: all that a call needs, in flat arrays.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/plan.h"

namespace ourjit {

struct InstanceTensor {
  int buffer;
  DType dtype;
  std::vector<int64_t> sizes, strides;  // in elements
  int64_t byte_offset;
};

/// True for a tensor without elements.
bool is_empty(const InstanceTensor& t);

struct InstanceInput {
  bool is_number;
  DType dtype;
  std::vector<int64_t> sizes, strides;
};

/// `count` entries of a flat array from `first` on.
struct Range {
  int first = 0, count = 0;
};

/// One step. Pointers, sizes and buffers are ranges of the arrays of PlanInstance.
struct InstanceStep {
  KernelFunction function = nullptr;     // a kernel on the host,
  const DeviceKernel* device = nullptr;  // or on a device; neither: a library call
  int64_t grain = 0;                     // iterations of a task; 0: all on the calling thread
  int64_t silent = 0;                    // rows without the kernel's epilogue
  Range starts;                          // of each row, its first iteration among all; and the end
  Range pointers, sizes;                 // kernel arguments, row by row
  Range acquire, release;                // buffers to allocate before, and to drop after
};

struct PlanInstance {
  const Plan* plan = nullptr;
  std::vector<int64_t> symbol_values;  // in the order of Plan::symbols
  std::vector<InstanceInput> inputs;
  std::vector<InstanceTensor> tensors;
  std::vector<int64_t> buffer_bytes;
  std::vector<int64_t> temp_offsets;  // into the arena, -1 for buffers that are not Temp
  int64_t arena_bytes = 0;
  double kernel_ns = 0;  // estimated work of all kernels
  bool has_calls = false;

  std::vector<InstanceStep> steps;
  std::vector<int64_t> starts;
  std::vector<int> pointer_tensors;  // kernel arguments, as indices into tensors
  std::vector<int64_t> sizes;
  std::vector<int> acquire, release;            // Output buffers; Input and CallResult buffers
  std::vector<int> acquire_at_end;              // Output buffers that no step writes
  std::vector<int> release_at_start;            // Input buffers that no step reads
  std::vector<std::optional<int64_t>> numbers;  // of the outputs that are numbers

  /// The value of a size expression of this plan.
  int64_t eval(const Sym& s) const;
};

/// Raises UserError if a size cannot be evaluated, InternalError if the plan breaks its rules.
std::unique_ptr<const PlanInstance> instantiate(const Plan& p, std::vector<int64_t> symbol_values);

/// What the instance needs of the arena and of outputs, buffer by buffer, for reports.
std::string print_memory(const PlanInstance& instance);

/// Keeps something for each of the sets of symbol values seen last. Thread-safe.
template <class T>
class InstanceCache {
 public:
  explicit InstanceCache(size_t capacity = 16) : capacity_(capacity) {}

  /// The entry for `values`; `make(values)` makes it where it is missing.
  template <class Make>
  std::shared_ptr<T> get(const std::vector<int64_t>& values, const Make& make) {
    const std::lock_guard lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end(); ++it)
      if (it->first == values) {
        if (it != entries_.begin()) entries_.splice(entries_.begin(), entries_, it);
        return entries_.front().second;
      }
    std::shared_ptr<T> made = make(values);
    entries_.emplace_front(values, made);
    if (entries_.size() > capacity_) entries_.pop_back();
    return made;
  }

  std::vector<std::shared_ptr<T>> all() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<T>> found;
    for (const auto& entry : entries_) found.push_back(entry.second);
    return found;
  }

  size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }
  /// The entry used last; there must be one.
  std::shared_ptr<T> latest() const {
    const std::lock_guard lock(mutex_);
    return entries_.front().second;
  }

 private:
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::list<std::pair<std::vector<int64_t>, std::shared_ptr<T>>> entries_;  // latest first
};

}  // namespace ourjit
