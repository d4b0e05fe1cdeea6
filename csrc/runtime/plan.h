// A plan: everything that one call of a compiled graph does, as plain data.
//
// Sizes are symbolic; instantiate() (runtime/instance.h) turns a plan and the values of its symbols
// into concrete offsets, sizes and pointers' sources, once for each distinct set of sizes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "backend/device.h"
#include "base/dtype.h"
#include "base/sym.h"
#include "codegen/kernel_abi.h"

namespace ourjit {

/// Where the memory of a buffer comes from.
enum class BufferKind : uint8_t {
  Input,       // a tensor handed in: its data pointer, whatever its storage offset
  Temp,        // lives within the call: a range of the plan's arena
  Output,      // leaves the call: allocated afresh from the caching allocator each call
  CallResult,  // memory of a tensor that a library call returned
};

struct PlanBuffer {
  BufferKind kind;
  int input = -1;  // Input: which graph input
  Sym bytes;
  std::string name;  // the graph value it was made for
};

/// A view of a buffer. Strides and offset count elements.
struct PlanTensor {
  int buffer;
  DType dtype;
  std::vector<Sym> sizes, strides;
  Sym offset;
};

/// Arguments of a kernel, run over 0 .. extent - 1 of its parallel loop.
struct LaunchRow {
  std::vector<int>
      tensors;  // PlanTensor of each buffer parameter (its first element is what is passed)
  std::vector<Sym> sizes;  // values of the kernel's size parameters
  Sym extent;
};

/// Runs a compiled kernel over a table of arguments; the rows are independent of each other, but
/// that all have ended before epilogues run.
struct LaunchStep {
  int kernel;  // index into Plan::kernels
  std::vector<LaunchRow> rows;
  double cost_ns;     // estimated work of one iteration; decides how many iterations make a task
  size_t silent = 0;  // the first so many rows leave out the kernel's epilogue (loop/loop_ir.h)
  std::vector<std::string> provenance = {};  // its operators and their Python lines
};

/// An argument of a library call: a tree like graph::Arg, with operands as indices into
/// Plan::tensors.
struct CallArg;
struct CallTensor {
  int tensor;
};
struct CallNone {};
struct CallEnum {
  std::string kind, name;
};
struct CallArg {
  std::variant<CallNone, CallTensor, bool, Sym, double, std::string, CallEnum, std::vector<CallArg>>
      v;
};

/// Calls an ATen overload.
struct CallStep {
  std::string target;         // "aten.mm.default"
  std::vector<CallArg> args;  // in schema order
  std::vector<int> results;   // PlanTensor of each result, -1 for None or unused
  bool into_results = false;  // use the .out overload and write into the results' memory
  std::string loc;
};

using PlanStep = std::variant<LaunchStep, CallStep>;

/// Where the value of a symbol is found at each call.
struct SymbolSource {
  std::string symbol;
  int input;     // graph input
  int dim = -1;  // -1: the input is a number; else the size of this dim
};

struct PlanInput {
  bool is_number = false;
  DType dtype = DType::f32;
  std::vector<Sym> sizes, strides;  // what kernels assume; checked at each call
  std::string name;
  bool written = false;  // a step writes into its memory, so a copy of it will not do
};

/// A tensor (index into Plan::tensors), a number, or None.
struct PlanOutput {
  int tensor = -1;
  std::optional<Sym> number;
  // Earlier outputs, or -1:
  int same_as = -1;  // the same tensor object
  int shares = -1;   // in the same memory; the same tensor if one is
};

/// Code of a kernel, ready to run: a function of the host or a kernel of the plan's device. What
/// keeps it in memory is `owner`.
struct KernelCode {
  KernelFunction function = nullptr;
  const DeviceKernel* device = nullptr;
  std::shared_ptr<const void> owner;
};

/// What a kernel does with the memory of a buffer parameter.
struct BufferUse {
  bool read = true, written = true;
};

struct PlanKernel {
  std::string name;
  KernelCode code;
  std::vector<BufferUse> buffers = {};  // in the order of LaunchRow::tensors
};

struct Plan {
  std::string name;
  std::vector<PlanInput> inputs;
  std::vector<SymbolSource> symbols;
  std::vector<PlanBuffer> buffers;
  std::vector<PlanTensor> tensors;
  std::vector<PlanKernel> kernels;
  std::vector<PlanStep> steps;
  std::vector<PlanOutput> outputs;
  std::shared_ptr<Device> device;  // that kernels run on; null: the host
  bool guarded = false;            // run kernels of the host between forbidden pages
  std::string tensors_on = "cpu";  // torch's name of the device that tensors are on
  std::string matmul = "fastest";  // who multiplies matrices, as option matmul says
  bool check_nan = false;          // say which step makes a NaN that leaves the call
};

/// True for a call that writes to its first operand: its name ends in _.
bool is_in_place(const std::string& target);

/// What a step runs: the name of a kernel or the target of a call.
const std::string& step_name(const Plan& p, const PlanStep& s);

/// The operators that a step computes, each with the Python line that it came from if that is
/// known.
std::vector<std::string> provenance(const PlanStep& s);

/// Printed for explain(), OURJIT_LOG=plan and text tests: no addresses.
std::string print(const Plan& p);

}  // namespace ourjit
