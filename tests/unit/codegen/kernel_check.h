// Compiles kernels for several CPUs and compares what they compute with the loop interpreter.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cpu_backend.h"
#include "loop/interpret.h"
#include "loop/loop_ir.h"
#include "replaced.h"

namespace ourjit::testing {

/// A CPU to generate code for; its code runs here.
struct CpuCase {
  std::string label;
  HostCpu host;
};

/// The host at each vector width that it has, and the oldest CPU for 256 and 128 bits.
const std::vector<CpuCase>& cpu_cases();

/// What the elements of a random buffer are.
enum class Fill {
  Any,       // all kinds of numbers, with specials
  Moderate,  // small multiples of 1/4; sums of them are exact
  Powers,    // 1, -1, 2, 1/2: products are exact
  Positive,  // in (0, 4]
};

/// An array with guards around it that a kernel must not touch.
class Memory {
 public:
  Memory(DType dtype, int64_t size);
  void fill(Fill fill, std::mt19937& random);
  void* data() { return bytes_.data() + kGuard; }
  int64_t size() const { return size_; }
  DType dtype() const { return dtype_; }
  bool guards_intact() const;
  double number(int64_t i) const;
  /// Sets element `i` to the integer `v`.
  void set(int64_t i, int64_t v);

 private:
  static constexpr size_t kGuard = 256;
  DType dtype_;
  int64_t size_;
  std::vector<uint8_t> bytes_;
};

/// How far results may be from the interpreter's.
struct Tolerance {
  double relative = 0;
  double absolute = 0;
  bool any_error = false;  // which error is recorded does not matter
};

/// Bit-equal but for NaNs, the sign of zero, and what `t` allows.
bool same(double got, double want, Tolerance t);

/// Memory for the buffers of `k`.
std::vector<Memory> random_memory(const loop::Kernel& k, const std::vector<int64_t>& sizes,
                                  Fill fill, std::mt19937& random);

/// Runs the compiled `k` in pieces on copies of `memory`, and expects all memory and the status to
/// be what the interpreter gives.
void expect_same(const CpuCase& cpu, const LoadedKernel& code, const loop::Kernel& k,
                 const std::vector<Memory>& memory, const std::vector<int64_t>& sizes,
                 Tolerance t = {});

/// As expect_same, on random memory of the kernel's buffer sizes, on all CPUs, for text with `W` in
/// place of lane counts: 32-bit lanes of a register.
void expect_kernel(std::string_view text, const std::vector<std::vector<int64_t>>& sizes,
                   Fill fill = Fill::Moderate, Tolerance t = {});

/// The backend for `cpu`, made once.
CpuBackend& backend_for(const CpuCase& cpu);

/// Runs a compiled kernel over all of its parallel iterations, split in pieces; the recorded
/// status.
loop::Status run_kernel(const LoadedKernel& code, const loop::Kernel& k,
                        const std::vector<void*>& buffers, const std::vector<int64_t>& sizes);

}  // namespace ourjit::testing
