// Estimates of a kernel's work: what scheduling compares and what decides how much a task gets.
#pragma once

#include <vector>

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Work of one iteration of the parallel loop, or of all of a kernel without one.
struct IterationCost {
  double cycles = 0;      // of one core, data in its cache
  double bytes_read = 0;  // distinct bytes of buffers; locals do not count
  double bytes_written = 0;
};

inline constexpr int64_t kGuessedSize = 256;

/// `sizes` gives values of size symbols; those it does not know count as kGuessedSize.
IterationCost iteration_cost(const Kernel& k, const SymEnv& sizes = {});

/// The larger of the time to compute and the time to move the bytes, in nanoseconds.
double iteration_cost_ns(const Kernel& k, const SymEnv& sizes = {});

/// Bytes of buffers that all iterations together move.
struct KernelBytes {
  double read = 0, written = 0;
};
KernelBytes kernel_bytes(const Kernel& k, const SymEnv& sizes = {});

/// Values of a kernel's symbols for estimates: `sizes` where it knows one, zero for loop variables
/// and bound symbols, kGuessedSize otherwise.
SymEnv guesses(const Kernel& k, const SymEnv& sizes = {});
/// Iterations of `f` by `values`.
double trips(const For& f, const SymEnv& values);
/// True for functions of floats that are long chains of dependent steps and stay in registers.
bool is_chain(ScalarOp op);
/// Cycles of one execution of `body`, by `values` from guesses().
double block_cycles(const std::vector<Node>& body, const SymEnv& values);
/// Cycles of loop `f` as it is marked, from entry to exit.
double loop_cycles(const For& f, const SymEnv& values);
/// Cycles of the loop's statements once (of one vector of iterations if it is a vector loop).
double body_cycles(const For& f, const SymEnv& values);

}  // namespace ourjit::loop
