// Calls that write through index tensors into a copy of their operand.
#include <algorithm>
#include <iterator>

#include "passes/canonicalize_rules.h"
#include "passes/indexing.h"

namespace ourjit {
namespace {

Expr at_least_1d(const Expr& e) { return e.rank() == 0 ? reshape(e, {Sym(1)}) : e; }

/// `x` with `updates` set, or combined by the operator that `mode` names, where `index` says along
/// `dim`. Larger updates are read from their corner.
Expr scattered(const Expr& x, int64_t dim, const Expr& index, Expr updates,
               const std::string& mode) {
  if (updates.sizes() != index.sizes() && updates.rank() == 0)
    updates = expand(updates, index.sizes());
  const Expr base = at_least_1d(x), at = at_least_1d(index);
  updates = at_least_1d(updates);
  for (size_t d = 0; d < at.sizes().size(); ++d)
    if (updates.sizes()[d] != at.sizes()[d])
      updates = narrow(updates, static_cast<int64_t>(d), 0, at.sizes()[d]);
  const Attrs attrs{{"dim", Sym(dim)}, {"mode", mode}};
  const Expr out{x.b, x.b->emit(Op::scatter, {base.v, at.v, updates.v}, attrs)};
  return reshape(out, x.sizes());
}

/// self, dim, index, source (tensor or number)
void scatter_by(AtenCall& c, const std::string& mode) {
  const Expr x = c.expr(0);
  const Expr index = c.expr(2, DType::i64);
  c.done(scattered(x, c.dim(1, x.rank()), index, c.expr(3, x.dtype()), mode));
}

void scatter_set(AtenCall& c) { scatter_by(c, "set"); }
void scatter_add(AtenCall& c) { scatter_by(c, "add"); }
/// And reduce ("add" or "multiply").
void scatter_with(AtenCall& c) { scatter_by(c, c.text(4) == "add" ? "add" : "mul"); }

/// `x` reduced with `updates`: `reduction` is "sum", "prod", "mean", "amax" or "amin". Without
/// `include_self`, elements of x that an update meets do not take part.
Expr scatter_reduced(Expr x, int64_t dim, const Expr& index, const Expr& updates,
                     const std::string& reduction, bool include_self) {
  struct Row {
    std::string_view name, mode;
    ReduceOp op;
  };
  static constexpr Row kRows[] = {{"sum", "add", ReduceOp::sum},
                                  {"mean", "add", ReduceOp::sum},
                                  {"prod", "mul", ReduceOp::prod},
                                  {"amax", "maximum", ReduceOp::max},
                                  {"amin", "minimum", ReduceOp::min}};
  const auto row = std::find_if(std::begin(kRows), std::end(kRows),
                                [&](const Row& r) { return r.name == reduction; });
  require(row != std::end(kRows), "unknown reduction");
  const DType t = x.dtype();
  Builder& b = *x.b;
  if (!include_self) x = scattered(x, dim, index, neutral(b, row->op, t), "set");
  const Expr folded = scattered(x, dim, index, updates, std::string(row->mode));
  if (reduction != "mean") return folded;
  const DType counts = is_float(t) ? t : DType::i64;
  const Expr met =
      scattered(full(b, include_self, counts, x.sizes()), dim, index, number(b, 1, counts), "add");
  const Expr count = maximum(met, 1);
  return is_float(t) ? folded / count : cast(floor_div(cast(folded, counts), count), t);
}

/// self, dim, index, src, reduce, include_self
void scatter_reduce(AtenCall& c) {
  const Expr x = c.expr(0);
  c.done(scatter_reduced(x, c.dim(1, x.rank()), c.expr(2, DType::i64), c.expr(3, x.dtype()),
                         c.text(4), c.flag(5)));
}

/// self, dim, 1-d index, source, reduce, include_self: lines of dim `dim`.
void index_reduce(AtenCall& c) {
  const Expr x = c.expr(0);
  const int64_t dim = c.dim(1, x.rank());
  Expr updates = at_least_1d(c.expr(3, x.dtype()));
  const Expr index = at_least_1d(c.expr(2, DType::i64));
  const Expr lines = expand(along(index, dim, updates.rank()), updates.sizes());
  c.done(scatter_reduced(x, dim, lines, updates, c.text(4), c.flag(5)));
}

/// put(), of indices that may count from the end.
Expr put_wrapped(const Expr& base, int64_t first, std::vector<Expr> indices, const Expr& updates,
                 bool add) {
  for (size_t k = 0; k < indices.size(); ++k)
    indices[k] = wrap_index(indices[k], base.sizes()[static_cast<size_t>(first) + k]);
  return put(base, first, indices, updates, add);
}

/// The value of each element of a mask: line k of dim `dim` of `values`, for the mask's k-th true
/// element, or the only line. Its dims stand where `dim` stood. As many lines as true elements are
/// asked for, by an index that is out of range otherwise.
Expr spread_by_mask(const Expr& mask, const Expr& values, int64_t dim) {
  const Sym lines = values.sizes()[static_cast<size_t>(dim)];
  const Expr flat = cast(reshape(mask, {mask.b->type(mask.v).numel()}), DType::i64);
  const Attrs attrs{{"dim", Sym(0)}, {"op", std::string("sum")}};
  const Expr place = Expr{mask.b, mask.b->emit(Op::scan, {flat.v}, attrs)} - 1.0;
  const Expr n = number(*mask.b, lines, DType::i64);
  const Expr single = eq(n, 1.0), fits = either(single, eq(n, sum(flat, {0})));
  const Expr line = where(single, 0.0, place);
  // What is not masked reads a line of zeros behind the others: there may be no other.
  const Expr index = where(fits, where(reshape(mask, flat.sizes()), line, n), -1.0);
  return take(pad_zeros(values, dim, 0, 1), reshape(index, mask.sizes()), dim, false);
}

/// x[mask] = values with one mask: a selection. Masks cover the dims where they stand.
bool put_by_mask(AtenCall& c, const Expr& x, const std::vector<std::optional<ValueId>>& indices) {
  int64_t at = -1;
  for (size_t d = 0; d < indices.size(); ++d) {
    if (!indices[d]) continue;
    if (at >= 0) return false;
    at = static_cast<int64_t>(d);
  }
  if (at < 0 || !is_bool(c.b.type(*indices[static_cast<size_t>(at)]).dtype)) return false;
  Expr mask{&c.b, *indices[static_cast<size_t>(at)]};
  const int64_t behind = x.rank() - at - mask.rank();  // dims of x that the mask does not cover
  Expr value = c.expr(2, x.dtype());
  if (c.b.type(value.v).numel().is_const(1)) value = reshape(value, {});
  // The dim of the places that the mask names comes first, or behind the dims before the mask.
  const int64_t places = value.rank() - behind - 1;
  if (places == 0 && value.sizes()[0].is_const(1)) {
    value = squeeze(value, 0);
  } else if (places >= 0) {
    if (mask.rank() == 0) return false;
    value = spread_by_mask(mask, value, places);
  }
  std::vector<Sym> sizes(mask.sizes());
  sizes.insert(sizes.end(), static_cast<size_t>(behind), Sym(1));
  c.done(where(reshape(mask, sizes), c.flag(3) ? x + value : value, x));
  return true;
}

/// self, indices, values, accumulate
void index_put(AtenCall& c) {
  const Expr x = c.expr(0);
  const std::vector<std::optional<ValueId>> indices = c.tensors(1);
  if (put_by_mask(c, x, indices)) return;
  const IndexedDims at = indexed_dims(c, x, indices);
  std::vector<Sym> sizes = at.base.sizes();
  const auto first = sizes.begin() + at.first;
  const auto gap = sizes.erase(first, first + static_cast<int64_t>(at.indices.size()));
  sizes.insert(gap, at.shape.begin(), at.shape.end());
  Expr values = c.expr(2, x.dtype());
  if (values.sizes() != sizes) values = expand(values, sizes);
  const Expr result = put_wrapped(at.base, at.first, at.indices, values, c.flag(3));
  c.done({&c.b, c.b.permute(result.v, inverse_order(at.order))});
}

/// Lines of dim `dim` (argument 1) at a 1-d or 0-d index (argument 2). A 0-d tensor is one line.
void put_lines(AtenCall& c, const Expr& updates, bool add) {
  Expr x = c.expr(0);
  if (x.rank() == 0) x = reshape(x, {Sym(1)});
  Expr index = c.expr(2, DType::i64);
  if (index.rank() == 0) index = reshape(index, {Sym(1)});
  const int64_t dim = c.dim(1, x.rank());
  std::vector<Sym> sizes(x.sizes());
  sizes[static_cast<size_t>(dim)] = index.sizes()[0];
  const Expr fitted = updates.sizes() == sizes ? updates
                      : updates.rank() == 0    ? expand(updates, sizes)
                                               : reshape(updates, sizes);
  c.done(reshape(put_wrapped(x, dim, {index}, fitted, add), c.out().sizes));
}

/// self, index, source, accumulate: as if self were flat.
void put_flat(AtenCall& c) {
  const Expr x = c.expr(0), index = c.expr(1, DType::i64);
  const auto flat = [](const Expr& e) { return reshape(e, {count(e, all_dims(e.rank()))}); };
  const Expr values = flat(c.expr(2, x.dtype()));
  c.done(reshape(put_wrapped(flat(x), 0, {flat(index)}, values, c.flag(3)), x.sizes()));
}

/// self, dim, index, source, alpha
void index_add(AtenCall& c) {
  Expr source = c.expr(3, c.out().dtype);
  if (c.real_or(4, 1) != 1) source = source * c.expr(4, source.dtype());
  put_lines(c, source, true);
}

/// self, dim, index, source or value
void index_set(AtenCall& c) { put_lines(c, c.expr(3, c.out().dtype), false); }

/// grad, indices, rows, padding index, scale by frequency: rows of equal index are summed.
void embedding_backward(AtenCall& c) {
  require(!c.flag(4), "gradients scaled by frequency");
  const DType t = c.out().dtype;
  Expr g = c.expr(0, t);
  const Expr index = c.expr(1, DType::i64);
  const int64_t padding = c.integer(3);
  if (padding >= 0)
    g = where(eq(unsqueeze(index, index.rank()), static_cast<double>(padding)), 0, g);
  c.done(put(full(c.b, 0, t, c.out().sizes), 0, {index}, g, true));
}

/// grad, input sizes, dim, size, step: windows are added back where they were read. As in eager,
/// grad may have one element where the input has more: istft spreads one window so.
void unfold_backward(AtenCall& c) {
  Expr g = c.expr(0);
  const int rank = c.out().rank();
  if (rank == 0) return c.done(sum(g, {0}, false));  // its one window, of one element or of none
  const int64_t dim = c.dim(2, rank);
  const Expr first = iota(c.b, g.sizes()[static_cast<size_t>(dim)], DType::i64, 0, 2) *
                     number(c.b, c.sym(4), DType::i64);
  const Expr index = first + iota(c.b, c.sym(3), DType::i64, 1, 2);
  std::vector<Sym> wide = c.out().sizes;
  wide[static_cast<size_t>(dim)] = g.sizes()[static_cast<size_t>(dim)];
  wide.push_back(c.sym(3));
  g = expand(g, wide);
  std::vector<int64_t> order = all_dims(rank);
  order.insert(order.begin() + dim + 1, rank);
  g.v = c.b.permute(g.v, order);
  c.done(put(full(c.b, 0, g.dtype(), c.out().sizes), dim, {index}, g, true));
}

}  // namespace

std::vector<AtenRule> scatter_rules() {
  return {
      {"aten.scatter.src", scatter_set},
      {"aten.scatter.value", scatter_set},
      {"aten.scatter_add.default", scatter_add},
      {"aten.scatter.reduce", scatter_with},
      {"aten.scatter.value_reduce", scatter_with},
      {"aten.index_reduce.default", index_reduce},
      {"aten.put.default", put_flat},
      {"aten.scatter_reduce.two", scatter_reduce},
      {"aten.index_put.default", index_put},
      {"aten._unsafe_index_put.default", index_put},
      {"aten.index_add.default", index_add},
      {"aten.index_copy.default", index_set},
      {"aten.index_fill.int_Scalar", index_set},
      {"aten.index_fill.int_Tensor", index_set},
      {"aten.embedding_dense_backward.default", embedding_backward},
      {"aten.unfold_backward.default", unfold_backward},
  };
}

}  // namespace ourjit
