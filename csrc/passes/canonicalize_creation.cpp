// Calls that make a tensor from nothing: constants, ranges, identities, random numbers from a seed.
#include <cmath>

#include "passes/canonicalize_rules.h"

namespace ourjit {
namespace {

/// The captured sizes filled with one number.
void filled(AtenCall& c, const Expr& value) {
  c.done(c.out().rank() == 0 ? value : expand(value, c.out().sizes));
}

void zeros(AtenCall& c) { filled(c, number(c.b, 0, c.out().dtype)); }
void ones(AtenCall& c) { filled(c, number(c.b, 1, c.out().dtype)); }
/// full, full_like, new_full: the fill value is argument 1, of new_full 2.
void full_at_1(AtenCall& c) { filled(c, c.expr(1, c.out().dtype)); }
void full_at_2(AtenCall& c) { filled(c, c.expr(2, c.out().dtype)); }
void scalar_tensor(AtenCall& c) { filled(c, c.expr(0, c.out().dtype)); }

/// start + step * i. Float ranges are computed in f64, as ATen does, unless f32 holds them exactly.
void range(AtenCall& c, int start, int step) {
  const DType t = c.out().dtype;
  const Sym n = c.out().sizes[0];
  const bool whole = (start < 0 || c.is_integer(start)) && (step < 0 || c.is_integer(step));
  const DType compute = is_float(t) ? (whole ? DType::i64 : DType::f64) : t;
  Expr e = iota(c.b, n, compute, 0, 1);
  if (step >= 0 && !(c.is_integer(step) && c.sym(step).is_const(1))) e = e * c.expr(step, compute);
  if (start >= 0 && !(c.is_integer(start) && c.sym(start).is_const(0)))
    e = e + c.expr(start, compute);
  c.done(e);
}

/// end
void arange(AtenCall& c) { range(c, -1, -1); }
/// start, end
void arange_start(AtenCall& c) { range(c, 0, -1); }
/// start, end, step
void arange_step(AtenCall& c) { range(c, 0, 2); }
/// length, start, step
void prims_iota(AtenCall& c) { range(c, 1, 2); }

void eye(AtenCall& c) {
  const TensorType& t = c.out();
  const Expr row = iota(c.b, t.sizes[0], DType::i64, 0, 2);
  c.done(cast(eq(row, iota(c.b, t.sizes[1], DType::i64, 1, 2)), t.dtype));
}

/// seed, sizes, dtype: 16-bit results are drawn in f32; a uniform one is cut to the bits that the
/// dtype holds, since rounding could give 1.
void random(AtenCall& c, Op op) {
  const DType t = c.out().dtype;
  require(is_float(t), "random numbers are floats");
  const DType drawn = compute_dtype(t);
  Expr e{&c.b, c.b.emit(op, {c.tensor(0)}, {{"sizes", c.out().sizes}, {"dtype", drawn}})};
  if (op == Op::uniform && drawn != t) {
    const double steps = t == DType::f16 ? 2048 : 256;
    e = floor(e * steps) / steps;
  }
  c.done(e);
}
void uniform(AtenCall& c) { random(c, Op::uniform); }
void normal(AtenCall& c) { random(c, Op::normal); }

}  // namespace

std::vector<AtenRule> creation_rules() {
  return {
      {"aten.zeros.default", zeros},
      {"aten.zeros_like.default", zeros},
      {"aten.new_zeros.default", zeros},
      {"aten.zero.default", zeros},
      {"aten._efficientzerotensor.default", zeros},
      {"aten.empty.memory_format", zeros},
      {"aten.empty_like.default", zeros},
      {"aten.empty_strided.default", zeros},
      {"aten.empty_permuted.default", zeros},
      {"aten.new_empty.default", zeros},
      {"aten.new_empty_strided.default", zeros},
      {"aten.ones.default", ones},
      {"aten.ones_like.default", ones},
      {"aten.new_ones.default", ones},
      {"aten.full.default", full_at_1},
      {"aten.full_like.default", full_at_1},
      {"aten.new_full.default", full_at_2},
      {"aten.scalar_tensor.default", scalar_tensor},
      {"aten.arange.default", arange},
      {"aten.arange.start", arange_start},
      {"aten.arange.start_step", arange_step},
      {"prims.iota.default", prims_iota},
      {"aten.eye.default", eye},
      {"aten.eye.m", eye},
      {"ourjit.uniform.default", uniform},
      {"ourjit.normal.default", normal},
  };
}

}  // namespace ourjit
