#include "adapter/tensors.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StorageImpl.h>
#include <c10/core/TensorOptions.h>
#include <pthread.h>

#include <mutex>
#include <unordered_map>

namespace ourjit {

namespace {

const c10::Device kCpu(c10::DeviceType::CPU);

void free_block(void* block) { process_cache().free(static_cast<BlockCache::Block*>(block)); }

c10::DataPtr new_data(size_t bytes) {
  if (bytes == 0) return {nullptr, kCpu};
  BlockCache::Block* block = process_cache().allocate(bytes);
  return {block->data, block, &free_block, kCpu};
}

/// The allocator that our storages name, so that they can be resized.
class CacheAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override { return new_data(bytes); }
  void copy_data(void* dest, const void* src, std::size_t count) const override {
    default_copy_data(dest, src, count);
  }
};

CacheAllocator& cache_allocator() {
  static CacheAllocator* const allocator = new CacheAllocator;
  return *allocator;
}

thread_local bool use_cache = false;

/// Stands in for torch's CPU allocator: asks process_cache() on threads that want it, else the
/// allocator that was there before. Its blocks are known by their address, as raw_allocate() and
/// raw_deleter() demand.
class SwitchingAllocator final : public c10::Allocator {
 public:
  explicit SwitchingAllocator(c10::Allocator* other) : other_(other) {}

  c10::DataPtr allocate(size_t bytes) override {
    if (!use_cache || bytes == 0) return other_->allocate(bytes);
    BlockCache::Block* block = process_cache().allocate(bytes);
    const std::lock_guard lock(mutex_);
    blocks_.emplace(block->data, block);
    return {block->data, block->data, &free_data, kCpu};
  }
  bool is_simple_data_ptr(const c10::DataPtr& p) const override {
    return p.get() == p.get_context();
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_data; }
  void copy_data(void* dest, const void* src, std::size_t count) const override {
    other_->copy_data(dest, src, count);
  }

  /// The one that is installed; never freed, because torch keeps its address.
  static SwitchingAllocator*& installed() {
    static SwitchingAllocator* allocator = nullptr;
    return allocator;
  }
  std::mutex& mutex() { return mutex_; }

 private:
  /// Frees memory of either allocator.
  static void free_data(void* data) {
    SwitchingAllocator& self = *installed();
    BlockCache::Block* block = nullptr;
    {
      const std::lock_guard lock(self.mutex_);
      const auto it = self.blocks_.find(data);
      if (it != self.blocks_.end()) {
        block = it->second;
        self.blocks_.erase(it);
      }
    }
    if (block)
      process_cache().free(block);
    else
      self.other_->raw_deleter()(data);
  }

  c10::Allocator* const other_;
  std::mutex mutex_;
  std::unordered_map<void*, BlockCache::Block*> blocks_;
};

void lock_all() {
  if (SwitchingAllocator* a = SwitchingAllocator::installed()) a->mutex().lock();
  process_cache().lock();
}
void unlock_all() {
  process_cache().unlock();
  if (SwitchingAllocator* a = SwitchingAllocator::installed()) a->mutex().unlock();
}

}  // namespace

BlockCache& process_cache() {
  static BlockCache* const cache = [] {
    auto* c = new BlockCache;
    pthread_atfork(lock_all, unlock_all, unlock_all);
    return c;
  }();
  return *cache;
}

c10::Storage new_storage(int64_t bytes, c10::Device device) {
  const auto n = static_cast<size_t>(bytes);
  if (!device.is_cpu()) {
    const c10::DeviceGuard guard(device);
    c10::Allocator* allocator = c10::GetAllocator(device.type());
    return c10::Storage(c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t{},
                                                              n, allocator->allocate(n), allocator,
                                                              /*resizable=*/true));
  }
  return c10::Storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t{}, n, new_data(n), &cache_allocator(), /*resizable=*/true));
}

at::Tensor make_tensor(c10::Storage storage, c10::ScalarType dtype, c10::IntArrayRef sizes,
                       c10::IntArrayRef strides, int64_t byte_offset) {
  const caffe2::TypeMeta type = c10::scalarTypeToTypeMeta(dtype);
  const c10::DispatchKey key = c10::computeDispatchKey(dtype, c10::kStrided, storage.device());
  at::Tensor t =
      at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), type);
  t.unsafeGetTensorImpl()->set_sizes_and_strides(
      sizes, strides, byte_offset / static_cast<int64_t>(type.itemsize()));
  return t;
}

at::Tensor tensor_within(const at::Tensor& base, c10::ScalarType dtype, c10::IntArrayRef sizes,
                         c10::IntArrayRef strides, int64_t byte_offset) {
  const int64_t start = base.storage_offset() * static_cast<int64_t>(base.element_size());
  return make_tensor(base.storage(), dtype, sizes, strides, start + byte_offset);
}

at::Tensor copy_with_strides(const at::Tensor& t, c10::IntArrayRef strides) {
  const c10::ScalarType dtype = t.scalar_type();
  at::Tensor copy = make_tensor(new_storage(span_bytes(dtype, t.sizes(), strides), t.device()),
                                dtype, t.sizes(), strides, 0);
  at::Tensor to = copy, from = t.detach();
  for (int64_t d = 0; d < t.dim(); ++d)
    if (strides[static_cast<size_t>(d)] == 0 && t.size(d) > 1) {
      to = to.narrow(d, 0, 1);
      from = from.narrow(d, 0, 1);
    }
  to.copy_(from);
  return copy;
}

int64_t span_bytes(c10::ScalarType dtype, c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  int64_t last = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return 0;
    last += (sizes[i] - 1) * strides[i];
  }
  return (last + 1) * static_cast<int64_t>(c10::elementSize(dtype));
}

bool same_strides(c10::IntArrayRef sizes, c10::IntArrayRef a, c10::IntArrayRef b) {
  bool same = true;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return true;
    same &= sizes[i] == 1 || a[i] == b[i];
  }
  return same;
}

BorrowedTensor::BorrowedTensor(c10::ScalarType dtype, c10::IntArrayRef sizes,
                               c10::IntArrayRef strides, c10::Device device)
    : tensor_(make_tensor(c10::Storage(c10::Storage::use_byte_size_t{},
                                       static_cast<size_t>(span_bytes(dtype, sizes, strides)),
                                       c10::DataPtr(nullptr, device), nullptr, /*resizable=*/false),
                          dtype, sizes, strides, 0)) {}

void BorrowedTensor::bind(void* data) {
  if (data == data_) return;
  tensor_.storage().unsafeGetStorageImpl()->set_data_ptr_noswap(
      c10::DataPtr(data, tensor_.device()));
  data_ = data;
}

bool is_borrowed(const at::Tensor& t) {
  const c10::DataPtr& p = t.storage().data_ptr();
  return p.get() != nullptr && p.get_context() == nullptr;
}

void install_allocator() {
  static std::once_flag once;
  std::call_once(once, [] {
    c10::Allocator* before = c10::GetCPUAllocator();
    // One that cannot free by address alone could not be told from ours.
    if (!before->raw_deleter()) return;
    process_cache();
    SwitchingAllocator::installed() = new SwitchingAllocator(before);
    // With the lowest priority: an allocator that somebody else insists on stays.
    c10::SetCPUAllocator(SwitchingAllocator::installed(), 0);
  });
}

UseProcessCache::UseProcessCache() : before_(use_cache) { use_cache = true; }
UseProcessCache::~UseProcessCache() { use_cache = before_; }

}  // namespace ourjit
