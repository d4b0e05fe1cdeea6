// An ATen call under rewriting: typed access to its arguments and a checked way to replace its
// results.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/builder.h"
#include "passes/expr.h"

namespace ourjit {

class AtenCall;

/// How one ATen overload is rewritten. `apply` replaces every wanted result, or raises Unsupported
/// (or UserError, from the Builder) to leave the call as it is.
struct AtenRule {
  std::string_view target;
  void (*apply)(AtenCall& c);
  ScalarOp op = ScalarOp::cast;  // for rules shared by many pointwise operators
};

/// Rewrites the calls that `rules` know; other nodes and calls stay. With `exact_rounding`, what
/// replaces a fresh result of a narrow float dtype is rounded to it.
class AtenRules;
Graph rewrite_calls(const Graph& g, const AtenRules& rules, bool exact_rounding);
/// Why the rule for call `n` of `g` leaves it as it is; nullopt if no rule is for it, or it does
/// not.
std::optional<std::string> why_unsupported(const Graph& g, const Node& n, const AtenRules& rules);
/// A dtype of an operand or result that kernels cannot compute with, if there is one.
std::optional<DType> foreign_dtype(const Graph& g, const Node& n);

/// Arguments are counted in schema order. Accessors raise Unsupported if an argument is of another
/// kind.
class AtenCall {
 public:
  AtenCall(Rewriter& rewriter, const Node& node, const AtenRule& rule, bool exact_rounding);

  Builder& b;
  const ScalarOp op;

  bool none(int i) const;
  bool is_tensor(int i) const;
  bool is_list(int i) const;
  /// True if the argument is a number that is not a Python float.
  bool is_integer(int i) const;

  /// A tensor argument as a value of the new graph.
  ValueId tensor(int i) const;
  Expr expr(int i) const { return {&b, tensor(i)}; }
  /// A tensor argument cast to `t`, or a number as a 0-d constant of `t`.
  Expr expr(int i, DType t);
  /// The same in the dtype in which kernels compute the first wanted result.
  Expr wide(int i);
  /// Tensor list; nullopt where an element is None.
  std::vector<std::optional<ValueId>> tensors(int i) const;
  /// Type of a tensor argument with the strides that ATen gave it.
  const TensorType& captured(int i) const;
  /// The call that makes tensor argument `i`, null if that is none.
  const Node* producer(int i) const;

  bool flag(int i) const;
  Sym sym(int i) const;
  int64_t integer(int i) const;
  /// Any number that is known; bool counts as 0 or 1.
  double real(int i) const;
  double real_or(int i, double otherwise) const { return none(i) ? otherwise : real(i); }
  const std::string& text(int i) const;
  std::optional<DType> dtype(int i) const;
  std::vector<Sym> syms(int i) const;
  std::vector<int64_t> integers(int i) const;
  std::vector<bool> flags(int i) const;
  /// A dim argument wrapped into [0, rank); 0 for rank 0.
  int64_t dim(int i, int rank) const;
  /// A list of dims, or one dim, wrapped and sorted; None and the empty list mean all dims.
  std::vector<int64_t> dims(int i, int rank) const;
  /// torch.result_type of tensor and number arguments.
  DType promoted(const std::vector<int>& args) const;

  /// The graph as captured.
  const Graph& graph() const { return rewriter_.old; }

  int results() const;
  bool wanted(int k) const;
  /// Type of result `k` as captured.
  const TensorType& out(int k = 0) const;
  /// The dtype in which kernels compute the first wanted result: f32 for f16 and bf16.
  DType compute() const;

  /// A value that ATen's kernel rounds to the first wanted result's dtype on its way there; as it
  /// is unless rounding is to be exact.
  Expr stored(const Expr& e) const;

  /// Result `k` is `v`, cast and broadcast to the captured type; a fresh tensor even where `v` is
  /// an operand or a view of one. It takes the captured strides.
  void done(const Expr& e, int k = 0);
  /// Result `k` aliases an operand in ATen: `v` as it is.
  void done_view(const Expr& e, int k = 0);

 private:
  const Arg& arg(int i) const;
  Expr fit(Expr e, int k) const;
  bool aliases_operand(ValueId v) const;

  Rewriter& rewriter_;
  const Node& node_;
  const ArgList* args_;
  const bool exact_rounding_;
  const ValueId first_new_;  // values from here on are made by this rule
};

/// Raises Unsupported with `reason` unless `cond` holds.
void require(bool cond, std::string_view reason);
/// `d` wrapped into [0, rank).
int64_t wrap_dim(int64_t d, int rank);

/// A lookup table of rules.
class AtenRules {
 public:
  explicit AtenRules(const std::vector<std::vector<AtenRule>>& families);
  const AtenRule* find(std::string_view target) const;
  size_t size() const { return rules_.size(); }

 private:
  std::vector<AtenRule> rules_;  // sorted by target
};

}  // namespace ourjit
