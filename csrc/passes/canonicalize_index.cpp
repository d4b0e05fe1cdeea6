// Calls that read through index tensors.
#include <algorithm>
#include <map>

#include "passes/canonicalize_rules.h"
#include "passes/indexing.h"

namespace ourjit {
namespace {

/// self, dim, index (0-d or 1-d)
void index_select(AtenCall& c) {
  Expr x = c.expr(0), index = c.expr(2, DType::i64);
  if (x.rank() == 0) return c.done(x);
  if (index.rank() == 0) index = reshape(index, {Sym(1)});
  c.done(take(x, index, c.dim(1, x.rank()), false));
}

/// weight, indices; padding, sparsity and gradients' scale concern the backward only.
void embedding(AtenCall& c) { c.done(take(c.expr(0), c.expr(1, DType::i64), 0, false)); }

/// self, dim, index
void gather(AtenCall& c) {
  Expr x = c.expr(0), index = c.expr(2, DType::i64);
  const int64_t dim = c.dim(1, x.rank());
  if (x.rank() == 0) x = reshape(x, {Sym(1)});
  if (index.rank() == 0) index = reshape(index, {Sym(1)});
  Expr e{&c.b, c.b.emit(Op::gather, {x.v, index.v}, {{"dim", Sym(dim)}})};
  c.done(reshape(e, c.out().sizes));
}

/// take: self as one row, index of any shape; negative indices wrap.
void take_flat(AtenCall& c) {
  const Expr x = c.expr(0);
  c.done(take(reshape(x, {x.b->type(x.v).numel()}), c.expr(1, DType::i64), 0, true));
}

/// self, indices: integer tensors, broadcast together.
void index(AtenCall& c) {
  const IndexedDims at = indexed_dims(c, c.expr(0), c.tensors(1));
  Expr x = at.base;
  const auto first = static_cast<size_t>(at.first);
  if (at.indices.size() == 1) return c.done(take(x, at.indices[0], at.first, true));
  // Several dims become one; an index out of its own range must not hide in the flattened one.
  Expr linear = number(c.b, 0, DType::i64);
  std::optional<Expr> outside;
  Sym flat = 1;
  for (size_t k = 0; k < at.indices.size(); ++k) {
    const Sym n = x.sizes()[first + k];
    const Expr size = number(c.b, n, DType::i64);
    const Expr i = wrap_index(at.indices[k], n);
    const Expr bad = either(i < 0, i >= size);
    outside = outside ? either(*outside, bad) : bad;
    linear = k == 0 ? i : linear * size + i;
    flat *= n;
  }
  std::vector<Sym> sizes(x.sizes());
  sizes.erase(sizes.begin() + at.first,
              sizes.begin() + at.first + static_cast<int64_t>(at.indices.size()));
  sizes.insert(sizes.begin() + at.first, flat);
  c.done(take(reshape(x, sizes), where(*outside, -1, linear), at.first, false));
}

}  // namespace

std::vector<AtenRule> indexing_rules() {
  return {
      {"aten.index_select.default", index_select},
      {"aten.embedding.default", embedding},
      {"aten.gather.default", gather},
      {"aten.take.default", take_flat},
      {"aten.index.Tensor", index},
      {"aten._unsafe_index.Tensor", index},
  };
}

}  // namespace ourjit
