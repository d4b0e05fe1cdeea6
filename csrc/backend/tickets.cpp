#include "backend/tickets.h"

#include "backend/cuda_driver.h"

namespace ourjit {

using namespace cuda;

namespace {

constexpr size_t kBlockTickets = 1024;
constexpr size_t kReserve = 256;  // for streams that are captured

}  // namespace

Tickets::~Tickets() {
  for (const CUdeviceptr block : blocks_) driver_.functions().cuMemFree_v2(block);
}

void Tickets::prepare() {
  const std::lock_guard lock(mutex_);
  if (unused_.size() < kReserve) allocate();
}

void Tickets::allocate() {
  const DriverTable& f = driver_.functions();
  CUdeviceptr block = 0;
  driver_.check(f.cuMemAlloc_v2(&block, kBlockTickets * sizeof(uint32_t)),
                "no memory for the tickets of kernels");
  blocks_.push_back(block);
  driver_.check(f.cuMemsetD32_v2(block, 0, kBlockTickets), "the tickets of kernels cannot be set");
  // Other streams do not wait for the default one.
  driver_.check(f.cuStreamSynchronize(nullptr), "the tickets of kernels cannot be set");
  for (size_t i = 0; i < kBlockTickets; ++i) unused_.push_back(block + i * sizeof(uint32_t));
}

CUdeviceptr Tickets::of(CUstream stream) {
  const DriverTable& f = driver_.functions();
  unsigned long long id = 0, capture = 0;
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  driver_.check(f.cuStreamGetId(stream, &id), "the stream of a launch is unknown");
  driver_.check(f.cuStreamGetCaptureInfo_v2(stream, &status, &capture, nullptr, nullptr, nullptr),
                "the stream of a launch is unknown");
  const bool captured = status != CU_STREAM_CAPTURE_STATUS_NONE;
  const std::lock_guard lock(mutex_);
  const std::pair<uint64_t, uint64_t> key{captured ? capture + 1 : 0, id};
  if (const auto it = of_.find(key); it != of_.end()) return it->second;
  if (unused_.empty() || (!captured && unused_.size() < kReserve)) allocate();
  const CUdeviceptr ticket = unused_.back();
  unused_.pop_back();
  return of_[key] = ticket;
}

}  // namespace ourjit
