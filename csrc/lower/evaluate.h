// Turns "element i of graph value v" into loop IR values.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "fusion/group.h"
#include "graph/graph.h"
#include "lower/kernel_builder.h"

namespace ourjit {

/// Evaluates graph values inside one kernel. A value in memory is loaded; a value that the kernel
/// has computed already (set_scalar, set_stored) is taken from there; everything else is computed
/// at the point of use. Floats of 16 bits are f32 here.
class Evaluator {
 public:
  Evaluator(const Graph& g, const Fusion& f, KernelBuilder& b);

  /// Nodes that this kernel computes itself rather than load. They are, in this order, the lines of
  /// its provenance.
  void set_members(const std::vector<NodeId>& members);

  /// The line of the kernel's provenance that `v` comes from.
  int line(ValueId v) const {
    const NodeId d = g_.values[static_cast<size_t>(v)].def;
    return d < 0 ? loop::kNone : member_[static_cast<size_t>(d)];
  }

  /// Element `index` of `v`, zero where `mask` is false.
  loop::ValueId element(ValueId v, const IndexVector& index, loop::ValueId mask = loop::kNone);
  /// Stores `value` as element `index` of `v` (a value in memory, or a view of one).
  void store(ValueId v, const IndexVector& index, loop::ValueId value,
             std::optional<ScalarOp> combine = {}, bool atomic = false);

  /// From now on `v` is `value` (a reduction's result, of the row that is open).
  void set_scalar(ValueId v, loop::ValueId value) { scalars_[v] = value; }
  /// From now on reads of `v` load from the kernel's own output.
  void set_stored(ValueId v, const IndexVector& index);
  /// From now on reads of `v` at `index` load from a local at `at`.
  void set_local(ValueId v, std::string local, IndexVector index, Sym at);

  /// An element of `v`, computed as `x`, as memory would hold it: 16-bit floats are rounded.
  loop::ValueId seen(ValueId v, loop::ValueId x);

  /// Buffer parameter of the memory of `v`.
  int buffer(ValueId v, loop::Access access);
  const std::vector<ValueId>& buffers() const { return buffers_; }

 private:
  struct LocalCopy {
    std::string local;
    IndexVector index;
    Sym at;
  };
  using MemoKey = std::tuple<ValueId, IndexVector, loop::ValueId>;

  loop::ValueId compute(ValueId v, const IndexVector& index, loop::ValueId mask);
  loop::ValueId load(ValueId v, const IndexVector& index, loop::ValueId mask);
  loop::ValueId pointwise(const Node& n, const IndexVector& index, loop::ValueId mask);
  loop::ValueId generate(const Node& n, const IndexVector& index);
  loop::ValueId pad(const Node& n, const IndexVector& index, loop::ValueId mask);
  loop::ValueId concat(const Node& n, const IndexVector& index, loop::ValueId mask);
  loop::ValueId gather(const Node& n, const IndexVector& index, loop::ValueId mask);
  /// mask and lo <= x < hi, as far as the bounds do not decide it; `never` if it surely fails.
  loop::ValueId in_window(const Sym& x, const Sym& lo, const Sym& hi, loop::ValueId mask,
                          bool* never);
  loop::ValueId rounded(loop::ValueId v, DType to);

  const Graph& g_;
  const Fusion& f_;
  KernelBuilder& b_;
  std::vector<int> member_;  // by node: its line of the kernel's provenance; kNone for others
  std::map<ValueId, loop::ValueId> scalars_;
  std::map<ValueId, IndexVector> stored_;  // and which element
  std::map<ValueId, LocalCopy> locals_;
  std::map<ValueId, int> buffer_of_;
  std::vector<ValueId> buffers_;
  std::map<loop::ValueId, loop::ValueId>
      narrow_;  // f32 value -> the 16-bit value it was widened from
  std::map<MemoKey, std::tuple<loop::ValueId, int, int>>
      memo_;  // value, its depth, that scope's serial
};

}  // namespace ourjit
