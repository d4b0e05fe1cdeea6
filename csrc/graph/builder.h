// Checked construction of graphs, and the rewriting loop that every pass is made of.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace ourjit {

/// Builds a graph node by node. Every method infers result types by the shape and dtype rules
/// (graph/infer.h) and raises UserError naming operator, operands and shapes when they do not hold.
/// Pointwise operands must have one dtype already (insert `cast`); shapes broadcast.
class Builder {
 public:
  explicit Builder(std::string name);

  ValueId input(std::string name, TensorType type);
  void symbol_input(std::string symbol);

  /// Any native operator. `name` hints at the result's name (made unique). Attributes with a
  /// default may be left out: reduce's keepdim (false) and dtype (reduce_dtype), index_select's
  /// wrap (false).
  ValueId emit(Op op, std::vector<ValueId> operands, Attrs attrs = {}, std::string name = {});
  /// A call with given result types (no inference); nullopt types are None results (id -1).
  /// References are renumbered: operand i of the node is the i-th reference in `args`.
  std::vector<ValueId> call(std::string target, std::vector<ValueId> operands, ArgList args,
                            const std::vector<std::optional<TensorType>>& results,
                            const std::vector<std::string>& names = {});

  // Shorthand for what decompositions write. Views that change nothing give `x` itself.
  ValueId constant(double value, DType dtype);
  ValueId constant(int64_t value, DType dtype);
  ValueId pointwise(ScalarOp op, std::vector<ValueId> operands);
  ValueId cast(ValueId x, DType dtype);  // x itself if it has that dtype
  ValueId rounded(ValueId x);            // a cast to x's dtype that rounds
  ValueId add(ValueId a, ValueId b) { return pointwise(ScalarOp::add, {a, b}); }
  ValueId sub(ValueId a, ValueId b) { return pointwise(ScalarOp::sub, {a, b}); }
  ValueId mul(ValueId a, ValueId b) { return pointwise(ScalarOp::mul, {a, b}); }
  ValueId div(ValueId a, ValueId b) { return pointwise(ScalarOp::div, {a, b}); }
  ValueId where(ValueId c, ValueId a, ValueId b) { return pointwise(ScalarOp::where, {c, a, b}); }
  ValueId reduce(ReduceOp op, ValueId x, std::vector<int64_t> dims, bool keepdim);
  ValueId permute(ValueId x, std::vector<int64_t> dims);
  ValueId reshape(ValueId x, std::vector<Sym> sizes);
  ValueId expand(ValueId x, std::vector<Sym> sizes);
  ValueId slice(ValueId x, int64_t dim, Sym start, Sym step, Sym size);
  ValueId unsqueeze(ValueId x, int64_t dim);

  void output(GraphOutput o);
  /// Python line attached to nodes made from now on.
  void set_loc(std::string loc);
  /// Overrides the strides (layout pass).
  void set_strides(ValueId v, std::vector<Sym> strides);

  /// Gives a value another name, made unique.
  void rename(ValueId v, std::string_view name);

  /// Makes room for about as many nodes as `like` has.
  void reserve(const Graph& like);

  const TensorType& type(ValueId v) const { return graph_.type(v); }
  const Graph& graph() const { return graph_; }
  Graph take() { return std::move(graph_); }

 private:
  friend struct Rewriter;
  std::string unique_name(std::string_view hint);
  ValueId new_value(std::string name, TensorType type, NodeId def, int result);
  void check_operands(const std::vector<ValueId>& operands) const;
  ValueId append(Op op, std::vector<ValueId> operands, Attrs attrs, TensorType type,
                 std::string_view name);
  Graph graph_;
  std::string loc_;
  std::map<std::string, int, std::less<>> used_names_;
};

/// The state of one rewriting walk: the new graph, and where old values went.
struct Rewriter {
  const Graph& old;
  Builder b;
  std::vector<ValueId> map;  // old value -> new value, -1 while unmapped

  ValueId operator()(ValueId old_value) const { return map[static_cast<size_t>(old_value)]; }
  /// Copies `n` as it is, with mapped operands; maps its results. Keeps names and strides.
  void keep(const Node& n);
  /// Says that result `i` of `n` is `v` now.
  void replace(const Node& n, ValueId v, int i = 0);
};

/// Walks `g` in order calling `visit` for each node (with the builder's loc set to the node's),
/// which must `keep` or `replace` all results that are used later (a node for which it does neither
/// vanishes), and returns the new graph.
Graph rewrite(const Graph& g, const std::function<void(Rewriter&, const Node&)>& visit);

}  // namespace ourjit
