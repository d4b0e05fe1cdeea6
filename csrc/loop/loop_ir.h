// The loop IR: a kernel is a function over buffers, written as explicit loops over SSA statements.
//
// Semantics. Statements run in order. A value is defined once, and is visible to later statements
// of its block and in blocks nested there. Indices are Syms (base/sym.h) over size parameters, loop
// variables in scope and symbols bound by Bind in scope; they count elements from the buffer's
// pointer. Arithmetic has the dtype of its result; f16 and bf16 values appear only as the results
// of loads, as operands and results of casts, and as stored values. Integers wrap. Nothing is
// reassociated but reductions, whose order is: serial loops in order; vector loops in width *
// unroll interleaved partial results which are then combined as a tree. Iterations of a parallel
// loop may run in any order and at the same time: they must not write what others read or write.
// The result of a kernel does not depend on the number of threads.
//
// Kernels for GPUs. One iteration of the parallel loop is a block of threads_x * threads_y threads.
// Statements outside of thread loops are run by all of them alike (a store by one). A thread loop
// deals its iterations out: each thread of its axis takes `width` adjacent ones at a time, round
// robin. `slot s` names the number of an iteration among those of its thread. Its reductions
// combine what the threads of the axis found, and all of them get the result. Loops of axis x may
// stand in loops of axis y and the other way round, but not in their own kind. Within a thread
// loop, its iterations are as those of a parallel loop; memory written in one loop and read at
// other places in a later one needs a barrier between the two, and so does memory that is written
// again after having been read.
//
// A table kernel is launched over a table of arguments: each row has its own buffers and sizes, and
// as many iterations of the parallel loop (blocks) as these ask for. Blocks of different rows are
// as iterations of a parallel loop.
//
// The epilogue of a kernel for GPUs is run once, when all iterations of the parallel loop are over;
// in a table kernel, once for each row that is not silent (codegen/kernel_abi.h), when those of all
// rows are. It sees no values of the body. The body may read memory that the epilogue writes, so
// that all iterations find there what was there before the launch; it writes no memory that the
// epilogue touches. Epilogues of different rows are as iterations of a parallel loop. A launch
// without iterations runs none.
//
//   kernel @k(b0: in f32[262144], b1: out f32[s0*128], s0: index) {
//     local l0: f32[128]
//     parallel r in 0..s0 {
//       %0 = for c in 0..128 vector(16, 4) reduce sum f32 {
//         %1: f32 = load b0[r*128 + c]
//         %2: f32 = exp %1
//         store l0[c], %2
//         yield %2
//       }
//       for c2 in 0..128 vector(16, 1) {
//         %3: f32 = load l0[c2]
//         %4: f32 = div %3, %0
//         store b1[r*128 + c2], %4
//       }
//     }
//   }
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "base/scalar_ops.h"
#include "base/sym.h"

