// The functions of the CUDA driver that ourjit uses, on a device that is this machine's CPU.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda_api.h"
#include "driver.h"
#include "unit.h"

using namespace ourjit::cuda;      // NOLINT: the API's own names
using namespace ourjit::emulator;  // NOLINT

namespace {

struct Fault {
  int nth = 0;
  int code = 0;
};

struct Context {
  int device;
};
Context contexts[kDevices] = {{0}, {1}};
thread_local Context* current_context = nullptr;

/// Memory of a device, by its address.
struct Block {
  int device = 0;
  size_t bytes = 0;
  bool in_graph = false;  // then it stays, even if it is
  bool released = false;
};
thread_local Graph* captured = nullptr;

struct State {
  std::recursive_mutex mutex;
  std::string log, message, counters_text;
  std::map<std::string, Fault> faults;
  uint64_t seed = 0;  // of the order of blocks
  std::map<std::string, Counters> counters;
  int64_t cache_bytes = 0;
  std::set<Unit::Kernel*> kernels;
  std::map<uintptr_t, Block> blocks;
};

State& state() {
  static State& s = *new State;
  return s;
}

std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c < ' ' ? ' ' : c;
  }
  return out + "\"";
}

struct Library {
  std::shared_ptr<Unit> unit;
};

CUcontext handle(Context* context) { return reinterpret_cast<CUcontext>(context); }

bool owned_by_current(const void* p, uint64_t bytes) {
  const int device = current_device();
  return device_of(p) == device && device_of(static_cast<const char*>(p) + bytes - 1) == device;
}

}  // namespace

namespace ourjit::emulator {

int record(const std::string& function, const std::string& details) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.log += "{\"function\": " + quoted(function) + details + "}\n";
  const auto it = s.faults.find(function);
  if (it == s.faults.end() || it->second.nth == 0 || --it->second.nth != 0) return 0;
  const int code = it->second.code;
  s.faults.erase(it);
  return code;
}

int current_device() { return current_context ? current_context->device : -1; }
void set_current_device(int device) { current_context = &contexts[device]; }

void* allocate(int device, size_t bytes) {
  constexpr size_t kAlignment = 512;
  void* p = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::memset(p, 0xcb, bytes);  // so that reads of what nobody wrote show
  const std::lock_guard lock(state().mutex);
  state().blocks[reinterpret_cast<uintptr_t>(p)] = {device, bytes, captured != nullptr};
  if (captured) captured->memory.push_back(p);
  return p;
}

void release(void* memory) {
  const std::lock_guard lock(state().mutex);
  const auto it = state().blocks.find(reinterpret_cast<uintptr_t>(memory));
  it->second.released = true;
  if (it->second.in_graph) return;
  std::memset(memory, 0xcb, it->second.bytes);
  state().blocks.erase(it);
  std::free(memory);
}

uint64_t new_graph_id() {
  static std::atomic<uint64_t> graphs{0};
  return ++graphs;
}
Graph* captured_graph() { return captured; }
void capture(Graph* graph) { captured = graph; }

Graph::~Graph() {
  const std::lock_guard lock(state().mutex);
  for (void* p : memory) {
    Block& block = state().blocks[reinterpret_cast<uintptr_t>(p)];
    block.in_graph = false;
    if (block.released) release(p);
  }
}

int device_of(const void* p) {
  const std::lock_guard lock(state().mutex);
  const auto address = reinterpret_cast<uintptr_t>(p);
  auto it = state().blocks.upper_bound(address);
  if (it == state().blocks.begin()) return -1;
  --it;
  return address < it->first + it->second.bytes ? it->second.device : -1;
}

}  // namespace ourjit::emulator

// --- control, for tests ---

EXPORT const char* ourjit_emulator_log() { return state().log.c_str(); }
EXPORT const char* ourjit_emulator_message() { return state().message.c_str(); }
EXPORT void ourjit_emulator_clear() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.log.clear();
  s.message.clear();
  s.faults.clear();
  s.counters.clear();
}
/// The nth next call of `function` returns `code`.
EXPORT void ourjit_emulator_fail(const char* function, int nth, int code) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.faults[function] = {nth, code};
}
/// From now on the blocks of a launch run in an order that depends on `seed`; 0: as numbered.
EXPORT void ourjit_emulator_shuffle(uint64_t seed) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.seed = seed;
}
/// From now on counters tell what passes a cache of that size, too.
EXPORT void ourjit_emulator_cache(int64_t bytes) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.cache_bytes = bytes;
}
/// A JSON object: for each kernel what its launches moved.
EXPORT const char* ourjit_emulator_counters() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  std::string text;
  for (const auto& [name, c] : s.counters) {
    const auto number = [](const char* key, int64_t v) {
      return ", \"" + std::string(key) + "\": " + std::to_string(v);
    };
    text += (text.empty() ? "" : ", ") + quoted(name) +
            ": {\"launches\": " + std::to_string(c.launches) + number("blocks", c.blocks) +
            number("loaded", c.loaded) + number("stored", c.stored) + number("fetched", c.fetched) +
            number("in_units_of_16", c.in_units_of_16) + number("barriers", c.barriers) + "}";
  }
  s.counters_text = "{" + text + "}";
  return s.counters_text.c_str();
}

