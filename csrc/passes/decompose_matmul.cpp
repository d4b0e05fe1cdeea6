// Matrix products with an addend: the product stays a library call, the addition becomes pointwise
// work that fuses with what follows. Of narrow floats they stay one call, which rounds once: the
// product alone would be rounded before the addition.
#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

Expr product(AtenCall& c, const char* target, std::vector<Sym> sizes) {
  ArgList args{Arg{OperandRef{0}}, Arg{OperandRef{1}}};
  TensorType type = make_type(c.out().dtype, std::move(sizes));
  type.device = c.out().device;
  return {&c.b, c.b.call(target, {c.tensor(1), c.tensor(2)}, std::move(args), {type})[0]};
}

/// beta * self + alpha * product with beta and alpha at arguments 3 and 4; beta 0 ignores self.
void done_sum(AtenCall& c, Expr p) {
  const DType t = p.dtype();
  if (c.real_or(4, 1) != 1) p = p * c.expr(4, t);
  const double beta = c.real_or(3, 1);
  if (beta == 0) return c.done(p);
  const Expr self = c.expr(0, t);
  c.done((beta == 1 ? self : self * c.expr(3, t)) + p);
}

void require_wide_float(AtenCall& c) {
  const DType t = c.out().dtype;
  require(is_float(t) && !is_narrow_float(t), "products of integers and of narrow floats");
}

void addmm(AtenCall& c) {
  require_wide_float(c);
  done_sum(c, product(c, "aten.mm.default", c.out().sizes));
}

void baddbmm(AtenCall& c) {
  require_wide_float(c);
  done_sum(c, product(c, "aten.bmm.default", c.out().sizes));
}

void addmv(AtenCall& c) {
  require_wide_float(c);
  done_sum(c, product(c, "aten.mv.default", c.out().sizes));
}

/// The products of a batch are summed.
void addbmm(AtenCall& c) {
  require_wide_float(c);
  std::vector<Sym> sizes = c.out().sizes;
  sizes.insert(sizes.begin(), c.expr(1).sizes()[0]);
  done_sum(c, sum(product(c, "aten.bmm.default", sizes), {0}, false));
}

/// Outer product of two vectors.
void addr(AtenCall& c) {
  const DType t = c.out().dtype;
  done_sum(c, unsqueeze(c.expr(1, t), 1) * unsqueeze(c.expr(2, t), 0));
}

void dot(AtenCall& c) {
  const DType t = c.out().dtype;
  c.done(sum(c.expr(0, t) * c.expr(1, t), {0}, false));
}

}  // namespace

std::vector<AtenRule> matmul_rules() {
  return {
      {"aten.addmm.default", addmm}, {"aten.baddbmm.default", baddbmm},
      {"aten.addmv.default", addmv}, {"aten.addbmm.default", addbmm},
      {"aten.addr.default", addr},   {"aten.dot.default", dot},
      {"aten.vdot.default", dot},
  };
}

}  // namespace ourjit
