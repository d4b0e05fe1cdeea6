// The graph IR: SSA over tensors, plain data.
//
// A graph is a list of nodes in execution order; a node reads values and defines values. Passes are
// functions Graph -> Graph that rebuild the list through a Builder (graph/builder.h), so a value is
// never changed in place and ids are dense. Text form (graph/text.h):
//
//   graph @forward(%x: f32[s0, 128], %w: f32[128]) -> (f32[s0, 128]) {
//     %h: f32[s0, 128] = mul %x, %w                        # model.py:41
//     %m: f32[s0] = reduce %h {op = "sum", dims = [1], keepdim = false}
//     return %h
//   }
//
// A type prints its strides only where they are not row-major contiguous: f32[4, 8]{1, 4}.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "base/scalar_ops.h"
#include "base/sym.h"

namespace ourjit {

enum class OpCategory : uint8_t {
  Pointwise,
  Call,
  Generate,
  View,
  Reduce,
  Join,
  Gather,
  Scatter,
  Scan,
  Mutate
};

/// Pointwise operators first (the rows of scalar_ops.def, in order), then the rows of ops.def.
enum class Op : uint8_t {
#define X(name, arity, result, domain, llvm, cuda) name,
#include "base/scalar_ops.def"
#undef X
#define X(name, category, operands) name,
#include "graph/ops.def"
#undef X
};

std::string_view op_name(Op op);
std::optional<Op> parse_op(std::string_view name);
OpCategory op_category(Op op);
/// Number of operands, -1 for any.
int op_operands(Op op);
inline bool is_pointwise(Op op) { return static_cast<int>(op) < num_scalar_ops(); }
inline ScalarOp scalar_op(Op op) { return static_cast<ScalarOp>(op); }
inline Op pointwise_op(ScalarOp op) { return static_cast<Op>(op); }

/// What a tensor looks like. Strides count elements. An empty `strides` with nonempty sizes never
/// occurs.
struct TensorType {
  DType dtype = DType::f32;
  std::vector<Sym> sizes;
  std::vector<Sym> strides;
  std::string device = "cpu";

  int rank() const { return static_cast<int>(sizes.size()); }
  Sym numel() const { return product(sizes); }
  bool operator==(const TensorType&) const = default;
};

/// Row-major strides of `sizes`.
std::vector<Sym> contiguous_strides(const std::vector<Sym>& sizes);
/// True if strides are row-major (dims of size 1 may have any stride).
bool is_contiguous(const TensorType& t);
TensorType make_type(DType dtype, std::vector<Sym> sizes);

using ValueId = int32_t;
using NodeId = int32_t;

/// An argument of a `call` in schema order: a tree of plain data.
struct Arg;
using ArgList = std::vector<Arg>;
struct OperandRef {
  int index;
  bool operator==(const OperandRef&) const = default;
};  // into Node::operands
struct NoneArg {
  bool operator==(const NoneArg&) const = default;
};
/// dtype, device, layout, memory_format, complex: kind and name, as in {"dtype", "f32"}. A complex
/// number is named by the bits of its parts as f64: "x3ff0000000000000_0000000000000000" is 1.
struct EnumArg {
  std::string kind, name;
  bool operator==(const EnumArg&) const = default;
};
struct Arg {
  std::variant<NoneArg, OperandRef, bool, Sym, double, std::string, EnumArg, ArgList> v;
  bool operator==(const Arg&) const = default;
};

/// A value of a named attribute.
using Attr = std::variant<bool, Sym, double, std::string, DType, std::vector<Sym>, ArgList>;
using Attrs = std::map<std::string, Attr, std::less<>>;

struct Node {
  Op op;
  std::vector<ValueId> operands;
  Attrs attrs;
  std::vector<ValueId> results;  // -1 where a call's result is None
  std::string loc;               // "model.py:41", may be empty
};

struct Value {
  std::string name;  // unique in the graph, [A-Za-z0-9_.]+
  TensorType type;
  NodeId def = -1;  // -1: an input
  int result = 0;   // which result of `def`
};

/// A tensor input, or the value of a symbol handed in as a number.
struct GraphInput {
  ValueId value = -1;
  std::string symbol;  // used if value is -1
};

/// A tensor, a number, or nothing.
struct GraphOutput {
  ValueId value = -1;
  std::optional<Sym> number = {};  // used if value is -1; absent: None
  bool strides_fixed = false;  // users see it: its strides must stay those of its type as captured
  std::vector<Sym> strides = {};  // what they must be, if strides_fixed
};

struct Graph {
  std::string name;
  std::vector<GraphInput> inputs;
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<GraphOutput> outputs;

  const TensorType& type(ValueId v) const { return values[static_cast<size_t>(v)].type; }
  const Node& node(NodeId n) const { return nodes[static_cast<size_t>(n)]; }
  /// The defining node, or null for an input.
  const Node* def(ValueId v) const {
    const NodeId n = values[static_cast<size_t>(v)].def;
    return n < 0 ? nullptr : &nodes[static_cast<size_t>(n)];
  }
};

/// For each value, the nodes that read it, in order, each once; graph outputs are not counted.
std::vector<std::vector<NodeId>> users(const Graph& g);

// Attribute access; raises InternalError naming operator and attribute if absent or of another
// type.
template <class T>
const T& attr(const Node& n, std::string_view name);
std::vector<int64_t> int_list_attr(const Node& n, std::string_view name);
int64_t int_attr(const Node& n, std::string_view name);
/// A cast whose result is rounded to its narrow dtype; others may stay as wide as kernels compute.
bool rounds(const Node& n);
const std::string& call_target(const Node& n);

}  // namespace ourjit
