// Tensors over memory that ourjit owns: what leaves a call, and views of plan memory for library
// calls.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/Storage.h>

#include <cstdint>

#include "runtime/block_cache.h"

namespace ourjit {

/// The caching allocator of this process. It lives as long as the process does, because tensors
/// that were allocated from it may outlive every compiler.
BlockCache& process_cache();

/// A storage of `bytes`, on the CPU from process_cache(), else from torch's allocator of the
/// device; contents undefined.
c10::Storage new_storage(int64_t bytes, c10::Device device = c10::kCPU);

/// A tensor over `storage`, on its device. Strides count elements, the offset bytes.
at::Tensor make_tensor(c10::Storage storage, c10::ScalarType dtype, c10::IntArrayRef sizes,
                       c10::IntArrayRef strides, int64_t byte_offset);

/// A tensor in the memory of `base`, so many bytes from where `base` begins.
at::Tensor tensor_within(const at::Tensor& base, c10::ScalarType dtype, c10::IntArrayRef sizes,
                         c10::IntArrayRef strides, int64_t byte_offset);

/// A copy with these strides over a new_storage(); elements that lie in one place are written once.
at::Tensor copy_with_strides(const at::Tensor& t, c10::IntArrayRef strides);

/// Bytes from the first element to the end of the last one.
int64_t span_bytes(c10::ScalarType dtype, c10::IntArrayRef sizes, c10::IntArrayRef strides);

/// True if both strides address the elements of `sizes` alike: dims of one element do not count.
bool same_strides(c10::IntArrayRef sizes, c10::IntArrayRef a, c10::IntArrayRef b);

/// A tensor over memory that it does not own and whose address may change from call to call. It
/// must never leave the call: check with is_borrowed().
class BorrowedTensor {
 public:
  BorrowedTensor(c10::ScalarType dtype, c10::IntArrayRef sizes, c10::IntArrayRef strides,
                 c10::Device device);
  /// Points it to another address.
  void bind(void* data);
  const at::Tensor& tensor() const { return tensor_; }

 private:
  at::Tensor tensor_;
  void* data_ = nullptr;
};

/// True if the tensor does not own its memory.
bool is_borrowed(const at::Tensor& t);

/// Makes torch's CPU allocator take memory from process_cache() on threads that hold a
/// UseProcessCache, and leave everything else to the allocator that was there. Idempotent.
void install_allocator();

/// While it lives, tensors that ATen makes on this thread come from process_cache().
class UseProcessCache {
 public:
  UseProcessCache();
  ~UseProcessCache();
  UseProcessCache(const UseProcessCache&) = delete;
  UseProcessCache& operator=(const UseProcessCache&) = delete;

 private:
  const bool before_;
};

}  // namespace ourjit
