#include "runtime/executor.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "base/kernel_status.h"
#include "runtime/guarded_memory.h"

namespace ourjit {

namespace {

struct Launch {
  KernelFunction function;
  LaunchTable table;
  std::atomic<int32_t> status{0};
};

/// Runs the iterations begin .. end - 1 of all rows together.
void run_rows(KernelFunction function, const LaunchTable& t, int64_t begin, int64_t end,
              int32_t* status) {
  int64_t row = std::upper_bound(t.starts + 1, t.starts + t.rows, begin) - (t.starts + 1);
  for (; begin < end; ++row) {
    const int64_t first = t.starts[row], stop = std::min(end, t.starts[row + 1]);
    if (begin >= stop) continue;
    const KernelArgs args{t.pointers + row * t.row_pointers, t.sizes + row * t.row_sizes,
                          begin - first, stop - first, status};
    function(&args);
    begin = stop;
  }
}

/// Every task has a status of its own: the threads must not write to one place.
void run_task(void* context, int64_t begin, int64_t end) {
  auto& launch = *static_cast<Launch*>(context);
  int32_t status = 0;
  run_rows(launch.function, launch.table, begin, end, &status);
  if (status != 0) launch.status.store(status, std::memory_order_relaxed);
}

[[noreturn]] void raise(int32_t status) {
  switch (static_cast<KernelStatus>(status)) {
    case KernelStatus::IndexError:
      throw IndexOutOfRange();
    case KernelStatus::ZeroDivisionError:
      throw ZeroDivision();
    case KernelStatus::Ok:
      break;
  }
  OURJIT_RAISE(InternalError) << "a kernel ended with unknown status " << status;
}

LaunchTable fill_arguments(const PlanInstance& instance, const InstanceStep& step, Frame& frame) {
  void** arguments = frame.arguments.data();
  const int* tensors = instance.pointer_tensors.data() + step.pointers.first;
  for (int i = 0; i < step.pointers.count; ++i) {
    const InstanceTensor& t = instance.tensors[static_cast<size_t>(tensors[i])];
    arguments[i] = static_cast<char*>(frame.buffers[static_cast<size_t>(t.buffer)]) + t.byte_offset;
  }
  const int rows = step.starts.count - 1;
  return {rows,
          instance.starts.data() + step.starts.first,
          arguments,
          step.pointers.count / rows,
          instance.sizes.data() + step.sizes.first,
          step.sizes.count / rows,
          step.silent};
}

int32_t run_table(const InstanceStep& step, const LaunchTable& table, Host& host) {
  const int64_t extent = table.starts[table.rows];
  int32_t status = 0;
  if (step.grain == 0) {
    run_rows(step.function, table, 0, extent, &status);
  } else {
    Launch shared{step.function, table};
    host.parallel_for(extent, step.grain, run_task, &shared);
    status = shared.status.load(std::memory_order_relaxed);
  }
  return status;
}

/// Bytes from the first to the last element.
size_t bytes_within(const InstanceTensor& t) {
  int64_t last = 0;
  for (size_t d = 0; d < t.sizes.size(); ++d) {
    if (t.sizes[d] == 0) return 0;
    last += (t.sizes[d] - 1) * t.strides[d];
  }
  return static_cast<size_t>(last + 1) * static_cast<size_t>(dtype_bytes(t.dtype));
}

/// Runs the kernel twice on copies of its tensors, with a forbidden page before and behind each;
/// the second time counts.
int32_t run_guarded(const PlanInstance& instance, const InstanceStep& step, Frame& frame,
                    Host& host) {
  int32_t status = 0;
  for (const GuardedEnd end : {GuardedEnd::Begin, GuardedEnd::End}) {
    const LaunchTable table = fill_arguments(instance, step, frame);
    GuardedCopies copies(end);
    for (int i = 0; i < step.pointers.count; ++i) {
      const int tensor = instance.pointer_tensors[static_cast<size_t>(step.pointers.first + i)];
      void*& argument = frame.arguments[static_cast<size_t>(i)];
      argument = copies.add(argument, bytes_within(instance.tensors[static_cast<size_t>(tensor)]));
    }
    status = run_table(step, table, host);
    if (end == GuardedEnd::End) copies.finish();
  }
  return status;
}

void launch(const PlanInstance& instance, const InstanceStep& step, Frame& frame, Host& host) {
  const int32_t status = instance.plan->guarded
                             ? run_guarded(instance, step, frame, host)
                             : run_table(step, fill_arguments(instance, step, frame), host);
  if (status != 0) raise(status);
}

void launch_on_device(const PlanInstance& instance, const InstanceStep& step, Frame& frame,
                      void* stream) {
  step.device->launch(fill_arguments(instance, step, frame), frame.device_status.get(), stream);
}

void place_temporaries(const PlanInstance& instance, Frame& frame, char* arena) {
  if (frame.arena == arena) return;
  for (size_t b = 0; b < frame.buffers.size(); ++b)
    if (instance.temp_offsets[b] >= 0) frame.buffers[b] = arena + instance.temp_offsets[b];
  frame.arena = arena;
}

void acquire(const PlanInstance& instance, Frame& frame, Host& host, int buffer) {
  const auto i = static_cast<size_t>(buffer);
  frame.buffers[i] = host.allocate(buffer, instance.buffer_bytes[i]);
}

/// All that a step does is inlined into the loop, though there are two of it.
template <bool kWatched>
[[gnu::flatten]] void run_steps(const PlanInstance& instance, Frame& frame, Host& host,
                                void* stream) {
  for (size_t i = 0; i < instance.steps.size(); ++i) {
    const InstanceStep& step = instance.steps[i];
    for (int k = 0; k < step.acquire.count; ++k)
      acquire(instance, frame, host, instance.acquire[static_cast<size_t>(step.acquire.first + k)]);
    if constexpr (kWatched) host.begin_step(static_cast<int>(i));
    if (step.function) {
      launch(instance, step, frame, host);
    } else if (step.device) {
      launch_on_device(instance, step, frame, stream);
    } else {
      host.call(static_cast<int>(i), frame.buffers.data());
    }
    if constexpr (kWatched) host.end_step(static_cast<int>(i));
    for (int k = 0; k < step.release.count; ++k)
      host.release(instance.release[static_cast<size_t>(step.release.first + k)]);
  }
}

}  // namespace

Frame::Frame(const PlanInstance& instance) : buffers(instance.buffer_bytes.size()) {
  int most = 0;
  for (const InstanceStep& s : instance.steps) most = std::max(most, s.pointers.count);
  arguments.resize(static_cast<size_t>(most));
  if (Device* device = instance.plan->device.get()) {
    const DeviceScope scope(device);
    device_status = device->new_status();
  }
}

void raise_reported(Frame& frame) {
  if (!frame.device_status) return;
  const int32_t status =
      std::atomic_ref<int32_t>(*frame.device_status).exchange(0, std::memory_order_relaxed);
  if (status != 0) raise(status);
}

void run(const PlanInstance& instance, Frame& frame, ArenaPool& arenas, Host& host) {
  const ArenaLease arena(arenas, instance.arena_bytes, frame.arena);
  run(instance, frame, arena.data(), host);
}

void run(const PlanInstance& instance, Frame& frame, char* arena, Host& host) {
  place_temporaries(instance, frame, arena);
  Device* const device = instance.plan->device.get();
  const DeviceScope scope(device);
  void* const stream = device ? host.stream() : nullptr;
  raise_reported(frame);
  for (int b : instance.release_at_start) host.release(b);
  if (host.watches())
    run_steps<true>(instance, frame, host, stream);
  else
    run_steps<false>(instance, frame, host, stream);
  for (int b : instance.acquire_at_end) acquire(instance, frame, host, b);
  if (device && device->synchronous()) raise_reported(frame);
}

}  // namespace ourjit
