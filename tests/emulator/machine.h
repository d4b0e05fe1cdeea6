// Runs the kernels of one loaded unit: blocks one after the other, the threads of a block as
// coroutines that change at barriers and shuffles.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device.h"

namespace ourjit::emulator {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

/// Traffic of global memory.
struct Counters {
  int64_t launches = 0, blocks = 0;
  int64_t loaded = 0, stored = 0;  // bytes
  int64_t in_units_of_16 = 0;      // bytes of those moved 16 at a time
  int64_t barriers = 0;            // each counted once a block
  int64_t cache_bytes = 0;         // set to count what passes a cache of that size, shared by all
  int64_t fetched = 0;             // bytes of sectors that it lacked when they were loaded
};

/// A kernel of integers and pointers only: `parameters` holds their 8 bytes each.
using KernelCode = void (*)();

/// Tells whether so many bytes from an address on are memory that a kernel may use.
using Owns = bool (*)(const void* p, uint64_t bytes);

/// Runs a kernel; `context` is where the unit finds its thread and the callbacks. Returns what went
/// wrong, naming block and thread; empty if nothing. One launch at a time. `owns` is asked for each
/// buffer of the kernel, unless it is null. Blocks run in the order of their numbers, or with a
/// seed other than 0 in one that depends on it: a GPU promises none.
std::string launch(oj_emulate_context** context, KernelCode code,
                   const std::vector<uint64_t>& parameters, Dim grid, Dim block, Counters& counters,
                   Owns owns = nullptr, uint64_t seed = 0);

/// The most parameters a kernel may have.
inline constexpr size_t kMostParameters = 128;

}  // namespace ourjit::emulator
