// Negative log-likelihood of class indices: the second half of cross-entropy. Classes lie along dim
// 1, or dim 0 of a 1-d input; targets that equal the ignored index count for nothing.
#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

constexpr int64_t kMean = 1, kNone = 0;

struct Targets {
  Expr index;   // i64, the input's shape with one class
  Expr valid;   // bool: not ignored
  int64_t dim;  // of the classes
};

Targets targets(AtenCall& c, const Expr& x, int argument, const Sym& ignored) {
  const int64_t dim = x.rank() == 1 ? 0 : 1;
  Expr index = c.expr(argument, DType::i64);
  if (index.rank() == x.rank() - 1) index = unsqueeze(index, dim);
  return {index, ne(index, number(c.b, ignored, DType::i64)), dim};
}

/// Weight of the classes `index`; without class weights 1.
Expr class_weight(AtenCall& c, const Expr& index, int argument, DType dtype) {
  if (c.none(argument)) return number(c.b, 1, dtype);
  const Expr classes = c.expr(argument, dtype);
  return {&c.b,
          c.b.emit(Op::index_select, {classes.v, index.v}, {{"dim", Sym(0)}, {"wrap", false}})};
}

/// input, target, weight, reduction, ignored index -> loss, total weight
void forward(AtenCall& c) {
  const Expr x = c.wide(0);
  const Targets t = targets(c, x, 1, c.sym(4));
  const Expr index = where(t.valid, t.index, 0);
  const Expr picked{&c.b, c.b.emit(Op::gather, {x.v, index.v}, {{"dim", Sym(t.dim)}})};
  const Expr class_weights = class_weight(c, index, 2, x.dtype());
  const Expr weight = where(t.valid, class_weights, 0);
  const Expr loss = where(t.valid, c.none(2) ? -picked : -picked * class_weights, 0);
  const int64_t reduction = c.integer(3);
  if (reduction == kNone) {
    if (c.wanted(0)) c.done(reshape(loss, c.out(0).sizes), 0);
    if (c.wanted(1)) c.done(full(c.b, 0, c.out(1).dtype, c.out(1).sizes), 1);
    return;
  }
  const Expr total = sum(weight, all_dims(weight.rank()), false);
  const Expr whole = sum(loss, all_dims(loss.rank()), false);
  if (c.wanted(0)) c.done(reduction == kMean ? whole / total : whole, 0);
  if (c.wanted(1)) c.done(total, 1);
}

/// grad, input, target, weight, reduction, ignored index, total weight: one element a target is
/// not zero, written as a comparison so that it fuses with what reads it.
void backward(AtenCall& c) {
  const Expr x = c.expr(1);
  const Targets t = targets(c, x, 2, c.sym(5));
  Expr g = c.wide(0);
  if (g.rank() > 0 && g.rank() == x.rank() - 1) g = unsqueeze(g, t.dim);
  if (c.integer(4) == kMean) g = g / c.wide(6);
  const Sym classes = x.sizes()[static_cast<size_t>(t.dim)];
  Expr here = eq(iota(c.b, classes, DType::i64, t.dim, x.rank()), t.index);
  const Sym ignored = c.sym(5);
  if (!ignored.is_const() || ignored.value() >= 0)
    here = both(here, t.valid);  // else no class equals it
  Expr slope = -g;
  if (!c.none(3)) slope = slope * class_weight(c, where(t.valid, t.index, 0), 3, g.dtype());
  c.done(where(here, slope, 0));
}

}  // namespace

std::vector<AtenRule> nll_loss_rules() {
  return {
      {"aten.nll_loss_forward.default", forward},
      {"aten.nll_loss2d_forward.default", forward},
      {"aten.nll_loss_backward.default", backward},
      {"aten.nll_loss2d_backward.default", backward},
  };
}

}  // namespace ourjit