namespace ourjit::loop {

using ValueId = int32_t;
inline constexpr ValueId kNone = -1;

enum class Access : uint8_t { In, Out, InOut };

/// A pointer parameter. `size` is the number of elements that indices may reach.
struct Buffer {
  std::string name;
  DType dtype;
  Access access;
  Sym size;
  bool operator==(const Buffer&) const = default;
};

/// Who shares a local.
enum class Space : uint8_t {
  Task,    // all of one iteration of the parallel loop: on a GPU, the block's shared memory
  Thread,  // GPU only: each thread of the block has its own
};

/// Scratch memory private to one iteration of the parallel loop (to one task) or to a thread;
/// contents are undefined at first.
struct Local {
  std::string name;
  DType dtype;
  int64_t size;
  Space space = Space::Task;
  bool operator==(const Local&) const = default;
};

struct Node;

/// A number, exact: integers and bool in `bits`, floats as the bits of an f64.
struct Const {
  ValueId result;
  DType dtype;
  uint64_t bits;
};

/// The value of an index expression as i64.
struct Index {
  ValueId result;
  Sym expr;
};

/// A row of scalar_ops.def.
struct Compute {
  ValueId result;
  ScalarOp op;
  DType dtype;  // of the result
  std::vector<ValueId> args;
};

/// Reads an element of a buffer or local (by name). Where `mask` (bool) is false nothing is read
/// and the result is zero.
struct Load {
  ValueId result;
  std::string buffer;
  Sym index;
  ValueId mask = kNone;
};

/// Writes an element where `mask` holds. With `accumulate`, adds to what is there (read, add,
/// write; the lanes of a vector loop must not collide). With `atomic`, which is for GPUs, it adds
/// in one step: any iterations of any loops may add to one element, in any order.
struct Store {
  std::string buffer;
  Sym index;
  ValueId value;
  ValueId mask = kNone;
  bool accumulate = false;
  bool atomic = false;  // with accumulate
};

/// Makes an integer value usable in indices under a name. Out of 0 .. extent - 1 (after adding
/// extent to negative values if `wrap`), status IndexError is recorded and 0 is used instead; where
/// `mask` is false, 0 is used and nothing recorded.
struct Bind {
  std::string symbol;
  ValueId value;
  Sym extent;
  bool wrap = false;
  ValueId mask = kNone;
};

/// GPU only: the threads of a block wait for each other, and see what the others wrote. Inside a
/// loop of axis y, for the threads of one y.
struct Barrier {};

enum class LoopKind : uint8_t { Serial, Parallel, Vector, ThreadX, ThreadY };

/// `value` is the body's value to combine over all iterations; for argmax and argmin `result` is
/// the i64 number of the winning iteration. An empty loop gives the identity. GPU only: exp_sum.
struct Reduction {
  ReduceOp op;
  DType dtype;  // of the value
  ValueId value;
  ValueId result;
  int line = kNone;  // as Node::line
};

/// var in begin .. end - 1. One parallel loop at most, outermost. A vector loop holds no other
/// vector loop; serial loops inside it must have bounds that do not depend on its variable.
struct For {
  LoopKind kind = LoopKind::Serial;
  int width = 1;   // Vector: lanes; ThreadX, ThreadY: adjacent iterations of a thread
  int unroll = 1;  // Vector: independent accumulators
  std::string var;
  std::string
      slot;  // ThreadX, ThreadY: if not empty, a symbol that numbers the iterations of a thread
  Sym begin, end;
  std::vector<Reduction> reductions;
  std::vector<Node> body;
};

/// `line` is an index into Kernel::provenance: the operator that the node came from, the first of
/// them where several need it. Not part of the text's meaning; kNone for what schedules add.
struct Node {
  std::variant<Const, Index, Compute, Load, Store, Bind, Barrier, For> v;
  int line = kNone;
};

struct Kernel {
  std::string name;
  std::vector<Buffer> buffers;
  std::vector<std::string> sizes;  // symbols passed as i64, in order
  std::vector<Local> locals;
  std::vector<DType> types;  // of each ValueId
  std::vector<Node> body;
  std::vector<Node> epilogue;        // GPU: Const, Index, Compute, Load and plain Store only
  int threads_x = 0, threads_y = 0;  // GPU: threads of a block; 0 for CPUs and before scheduling
  int table_rows = 0;  // GPU: rows of arguments a launch can take; 0: not a table kernel
  std::vector<std::string>
      provenance;  // graph nodes and Python lines it came from; not part of its text's meaning
};

/// True for dtypes that GPUs can add to memory in one step.
inline bool has_atomic_add(DType t) {
  return t == DType::f32 || t == DType::f64 || t == DType::i32 || t == DType::i64;
}

/// True for kernels scheduled for a GPU.
inline bool has_threads(const Kernel& k) { return k.threads_x > 0; }
inline bool is_thread_loop(const For& f) {
  return f.kind == LoopKind::ThreadX || f.kind == LoopKind::ThreadY;
}

/// Overloads for std::visit: one lambda a node kind, so that a missing kind does not compile.
template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

/// dtype of what a buffer or local named `name` holds; raises InternalError if there is none.
DType memory_dtype(const Kernel& k, std::string_view name);
/// The local named `name`; null if there is none.
const Local* find_local(const Kernel& k, std::string_view name);
bool is_local(const Kernel& k, std::string_view name);

}  // namespace ourjit::loop