/// Graphs of the calling thread, as cudaStreamBeginCapture and its kin have them.
EXPORT void* ourjit_emulator_new_graph() { return new Graph; }
EXPORT void ourjit_emulator_delete_graph(void* graph) { delete static_cast<Graph*>(graph); }
EXPORT void ourjit_emulator_capture(void* graph) { capture(static_cast<Graph*>(graph)); }
EXPORT int ourjit_emulator_captures() { return captured != nullptr; }
EXPORT void ourjit_emulator_replay(void* graph) {
  record("replay");
  for (const auto& step : static_cast<Graph*>(graph)->steps) step();
}

// --- driver ---

EXPORT CUresult cuInit(unsigned int) {
  FAIL_IF_ASKED(CUresult);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDriverGetVersion(int* version) {
  FAIL_IF_ASKED(CUresult);
  *version = 13000;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetCount(int* count) {
  FAIL_IF_ASKED(CUresult);
  *count = kDevices;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  FAIL_IF_ASKED(CUresult);
  if (ordinal < 0 || ordinal >= kDevices) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  FAIL_IF_ASKED(CUresult);
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      *value = 48 * 1024;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = 132;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = 9;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = 0;
      return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuDeviceGetName(char* name, int length, CUdevice) {
  FAIL_IF_ASKED(CUresult);
  std::strncpy(name, "emulated device", static_cast<size_t>(length));
  if (length > 0) name[length - 1] = 0;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  FAIL_IF_ASKED(CUresult);
  *context = handle(&contexts[device]);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) {
  FAIL_IF_ASKED(CUresult);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxGetCurrent(CUcontext* context) {
  FAIL_IF_ASKED(CUresult);
  *context = handle(current_context);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
  FAIL_IF_ASKED(CUresult);
  current_context = reinterpret_cast<Context*>(context);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuLibraryLoadData(CUlibrary* library, const void* code, CUjit_option*, void**,
                                  unsigned int, CUlibraryOption*, void**, unsigned int) {
  FAIL_IF_ASKED(CUresult);
  if (captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  std::shared_ptr<Unit> unit = Unit::load(code);
  if (!unit) return CUDA_ERROR_INVALID_IMAGE;
  *library = reinterpret_cast<CUlibrary>(new Library{std::move(unit)});
  return CUDA_SUCCESS;
}
EXPORT CUresult cuLibraryUnload(CUlibrary library) {
  FAIL_IF_ASKED(CUresult);
  State& s = state();
  const std::lock_guard lock(s.mutex);
  auto* l = reinterpret_cast<Library*>(library);
  for (auto it = s.kernels.begin(); it != s.kernels.end();) {
    if ((*it)->unit != l->unit) {
      ++it;
      continue;
    }
    delete *it;
    it = s.kernels.erase(it);
  }
  delete l;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuLibraryGetKernel(CUkernel* kernel, CUlibrary library, const char* name) {
  FAIL_IF_ASKED(CUresult);
  State& s = state();
  const std::lock_guard lock(s.mutex);
  auto* l = reinterpret_cast<Library*>(library);
  Unit::Kernel k = l->unit->kernel(name);
  if (k.name.empty()) return CUDA_ERROR_NOT_FOUND;
  k.unit = l->unit;
  auto* made = new Unit::Kernel(std::move(k));
  s.kernels.insert(made);
  *kernel = reinterpret_cast<CUkernel>(made);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuKernelGetAttribute(int* value, CUfunction_attribute attribute, CUkernel,
                                     CUdevice) {
  FAIL_IF_ASKED(CUresult);
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : 0;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                               unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                               unsigned int block_z, unsigned int, CUstream stream,
                               void** parameters, void**) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  auto* k = reinterpret_cast<Unit::Kernel*>(function);
  if (!s.kernels.count(k)) return CUDA_ERROR_INVALID_VALUE;
  std::vector<uint64_t> values;
  std::string list;
  for (size_t i = 0; i < k->parameters; ++i) {
    uint64_t v = 0;
    // A struct goes to the kernel by its address, which holds as long as the call.
    if (i == 0 && k->table_bytes > 0)
      v = reinterpret_cast<uintptr_t>(parameters[i]);
    else
      std::memcpy(&v, parameters[i], sizeof v);
    values.push_back(v);
    list += (i ? ", " : "") + std::to_string(v);
  }
  const auto triple = [](unsigned x, unsigned y, unsigned z) {
    return "[" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + "]";
  };
  if (const int code = record(
          __func__,
          ", \"kernel\": " + quoted(k->name) + ", \"grid\": " + triple(grid_x, grid_y, grid_z) +
              ", \"block\": " + triple(block_x, block_y, block_z) + ", \"parameters\": [" + list +
              "], \"stream\": " + std::to_string(reinterpret_cast<uintptr_t>(stream))))
    return static_cast<CUresult>(code);
  if (grid_x == 0 || grid_y == 0 || grid_z == 0 || block_x * block_y * block_z == 0 ||
      block_x * block_y * block_z > 1024 || grid_x > 0x7fffffffu || !current_context)
    return current_context ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_CONTEXT;
  const auto number = reinterpret_cast<uintptr_t>(stream);
  if (number != 0 && static_cast<int>(number / kStreams) != current_device())
    return CUDA_ERROR_INVALID_VALUE;
  std::vector<char> table;
  if (k->table_bytes > 0) {
    const char* given = static_cast<const char*>(parameters[0]);
    table.assign(given, given + k->table_bytes);
  }
  auto run = [=, &s, context = current_context, table = std::move(table)]() mutable {
    const std::lock_guard lock(s.mutex);
    Context* const before = std::exchange(current_context, context);
    if (!table.empty()) values[0] = reinterpret_cast<uintptr_t>(table.data());
    Counters& counters = s.counters[k->name];
    counters.cache_bytes = s.cache_bytes;
    const std::string wrong = launch(k->unit->context(), k->code, values, {grid_x, grid_y, grid_z},
                                     {block_x, block_y, block_z}, counters,
                                     s.blocks.empty() ? nullptr : &owned_by_current, s.seed);
    current_context = before;
    if (!wrong.empty()) s.message = k->name + ": " + wrong;
    return wrong.empty();
  };
  if (captured) {
    captured->steps.emplace_back([run = std::move(run)]() mutable { run(); });
    return CUDA_SUCCESS;
  }
  return run() ? CUDA_SUCCESS : CUDA_ERROR_ILLEGAL_ADDRESS;
}

EXPORT CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned int) {
  FAIL_IF_ASKED(CUresult);
  if (captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
EXPORT CUresult cuMemFreeHost(void* memory) {
  FAIL_IF_ASKED(CUresult);
  std::free(memory);
  return CUDA_SUCCESS;
}
/// No block of the allocator: kernels know it by no buffer.
EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* memory, size_t bytes) {
  FAIL_IF_ASKED(CUresult);
  if (captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (!current_context) return CUDA_ERROR_INVALID_CONTEXT;
  void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(p, 0xcb, bytes);
  *memory = reinterpret_cast<uintptr_t>(p);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemFree_v2(CUdeviceptr memory) {
  FAIL_IF_ASKED(CUresult);
  if (!current_context) return CUDA_ERROR_INVALID_CONTEXT;
  std::free(reinterpret_cast<void*>(memory));
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemsetD32_v2(CUdeviceptr memory, unsigned int word, size_t words) {
  FAIL_IF_ASKED(CUresult);
  if (captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  std::fill_n(reinterpret_cast<unsigned int*>(memory), words, word);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuStreamGetId(CUstream stream, unsigned long long* id) {
  FAIL_IF_ASKED(CUresult);
  const auto number = reinterpret_cast<uintptr_t>(stream);
  *id = number ? number : static_cast<unsigned long long>(current_device()) * kStreams;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuStreamGetCaptureInfo_v2(CUstream, CUstreamCaptureStatus* status,
                                          unsigned long long* id, CUgraph*, const CUgraphNode**,
                                          size_t*) {
  FAIL_IF_ASKED(CUresult);
  *status = captured ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
  if (captured) *id = captured->id;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuStreamSynchronize(CUstream) {
  FAIL_IF_ASKED(CUresult);
  if (captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuGetErrorName(CUresult error, const char** name) {
  switch (error) {
    case CUDA_SUCCESS:
      *name = "CUDA_SUCCESS";
      break;
    case CUDA_ERROR_OUT_OF_MEMORY:
      *name = "CUDA_ERROR_OUT_OF_MEMORY";
      break;
    case CUDA_ERROR_ILLEGAL_ADDRESS:
      *name = "CUDA_ERROR_ILLEGAL_ADDRESS";
      break;
    default:
      *name = "CUDA_ERROR";
  }
  return CUDA_SUCCESS;
}
EXPORT CUresult cuGetErrorString(CUresult error, const char** text) {
  State& s = state();
  const bool fault = error == CUDA_ERROR_ILLEGAL_ADDRESS && !s.message.empty();
  *text = fault ? s.message.c_str() : "an error of the emulated device";
  return CUDA_SUCCESS;
}
