// Facts about values that several passes ask for.
#pragma once

#include <optional>
#include <vector>

#include "base/scalar_eval.h"
#include "graph/builder.h"

namespace ourjit {

/// Who sees the memory of a value, directly or through views.
class Escapes {
 public:
  explicit Escapes(const Graph& g);
  /// A graph output or the value of a copy_to: it needs memory that is shared with no input and no
  /// other output.
  bool leaves(ValueId v) const { return (flags_[static_cast<size_t>(v)] & kLeaves) != 0; }
  /// An operand of a call.
  bool called(ValueId v) const { return (flags_[static_cast<size_t>(v)] & kCalled) != 0; }

 private:
  static constexpr uint8_t kLeaves = 1, kCalled = 2;
  std::vector<uint8_t> flags_;
};

/// True for rows that threads and blocks do not keep: to read one again costs more than to add in
/// f64, which lets one reading do.
bool is_long_row(const Sym& length);

/// The value that `v` is a view of.
ValueId view_root(const Graph& g, ValueId v);

/// The number that every element of `v` is: `v` is a constant, or a view of one, and not symbolic.
std::optional<Scalar> splat(const Graph& g, ValueId v);
/// All elements are `number`.
ValueId make_splat(Builder& b, const Scalar& number, const std::vector<Sym>& sizes);

/// Maps the result of `n` to `v`, which holds the same elements (and may broadcast to them), where
/// that shares no memory which must be apart; else to a copy of `v`.
void replace_by_equal(Rewriter& r, const Escapes& escapes, const Node& n, ValueId v);

}  // namespace ourjit
