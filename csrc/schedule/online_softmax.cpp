#include "schedule/online_softmax.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "loop/visit.h"

namespace ourjit::loop {
namespace {

constexpr int64_t kShortLoop = 32;  // iterations that are cheap to read again

/// The statements that define values, but for loops.
using Definitions = std::map<ValueId, Node>;

const Compute* computed(const Definitions& d, ValueId v, ScalarOp op) {
  const auto it = d.find(v);
  const Compute* c = it == d.end() ? nullptr : std::get_if<Compute>(&it->second.v);
  return c && c->op == op ? c : nullptr;
}

bool is_zero(const Definitions& d, ValueId v) {
  const auto it = d.find(v);
  const Const* c = it == d.end() ? nullptr : std::get_if<Const>(&it->second.v);
  return c && c->bits == 0;
}

/// Tells whether values of two loops over one range are equal in each iteration.
class Equality {
 public:
  Equality(const Kernel& k, const Definitions& definitions, const For& a, const For& b)
      : k_(k), definitions_(definitions), a_(a), b_(b) {}

  bool operator()(ValueId a, ValueId b) {
    if (a == b) return true;
    const auto known = known_.find({a, b});
    if (known != known_.end()) return known->second;
    const auto x = definitions_.find(a), y = definitions_.find(b);
    const bool same =
        x != definitions_.end() && y != definitions_.end() && same_nodes(x->second, y->second);
    known_[{a, b}] = same;
    return same;
  }

 private:
  bool same_nodes(const Node& x, const Node& y) {
    if (const auto* a = std::get_if<Const>(&x.v)) {
      const auto* b = std::get_if<Const>(&y.v);
      return b && a->dtype == b->dtype && a->bits == b->bits;
    }
    if (const auto* a = std::get_if<Index>(&x.v)) {
      const auto* b = std::get_if<Index>(&y.v);
      return b && same_syms(a->expr, b->expr);
    }
    if (const auto* a = std::get_if<Compute>(&x.v)) {
      const auto* b = std::get_if<Compute>(&y.v);
      return b && a->op == b->op && a->dtype == b->dtype &&
             std::equal(a->args.begin(), a->args.end(), b->args.begin(), b->args.end(),
                        [&](ValueId p, ValueId q) { return (*this)(p, q); });
    }
    if (const auto* a = std::get_if<Load>(&x.v)) {
      const auto* b = std::get_if<Load>(&y.v);
      return b && a->buffer == b->buffer && is_input(a->buffer) && same_syms(a->index, b->index) &&
             (*this)(a->mask, b->mask);
    }
    return false;
  }

  bool same_syms(const Sym& a, const Sym& b) const {
    return a == b.substitute([&](std::string_view name) -> std::optional<Sym> {
      if (name == b_.var) return Sym::symbol(a_.var);
      return std::nullopt;
    });
  }

  bool is_input(const std::string& memory) const {
    return std::any_of(k_.buffers.begin(), k_.buffers.end(),
                       [&](const Buffer& b) { return b.name == memory && b.access == Access::In; });
  }

  const Kernel& k_;
  const Definitions& definitions_;
  const For &a_, &b_;
  std::map<std::pair<ValueId, ValueId>, bool> known_;
};

class SoftmaxMerger {
 public:
  explicit SoftmaxMerger(Kernel& k) : k_(k) {}

  void run() {
    for_each_node(std::as_const(k_.body), [&](const Node& n) {
      if (std::holds_alternative<For>(n.v)) return;
      for (const ValueId v : results(n)) definitions_.emplace(v, n);
    });
    merge(k_.body);
  }

 private:
  void merge(std::vector<Node>& body) {
    for (size_t at = 0; at < body.size(); ++at) {
      For* second = std::get_if<For>(&body[at].v);
      if (!second) continue;
      merge(second->body);
      for (size_t i = 0; i < at; ++i) {
        For* first = std::get_if<For>(&body[i].v);
        if (!first || !may_merge(*first, *second)) continue;
        const std::optional<std::vector<Node>> rest = sum_in(*first, *second);
        if (!rest) continue;
        body.erase(body.begin() + static_cast<int64_t>(at));
        body.insert(body.begin() + static_cast<int64_t>(at), rest->begin(), rest->end());
        break;
      }
    }
  }

  /// True if the two have the same iterations, and the second one is a sum and nothing else.
  static bool may_merge(const For& first, const For& second) {
    const Sym length = second.end - second.begin;
    return first.kind == second.kind && first.width == second.width &&
           first.begin == second.begin && first.end == second.end &&
           !(length.is_const() && length.value() <= kShortLoop) && second.reductions.size() == 1 &&
           second.reductions[0].op == ReduceOp::sum &&
           std::all_of(second.body.begin(), second.body.end(), is_pure);
  }

  /// Has `first` find the sum of `second`; what is left to do in place of that one.
  std::optional<std::vector<Node>> sum_in(For& first, const For& second) {
    const Reduction sum = second.reductions[0];
    const Compute* e = computed(definitions_, sum.value, ScalarOp::exp);
    const Compute* distance = e ? computed(definitions_, e->args[0], ScalarOp::sub) : nullptr;
    if (!distance) return std::nullopt;
    Equality equal(k_, definitions_, first, second);
    for (const Reduction max : first.reductions) {
      const bool finite = is_finite_or_zero(distance->args[1], max.result);
      if (max.op != ReduceOp::max || !(finite || distance->args[1] == max.result) ||
          !equal(max.value, distance->args[0]))
        continue;
      const ValueId found = finite ? sum.result : new_value(sum.dtype);
      first.reductions.push_back({ReduceOp::exp_sum, sum.dtype, max.value, found, sum.line});
      if (finite) return std::vector<Node>();
      // exp(x - m) is NaN where x and m are the same infinity.
      const ValueId nan_if_infinite = new_value(sum.dtype);
      return std::vector<Node>{
          {Compute{nan_if_infinite, ScalarOp::sub, sum.dtype, {max.result, max.result}}},
          {Compute{sum.result, ScalarOp::add, sum.dtype, {found, nan_if_infinite}}}};
    }
    return std::nullopt;
  }

  /// where(isinf(m), 0, m)
  bool is_finite_or_zero(ValueId v, ValueId m) const {
    const Compute* choice = computed(definitions_, v, ScalarOp::where);
    const Compute* test =
        choice ? computed(definitions_, choice->args[0], ScalarOp::isinf) : nullptr;
    return test && test->args[0] == m && is_zero(definitions_, choice->args[1]) &&
           choice->args[2] == m;
  }

  ValueId new_value(DType t) {
    k_.types.push_back(t);
    return static_cast<ValueId>(k_.types.size()) - 1;
  }

  Kernel& k_;
  Definitions definitions_;
};

}  // namespace

void merge_softmax_passes(Kernel& k) { SoftmaxMerger(k).run(); }

}  // namespace ourjit::loop
