// Words in a device's memory by which the blocks of a launch find out which of them ends last.
//
// A ticket is 0 before a launch; each block adds 1 when it has read what the epilogue of the kernel
// will write, and the one that finds the number of blocks less one makes it 0 again
// (kernels/cuda/memory.cuh) and runs the epilogue. So launches may share a ticket if they never
// overlap, and must not if they may:
//   - Launches on one stream run one after the other, whatever they launch: a ticket for each
//     stream of the device. Plans, threads and kernels that are on different streams at once have
//     different tickets. Streams are known by their id: handles come back, and one that stands for
//     a stream of the calling thread is the same for all threads.
//   - What is captured runs at each replay, on whatever stream, but a graph does not overlap with
//     itself, and the launches of one captured stream keep their order: a ticket for each stream of
//     each capture, which is never given to anything else.
// A launch that fails on the device leaves the context unusable, so no ticket outlives one midway.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "backend/cuda_api.h"

namespace ourjit {

class CudaDriver;

/// The tickets of one device, which must be current in all calls. Thread-safe.
class Tickets {
 public:
  explicit Tickets(const CudaDriver& driver) : driver_(driver) {}
  ~Tickets();
  Tickets(const Tickets&) = delete;
  Tickets& operator=(const Tickets&) = delete;

  /// Makes some in advance: nothing can be allocated while a stream is captured.
  void prepare();
  /// The ticket for a launch on `stream` as it is now. Raises BackendError.
  cuda::CUdeviceptr of(cuda::CUstream stream);

 private:
  void allocate();

  const CudaDriver& driver_;
  std::mutex mutex_;
  std::vector<cuda::CUdeviceptr> blocks_;
  std::vector<cuda::CUdeviceptr> unused_;
  std::map<std::pair<uint64_t, uint64_t>, cuda::CUdeviceptr> of_;  // by capture (or 0) and stream
};

}  // namespace ourjit
