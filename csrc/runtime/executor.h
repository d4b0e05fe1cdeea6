// Runs a plan instance over raw pointers. What needs tensors or threads is asked of a Host.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "runtime/arena_pool.h"
#include "runtime/instance.h"

namespace ourjit {

/// An integer division by zero in a kernel; eager raises RuntimeError with this text.
class ZeroDivision : public Error {
 public:
  ZeroDivision() : Error("ZeroDivisionError") {}
};

/// A gather or scatter met an index outside of its dimension.
class IndexOutOfRange : public Error {
 public:
  IndexOutOfRange()
      : Error(
            "index out of range in self: an index is out of bounds for the dimension that it "
            "selects from") {}
};

/// A piece of a parallel loop.
using TaskFunction = void (*)(void* context, int64_t begin, int64_t end);

/// What the executor cannot do alone.
class Host {
 public:
  virtual ~Host() = default;
  /// Calls task(context, begin, end) over a partition of 0 .. n - 1 into pieces of about `grain`,
  /// in parallel.
  virtual void parallel_for(int64_t n, int64_t grain, TaskFunction task, void* context) = 0;
  /// Makes library call `step`; sets buffers[b] for each CallResult buffer that it defines.
  virtual void call(int step, void** buffers) = 0;
  /// Memory of an Output buffer.
  virtual void* allocate(int buffer, int64_t bytes) = 0;
  /// Says that no later step and no output needs this Input or CallResult buffer.
  virtual void release(int buffer) = 0;
  /// Asked once a call: true if each step shall be enclosed in begin_step, when memory for its
  /// results is there, and end_step, when nothing has been released yet.
  virtual bool watches() const { return false; }
  virtual void begin_step(int step) {}
  virtual void end_step(int step) {}
  /// Where the plan's device launches kernels; null: its default stream.
  virtual void* stream() { return nullptr; }
};

/// The pointers of one running call. Kept between calls so that nothing is allocated.
struct Frame {
  std::vector<void*> buffers;              // address of each plan buffer
  std::vector<void*> arguments;            // of the kernel at hand
  const char* arena = nullptr;             // where the addresses of Temp buffers were put
  std::shared_ptr<int32_t> device_status;  // written by kernels on a device

  explicit Frame(const PlanInstance& instance);
};

/// Runs all steps with temporaries at `arena`, which has instance.arena_bytes. frame.buffers must
/// hold the addresses of the inputs. Raises IndexOutOfRange, ZeroDivision and whatever the host
/// raises. Kernels on a device that is not synchronous may still run when this returns; what went
/// wrong in them is raised at the frame's next call.
void run(const PlanInstance& instance, Frame& frame, char* arena, Host& host);

/// The same with an arena from the pool, which gets it back in any case.
void run(const PlanInstance& instance, Frame& frame, ArenaPool& arenas, Host& host);

/// Raises what kernels on a device have reported to this frame so far.
void raise_reported(Frame& frame);

}  // namespace ourjit
