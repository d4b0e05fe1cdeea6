#include <map>
#include <optional>

#include "passes/expr.h"
#include "passes/facts.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// free + factor * row, where `row` alone is made from reductions of the rows at hand and is the
/// same all along a row. Absent: no such summand; a factor of 1.
struct Linear {
  std::optional<Expr> free, factor, row;
};

std::optional<Expr> product(const std::optional<Expr>& a, const Expr& b) { return a ? *a * b : b; }

/// Sees the operand `whole` of one sum as such a form.
class LinearForm {
 public:
  LinearForm(Rewriter& r, ValueId whole) : r_(r), whole_(r.old.type(whole)) {}

  std::optional<Linear> of(ValueId v) {
    if (!waits(v)) return Linear{expr(v), {}, {}};
    const TensorType& t = r_.old.type(v);
    if (t.rank() == whole_.rank() && t.sizes.back().is_const(1)) return Linear{{}, {}, expr(v)};
    const Node& n = *r_.old.def(v);
    switch (n.op) {
      case Op::neg: {
        auto a = of(n.operands[0]);
        return a ? std::optional(negated(*a)) : std::nullopt;
      }
      case Op::add:
      case Op::sub: {
        const auto a = of(n.operands[0]), b = of(n.operands[1]);
        if (!a || !b) return std::nullopt;
        return added(*a, n.op == Op::sub ? negated(*b) : *b);
      }
      case Op::mul: {
        const int waiting = waits(n.operands[0]) ? 0 : 1;
        const ValueId other = n.operands[static_cast<size_t>(1 - waiting)];
        if (waits(other)) return std::nullopt;
        const auto a = of(n.operands[static_cast<size_t>(waiting)]);
        if (!a) return std::nullopt;
        const Expr b = expr(other);
        return Linear{a->free ? std::optional(*a->free * b) : std::nullopt, product(a->factor, b),
                      a->row};
      }
      default:
        return std::nullopt;
    }
  }

  /// True if `v` is computed from reductions of as many elements as the sum has.
  bool waits(ValueId v) {
    const auto known = waits_.find(v);
    if (known != waits_.end()) return known->second;
    const Node* n = r_.old.def(v);
    bool found = false;
    if (n && n->op == Op::reduce)
      found = r_.old.type(n->operands[0]).numel() == whole_.numel();
    else if (n && (is_pointwise(n->op) || op_category(n->op) == OpCategory::View))
      for (const ValueId o : n->operands) found |= waits(o);
    return waits_[v] = found;
  }

 private:
  /// In f64: what cancels between the sums keeps its digits.
  Expr expr(ValueId v) { return cast({&r_.b, r_(v)}, DType::f64); }

  static Linear negated(const Linear& a) {
    return {a.free ? std::optional(-*a.free) : std::nullopt, a.factor,
            a.row ? std::optional(-*a.row) : std::nullopt};
  }

  static std::optional<Linear> added(const Linear& a, const Linear& b) {
    const auto sum = [](const std::optional<Expr>& x, const std::optional<Expr>& y) {
      return x && y ? std::optional(*x + *y) : x ? x : y;
    };
    if (a.row && b.row && (a.factor || b.factor)) return std::nullopt;
    return Linear{sum(a.free, b.free), a.row ? a.factor : b.factor, sum(a.row, b.row)};
  }

  Rewriter& r_;
  const TensorType whole_;
  std::map<ValueId, bool> waits_;
};

/// Sum along the last dim of `e` broadcast to `length` elements there, in f64, that dim kept.
Expr row_sum(const Expr& e, const Sym& length) {
  const Expr wide = cast(e, DType::f64);
  if (e.rank() == 0 || e.sizes().back().is_const(1)) return wide * number(*e.b, length, DType::f64);
  return sum(wide, {e.rank() - 1});
}

/// Few rows are cut into chunks elsewhere.
bool many_long_rows(const TensorType& t, const PassContext& ctx) {
  const Sym& length = t.sizes.back();
  if (!is_long_row(length)) return false;
  const std::optional<Sym> rows = exact_div(t.numel(), length);
  return rows && (!rows->is_const() || rows->value() >= ctx.parallel_rows);
}

}  // namespace

Graph linear_sums(const Graph& g, const PassContext& ctx) {
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (n.op != Op::reduce || attr<std::string>(n, "op") != "sum") return r.keep(n);
    const ValueId x = n.operands[0];
    const TensorType& t = g.type(x);
    std::vector<int64_t> dims = int_list_attr(n, "dims");
    if (!is_float(t.dtype) || dims.empty() || dims.back() != t.rank() - 1 ||
        !many_long_rows(t, ctx))
      return r.keep(n);
    LinearForm form(r, x);
    const auto f = form.waits(x) ? form.of(x) : std::nullopt;
    if (!f || !f->row) return r.keep(n);
    const Sym& length = t.sizes.back();
    const Expr factor = f->factor ? row_sum(*f->factor, length) : number(r.b, length, DType::f64);
    Expr total = factor * *f->row;
    if (f->free) total = total + row_sum(expand(*f->free, t.sizes), length);
    std::vector<Sym> rows = t.sizes;
    rows.back() = 1;
    dims.pop_back();
    total = sum(expand(total, rows), dims);
    const TensorType& result = g.type(n.results[0]);
    r.replace(n, reshape(cast(total, result.dtype), result.sizes).v);
  });
}

}  // namespace ourjit
