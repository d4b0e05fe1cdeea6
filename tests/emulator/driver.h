// What the driver shares with NVRTC and with the stand-in for torch's CUDA library (torch_*.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))
#define FAIL_IF_ASKED(type) \
  if (const int code = ourjit::emulator::record(__func__)) return static_cast<type>(code)

namespace ourjit::emulator {

inline constexpr int kDevices = 2;

/// A stream's handle as the driver takes it: null is the default stream of the current device; of
/// the others each device has so many.
inline constexpr int kStreams = 100;
inline void* stream_handle(int device, int64_t stream) {
  return reinterpret_cast<void*>(stream == 0 ? 0 : device * kStreams + stream);
}

/// Adds a call to ourjit_emulator_log(); `details` is empty or JSON members behind a comma. Returns
/// the code that the call is to fail with, or 0.
int record(const std::string& function, const std::string& details = "");

/// The device whose context is current on this thread, or -1.
int current_device();
void set_current_device(int device);

/// A CUDA graph: what this thread enqueues while it is captured does not run, but at each replay.
uint64_t new_graph_id();
struct Graph {
  const uint64_t id = new_graph_id();
  std::vector<std::function<void()>> steps;
  std::vector<void*> memory;  // allocated meanwhile: not given out again as long as the graph lives
  ~Graph();
};
/// The graph that this thread captures, or null.
Graph* captured_graph();
void capture(Graph* graph);

/// Memory that belongs to a device: kernels of others that are given its address fail.
void* allocate(int device, size_t bytes);
void release(void* memory);
/// The device of an address within such memory, or -1.
int device_of(const void* p);

}  // namespace ourjit::emulator
