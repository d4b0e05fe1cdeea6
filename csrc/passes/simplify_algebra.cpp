#include <cmath>

#include "passes/facts.h"
#include "passes/one_hot_sums.h"
#include "passes/pad_sums.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// A pointwise node in the new graph's terms.
struct Site {
  Rewriter& r;
  const Node& n;
  std::vector<ValueId> x;                // operands
  std::vector<std::optional<Scalar>> c;  // operands that are one number

  Builder& b() const { return r.b; }
  DType dtype(size_t i) const { return r.b.type(x[i]).dtype; }
  bool is_float(size_t i) const { return ourjit::is_float(dtype(i)); }
  /// Operand `i` is the number `v` (and, if it is zero, of v's sign).
  bool is(size_t i, double v) const {
    if (!c[i]) return false;
    if (!c[i]->is_float()) return static_cast<double>(c[i]->i) == v && !std::signbit(v);
    return c[i]->f == v && std::signbit(c[i]->f) == std::signbit(v);
  }
  /// The node that computes operand `i` if it is `op`.
  const Node* made_by(size_t i, Op op) const {
    const Node* d = r.b.graph().def(x[i]);
    return d && d->op == op ? d : nullptr;
  }
  ValueId make(Op op, std::vector<ValueId> operands) const {
    return b().emit(op, std::move(operands));
  }
};

/// What a rule gives: the new value, or -1 if the rule does not apply.
constexpr ValueId kNo = -1;

ValueId simplify_add(const Site& s) {
  for (size_t i = 0; i < 2; ++i) {
    const size_t j = 1 - i;
    // 0.0 + -0.0 is 0.0: only -0.0 is neutral for floats.
    if (s.is(i, s.is_float(i) ? -0.0 : 0.0)) return s.x[j];
    if (const Node* neg = s.made_by(i, Op::neg)) return s.make(Op::sub, {s.x[j], neg->operands[0]});
  }
  return kNo;
}

ValueId simplify_sub(const Site& s) {
  if (s.is(1, 0.0)) return s.x[0];
  if (s.is(0, s.is_float(0) ? -0.0 : 0.0)) return s.make(Op::neg, {s.x[1]});
  if (const Node* neg = s.made_by(1, Op::neg)) return s.make(Op::add, {s.x[0], neg->operands[0]});
  return kNo;
}

ValueId simplify_mul(const Site& s) {
  for (size_t i = 0; i < 2; ++i) {
    const size_t j = 1 - i;
    if (s.is(i, 1.0)) return s.x[j];
    if (s.is(i, -1.0) && accepts(ScalarOp::neg, s.dtype(j))) return s.make(Op::neg, {s.x[j]});
    if (s.is(i, 0.0) && !s.is_float(i)) return s.x[i];
  }
  const Node *p = s.made_by(0, Op::neg), *q = s.made_by(1, Op::neg);
  if (p && q) return s.make(Op::mul, {p->operands[0], q->operands[0]});
  return kNo;
}

ValueId simplify_div(const Site& s) {
  if (s.is(1, 1.0)) return s.x[0];
  if (s.is(1, -1.0)) return s.make(Op::neg, {s.x[0]});
  if (!s.c[1] || !std::isfinite(s.c[1]->f)) return kNo;
  // Dividing by a power of two is multiplying by its inverse, exactly, if the inverse is normal.
  int exponent = 0;
  const bool power_of_two = std::abs(std::frexp(s.c[1]->f, &exponent)) == 0.5;
  const int limit = s.dtype(0) == DType::f64 ? 1000 : s.dtype(0) == DType::f16 ? 12 : 120;
  if (!power_of_two || std::abs(exponent) > limit) return kNo;
  return s.make(Op::mul, {s.x[0], s.b().constant(1.0 / s.c[1]->f, s.dtype(0))});
}

/// ATen's special cases of pow with a number as exponent.
ValueId simplify_pow(const Site& s) {
  if (!s.c[1]) return kNo;
  const ValueId x = s.x[0];
  if (s.is(1, 0.0) || s.is(1, -0.0))
    return make_splat(s.b(), Scalar::integer(s.dtype(0), 1), s.b().type(x).sizes);
  if (s.is(1, 1.0)) return x;
  if (s.is(1, 2.0)) return s.make(Op::mul, {x, x});
  if (s.is(1, 3.0)) return s.make(Op::mul, {s.make(Op::mul, {x, x}), x});
  if (!s.is_float(0)) return kNo;
  if (s.is(1, 0.5)) return s.make(Op::sqrt, {x});
  if (s.is(1, -0.5)) return s.make(Op::rsqrt, {x});
  if (s.is(1, -1.0)) return s.make(Op::reciprocal, {x});
  if (s.is(1, -2.0)) return s.make(Op::reciprocal, {s.make(Op::mul, {x, x})});
  return kNo;
}

