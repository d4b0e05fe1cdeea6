// One library call of a plan instance, prepared once and made many times.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapter/native_calls.h"
#include "adapter/products.h"
#include "adapter/tensors.h"
#include "runtime/instance.h"

namespace ourjit {

/// Tensors over plan memory, one for each plan tensor that library calls use, made when first asked
/// for.
class BorrowedTensors {
 public:
  explicit BorrowedTensors(const PlanInstance& instance);
  const at::Tensor& get(int tensor);
  /// Points `tensor` to where its buffer is now.
  void bind(int tensor, void* const* buffers);
  c10::Device device() const { return device_; }

 private:
  const PlanInstance& instance_;
  const c10::Device device_;
  std::vector<std::unique_ptr<BorrowedTensor>> tensors_;
};

/// Tensors that library calls returned and later steps need; one for each plan buffer.
using HeldResults = std::vector<at::Tensor>;

class LibraryCall {
 public:
  LibraryCall(const PlanInstance& instance, int step, BorrowedTensors& tensors);

  /// Makes the call. Results either go into plan memory, or are kept in `held` and their address
  /// set in `buffers`.
  void run(void** buffers, BorrowedTensors& tensors, HeldResults& held);

 private:
  void own_operands();
  void keep(at::Tensor result, int tensor, void** buffers, BorrowedTensors& tensors,
            HeldResults& held) const;

  const PlanInstance& instance_;
  const CallStep& step_;
  std::vector<int> bound_;              // plan tensors whose address may change
  std::vector<c10::IValue> arguments_;  // with borrowed tensors in place
  std::vector<c10::IValue> stack_;      // reused
  std::optional<ProductCall> product_;
  NativeCall native_ = nullptr;
  std::vector<at::Tensor> results_;  // of a native call
  bool is_seed_ = false;
  bool foreign_ = false;  // not ATen's own: must not see borrowed memory, as it may keep a tensor
  std::optional<c10::OperatorHandle> op_;
};

}  // namespace ourjit
