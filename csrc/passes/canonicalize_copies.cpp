// Calls that move elements into a new tensor: joins, padding, repetition, and replacing a part.
#include <algorithm>

#include "passes/canonicalize_rules.h"
#include "passes/slicing.h"

namespace ourjit {
namespace {

/// Old-style empty operands of shape [0] join anything and add nothing.
bool is_legacy_empty(const Expr& e, int rank) {
  return rank != 1 && e.rank() == 1 && e.sizes()[0].is_const(0);
}

std::vector<Expr> operands(AtenCall& c, int i) {
  std::vector<Expr> parts;
  for (const std::optional<ValueId>& v : c.tensors(i)) {
    require(v.has_value(), "a tensor was expected");
    parts.push_back(cast({&c.b, *v}, c.out().dtype));
  }
  return parts;
}

/// tensors, dim
void cat(AtenCall& c) {
  const int rank = c.out().rank();
  std::vector<Expr> parts = operands(c, 0);
  std::erase_if(parts, [&](const Expr& e) { return is_legacy_empty(e, rank); });
  require(!parts.empty(), "nothing to join");
  c.done(concat(parts, c.dim(1, rank)));
}

void stack(AtenCall& c) {
  const int64_t dim = c.dim(1, c.out().rank());
  std::vector<Expr> parts = operands(c, 0);
  for (Expr& e : parts) e = unsqueeze(e, dim);
  c.done(concat(parts, dim));
}

/// self, pad (pairs from the last dim), value: negative amounts cut.
void constant_pad(AtenCall& c) {
  Expr x = c.expr(0);
  const std::vector<Sym> amounts = c.syms(1);
  const auto rank = static_cast<size_t>(x.rank());
  require(amounts.size() % 2 == 0 && amounts.size() / 2 <= rank, "pairs of amounts were expected");
  std::vector<Sym> low(rank, Sym(0)), high(rank, Sym(0));
  for (size_t k = 0; k < amounts.size() / 2; ++k) {
    const size_t d = rank - 1 - k;
    const auto cut = [](const Sym& s) {
      return s.is_const() ? Sym(std::max<int64_t>(0, -s.value())) : Sym(0);
    };
    low[d] = amounts[2 * k];
    high[d] = amounts[2 * k + 1];
    const Sym cut_low = cut(low[d]), cut_high = cut(high[d]);
    if (cut_low.is_const(0) && cut_high.is_const(0)) continue;
    x = narrow(x, static_cast<int64_t>(d), cut_low, x.sizes()[d] - cut_low - cut_high);
    low[d] += cut_low;
    high[d] += cut_high;
  }
  const auto zero = [](const Sym& s) { return s.is_const(0); };
  if (std::all_of(low.begin(), low.end(), zero) && std::all_of(high.begin(), high.end(), zero))
    return c.done(x);
  const double value = c.real_or(2, 0);
  const Attr filler = is_float(x.dtype()) ? Attr(value) : Attr(Sym(static_cast<int64_t>(value)));
  c.done({&c.b, c.b.emit(Op::pad, {x.v}, {{"low", low}, {"high", high}, {"value", filler}})});
}

/// self, repeats: each dim d becomes (repeats[d], size), flattened.
void repeat(AtenCall& c) {
  const Expr x = c.expr(0);
  const std::vector<Sym> repeats = c.syms(1);
  std::vector<Sym> own, wide;
  const size_t extra = repeats.size() - static_cast<size_t>(x.rank());
  for (size_t d = 0; d < repeats.size(); ++d) {
    const Sym size = d < extra ? Sym(1) : x.sizes()[d - extra];
    own.insert(own.end(), {Sym(1), size});
    wide.insert(wide.end(), {repeats[d], size});
  }
  c.done(reshape(expand(reshape(x, own), wide), c.out().sizes));
}

/// self, shifts, dims: the tail comes before the head.
void roll(AtenCall& c) {
  Expr x = c.expr(0);
  const std::vector<Sym> shifts = c.syms(1), dims = c.syms(2);
  const bool flat = dims.empty();
  require(flat ? shifts.size() == 1 : shifts.size() == dims.size(), "one shift a dim was expected");
  if (flat) x = reshape(x, {x.b->type(x.v).numel()});
  for (size_t k = 0; k < shifts.size(); ++k) {
    require(flat || dims[k].is_const(), "a known dim was expected");
    const int64_t dim = flat ? 0 : wrap_dim(dims[k].value(), x.rank());
    const Sym size = x.sizes()[static_cast<size_t>(dim)];
    if (size.is_const(0)) continue;
    const Sym tail = mod(shifts[k], size);
    if (tail.is_const(0)) continue;
    x = concat({narrow(x, dim, size - tail, tail), narrow(x, dim, 0, size - tail)}, dim);
  }
  c.done(flat ? reshape(x, c.out().sizes) : x);
}

void flip(AtenCall& c) {
  const Expr x = c.expr(0);
  std::vector<int64_t> dims = c.integers(1);
  for (int64_t& d : dims) d = wrap_dim(d, x.rank());
  std::sort(dims.begin(), dims.end());
  if (dims.empty() || x.rank() == 0) return c.done(x);
  std::vector<Sym> list(dims.begin(), dims.end());
  c.done({&c.b, c.b.emit(Op::flip, {x.v}, {{"dims", list}})});
}

/// column - row of each element of the last two dims.
Expr diagonal_number(AtenCall& c, const std::vector<Sym>& sizes) {
  const Expr row = iota(c.b, sizes[sizes.size() - 2], DType::i64, 0, 2);
  return iota(c.b, sizes[sizes.size() - 1], DType::i64, 1, 2) - row;
}

/// tril (le) and triu (ge): self, diagonal
void triangle(AtenCall& c) {
  const Expr x = c.expr(0);
  require(x.rank() >= 2, "a matrix was expected");
  const Expr keep = apply(c.op, diagonal_number(c, x.sizes()), c.expr(1, DType::i64));
  c.done(where(keep, x, 0));
}

void view_copy(AtenCall& c) { c.done(reshape(c.expr(0), c.out().sizes)); }

/// `others`, or zeros where that is null, of the captured sizes, but for one diagonal of dims `row`
/// and `column`, which holds the last dim of `x`. Element k of it lies in row k, or in row
/// k - offset if the offset is negative.
void put_diagonal(AtenCall& c, const Expr& x, const Expr* others, int64_t offset, int64_t row,
                  int64_t column) {
  const int rank = c.out().rank();
  const Sym rows = c.out().sizes[static_cast<size_t>(row)];
  const Sym before = std::max<int64_t>(0, -offset), held = x.sizes().back();
  const Expr by_row = unsqueeze(pad_zeros(x, x.rank() - 1, before, rows - before - held), x.rank());
  const std::vector<Sym> plane{rows, c.out().sizes[static_cast<size_t>(column)]};
  const Expr here = eq(diagonal_number(c, plane), static_cast<double>(offset));
  std::vector<int64_t> planes_last = other_dims(rank, {row, column});
  planes_last.insert(planes_last.end(), {row, column});
  const Expr matrix = others ? where(here, by_row, Expr{&c.b, c.b.permute(others->v, planes_last)})
                             : where(here, by_row, 0);
  c.done({&c.b, c.b.permute(matrix.v, inverse_order(planes_last))});
}

/// self, offset, dim1, dim2
void diag_embed(AtenCall& c) {
  const int rank = c.out().rank();
  put_diagonal(c, c.expr(0), nullptr, c.integer(1), c.dim(2, rank), c.dim(3, rank));
}

/// grad, input sizes, offset, dim1, dim2
void diagonal_backward(AtenCall& c) {
  const int rank = c.out().rank();
  put_diagonal(c, c.expr(0), nullptr, c.integer(2), c.dim(3, rank), c.dim(4, rank));
}

/// self, src, offset, dim1, dim2
void diagonal_scatter(AtenCall& c) {
  const Expr x = c.expr(0), source = c.expr(1, x.dtype());
  if (source.sizes().back().is_const(0)) return c.done(x);
  put_diagonal(c, source, &x, c.integer(2), c.dim(3, x.rank()), c.dim(4, x.rank()));
}

/// self, src, dim, index
void select_scatter(AtenCall& c) {
  const Expr x = c.expr(0);
  const int64_t dim = c.dim(2, x.rank());
  const Sym size = x.sizes()[static_cast<size_t>(dim)];
  const Expr here = eq(iota(c.b, size, DType::i64, dim, x.rank()),
                       number(c.b, wrapped_index(c, 3, size), DType::i64));
  c.done(where(here, unsqueeze(c.expr(1, x.dtype()), dim), x));
}

/// self, src, dim, start, end, step
void slice_scatter(AtenCall& c) {
  const Expr x = c.expr(0), source = c.expr(1, x.dtype());
  const int64_t dim = c.dim(2, x.rank());
  const Sym size = x.sizes()[static_cast<size_t>(dim)];
  const Sym count = source.sizes()[static_cast<size_t>(dim)];
  const Sym step = c.none(5) ? Sym(1) : c.sym(5);
  if (count.is_const(0)) return c.done(x);
  const Sym start = slice_start(c, 3, size);
  if (step.is_const(1)) {
    const Sym rest = size - start - count;
    std::vector<Expr> parts;
    if (!start.is_const(0)) parts.push_back(narrow(x, dim, 0, start));
    parts.push_back(source);
    if (!rest.is_const(0)) parts.push_back(narrow(x, dim, start + count, rest));
    return c.done(concat(parts, dim));
  }
  // Element i takes source[(i - start) / step] where that is exact.
  const auto number_of = [&](const Sym& s) { return number(c.b, s, DType::i64); };
  const Expr from_start = iota(c.b, size, DType::i64, 0, 1) - number_of(start);
  const Expr quotient = floor_div(from_start, number_of(step));
  const Expr exact = eq(mod(from_start, number_of(step)), 0);
  const Expr inside = both(quotient >= 0, quotient < number_of(count));
  const Expr index = where(inside, quotient, 0);
  // Index 0 is read where there is nothing to take, and must be there if the slice is empty.
  const Expr taken = count.is_const() ? source : pad_zeros(source, dim, 0, 1);
  const Expr spread{
      &c.b, c.b.emit(Op::index_select, {taken.v, index.v}, {{"dim", Sym(dim)}, {"wrap", false}})};
  c.done(where(along(both(exact, inside), dim, x.rank()), spread, x));
}

/// grad, input sizes, dim, start, end, step: zeros around and between.
void slice_backward(AtenCall& c) {
  Expr g = c.expr(0);
  const auto dim = static_cast<size_t>(c.dim(2, g.rank()));
  const Sym size = c.syms(1)[dim];
  const Sym step = c.none(5) ? Sym(1) : c.sym(5);
  if (g.sizes()[dim].is_const(0)) return c.done(full(c.b, 0, g.dtype(), c.out().sizes));
  const Sym start = slice_start(c, 3, size);
  if (!step.is_const(1)) {
    std::vector<Sym> spread = g.sizes();
    const Sym covered = (spread[dim] - 1) * step + 1;  // up to the last element that was read
    spread[dim] *= step;
    const auto between = static_cast<int64_t>(dim) + 1;
    g = reshape(pad_zeros(unsqueeze(g, between), between, 0, step - 1), spread);
    g = narrow(g, static_cast<int64_t>(dim), 0, covered);
  }
  c.done(pad_zeros(g, static_cast<int64_t>(dim), start, size - start - g.sizes()[dim]));
}

/// grad, input sizes, dim, index
void select_backward(AtenCall& c) {
  const int rank = c.out().rank();
  const int64_t dim = c.dim(2, rank);
  const Sym size = c.syms(1)[static_cast<size_t>(dim)];
  const Sym index = wrapped_index(c, 3, size);
  c.done(pad_zeros(unsqueeze(c.expr(0), dim), dim, index, size - index - 1));
}

}  // namespace

std::vector<AtenRule> reshaping_copy_rules() {
  return {
      {"aten.cat.default", cat},
      {"aten.concat.default", cat},
      {"aten.stack.default", stack},
      {"aten.constant_pad_nd.default", constant_pad},
      {"aten.repeat.default", repeat},
      {"aten.roll.default", roll},
      {"aten.flip.default", flip},
      {"aten.tril.default", triangle, ScalarOp::le},
      {"aten.triu.default", triangle, ScalarOp::ge},
      {"aten.view_copy.default", view_copy},
      {"aten.diag_embed.default", diag_embed},
      {"aten.diagonal_backward.default", diagonal_backward},
      {"aten.diagonal_scatter.default", diagonal_scatter},
      {"aten.select_scatter.default", select_scatter},
      {"aten.slice_scatter.default", slice_scatter},
      {"aten.slice_backward.default", slice_backward},
      {"aten.select_backward.default", select_backward},
  };
}

}  // namespace ourjit