ValueId simplify_where(const Site& s) {
  if (s.x[1] == s.x[2]) return s.x[1];
  if (s.c[0]) return s.c[0]->truth() ? s.x[1] : s.x[2];
  if (const Node* no = s.made_by(0, Op::logical_not))
    return s.make(Op::where, {no->operands[0], s.x[2], s.x[1]});
  return kNo;
}

ValueId simplify_neg(const Site& s) {
  if (const Node* neg = s.made_by(0, Op::neg)) return neg->operands[0];
  // a - b = -(b - a) holds but for the sign of zero, so differences stay.
  return kNo;
}

ValueId simplify_abs(const Site& s) {
  if (s.made_by(0, Op::abs)) return s.x[0];
  if (const Node* neg = s.made_by(0, Op::neg)) return s.make(Op::abs, {neg->operands[0]});
  return kNo;
}

ValueId simplify_logical_not(const Site& s) {
  if (const Node* no = s.made_by(0, Op::logical_not)) return no->operands[0];
  // Comparisons other than these two are not each other's opposite where there are NaNs.
  if (const Node* eq = s.made_by(0, Op::eq)) return s.make(Op::ne, eq->operands);
  if (const Node* ne = s.made_by(0, Op::ne)) return s.make(Op::eq, ne->operands);
  return kNo;
}

ValueId simplify_bitwise_not(const Site& s) {
  const Node* no = s.made_by(0, Op::bitwise_not);
  return no ? no->operands[0] : kNo;
}

/// minimum, maximum, and, or of a value with itself.
ValueId simplify_idempotent(const Site& s) { return s.x[0] == s.x[1] ? s.x[0] : kNo; }

ValueId simplify_and(const Site& s) {
  if (is_bool(s.dtype(0)))
    for (size_t i = 0; i < 2; ++i)
      if (s.c[i]) return s.c[i]->truth() ? s.x[1 - i] : s.x[i];
  return simplify_idempotent(s);
}

ValueId simplify_or(const Site& s) {
  if (is_bool(s.dtype(0)))
    for (size_t i = 0; i < 2; ++i)
      if (s.c[i]) return s.c[i]->truth() ? s.x[i] : s.x[1 - i];
  return simplify_idempotent(s);
}

/// A bool compared with zero is itself.
ValueId simplify_ne(const Site& s) {
  if (is_bool(s.dtype(0)))
    for (size_t i = 0; i < 2; ++i)
      if (s.is(i, 0.0)) return s.x[1 - i];
  return kNo;
}

struct Rule {
  Op op;
  ValueId (*apply)(const Site&);
};

constexpr Rule kRules[] = {
    {Op::add, simplify_add},
    {Op::sub, simplify_sub},
    {Op::mul, simplify_mul},
    {Op::div, simplify_div},
    {Op::pow, simplify_pow},
    {Op::where, simplify_where},
    {Op::neg, simplify_neg},
    {Op::abs, simplify_abs},
    {Op::logical_not, simplify_logical_not},
    {Op::bitwise_not, simplify_bitwise_not},
    {Op::minimum, simplify_idempotent},
    {Op::maximum, simplify_idempotent},
    {Op::bitwise_and, simplify_and},
    {Op::bitwise_or, simplify_or},
    {Op::ne, simplify_ne},
};

ValueId apply_rule(Rewriter& r, const Node& n) {
  for (const Rule& rule : kRules) {
    if (rule.op != n.op) continue;
    Site s{r, n, {}, {}};
    for (const ValueId v : n.operands) {
      s.x.push_back(r(v));
      s.c.push_back(splat(r.b.graph(), s.x.back()));
    }
    return rule.apply(s);
  }
  return kNo;
}

/// Maps the result of `n` to `v`, which was made for it and may still have to broadcast.
void replace_by_new(Rewriter& r, const Node& n, ValueId v) {
  v = r.b.expand(v, r.old.type(n.results[0]).sizes);
  r.b.rename(v, r.old.values[static_cast<size_t>(n.results[0])].name);
  r.replace(n, v);
}

}  // namespace

Graph simplify_algebra(const Graph& g, const PassContext&) {
  const Escapes escapes(g);
  const std::vector<bool> inner = inner_sums(g);
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (n.op == Op::reduce) {
      const ValueId sum = sum_of_one_hot(r, n);
      return sum < 0 ? r.keep(n) : replace_by_new(r, n, sum);
    }
    if (!is_pointwise(n.op)) return r.keep(n);
    if (n.op == Op::add) {
      const ValueId joined = concat_of_pads(r, n, inner);
      if (joined >= 0) return replace_by_new(r, n, joined);
    }
    const auto first_new = static_cast<ValueId>(r.b.graph().values.size());
    const ValueId v = apply_rule(r, n);
    if (v < 0) return r.keep(n);
    if (v >= first_new)
      replace_by_new(r, n, v);
    else
      replace_by_equal(r, escapes, n, v);
  });
}

}  // namespace ourjit
