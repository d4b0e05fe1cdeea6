// Calls whose result ATen makes a view of its operand.
#include <algorithm>
#include <numeric>

#include "passes/canonicalize_rules.h"
#include "passes/slicing.h"

namespace ourjit {
namespace {

/// view, squeeze, unsqueeze, flatten ...: the same elements in row-major order.
void reshaped(AtenCall& c) { c.done_view(reshape(c.expr(0), c.out().sizes)); }

void expanded(AtenCall& c) { c.done_view(expand(c.expr(0), c.out().sizes)); }

void permuted(AtenCall& c, const std::vector<int64_t>& dims) {
  c.done_view({&c.b, c.b.permute(c.tensor(0), dims)});
}

void permute(AtenCall& c) {
  std::vector<int64_t> dims = c.integers(1);
  for (int64_t& d : dims) d = wrap_dim(d, static_cast<int>(dims.size()));
  permuted(c, dims);
}

void swap_dims(AtenCall& c, int64_t first, int64_t second) {
  const int rank = c.expr(0).rank();
  if (rank == 0) return c.done_view(c.expr(0));
  std::vector<int64_t> dims = all_dims(rank);
  std::swap(dims[static_cast<size_t>(first)], dims[static_cast<size_t>(second)]);
  permuted(c, dims);
}

void transpose(AtenCall& c) {
  const int rank = c.expr(0).rank();
  swap_dims(c, c.dim(1, rank), c.dim(2, rank));
}

/// t: swaps two dims, leaves fewer alone.
void t(AtenCall& c) {
  const int rank = c.expr(0).rank();
  rank < 2 ? c.done_view(c.expr(0)) : swap_dims(c, 0, 1);
}

/// mT, mH, adjoint of real tensors.
void matrix_transpose(AtenCall& c) {
  const int rank = c.expr(0).rank();
  require(rank >= 2, "a matrix was expected");
  swap_dims(c, rank - 2, rank - 1);
}

void movedim(AtenCall& c) {
  const int rank = c.expr(0).rank();
  const auto list = [&](int i) {
    std::vector<int64_t> dims = c.is_list(i) ? c.integers(i) : std::vector<int64_t>{c.integer(i)};
    for (int64_t& d : dims) d = wrap_dim(d, rank);
    return dims;
  };
  const std::vector<int64_t> from = list(1), to = list(2);
  require(from.size() == to.size(), "as many sources as destinations were expected");
  std::vector<int64_t> dims(static_cast<size_t>(rank), -1);
  for (size_t i = 0; i < from.size(); ++i) dims[static_cast<size_t>(to[i])] = from[i];
  const std::vector<int64_t> rest = other_dims(rank, from);
  size_t next = 0;
  for (int64_t& d : dims)
    if (d < 0) d = rest[next++];
  permuted(c, dims);
}

/// self, dim, index
void select(AtenCall& c) {
  const Expr x = c.expr(0);
  const int64_t dim = c.dim(1, x.rank());
  const Sym index = wrapped_index(c, 2, x.sizes()[static_cast<size_t>(dim)]);
  c.done_view(reshape(narrow(x, dim, index, 1), c.out().sizes));
}

/// self, dim, start, end, step: the captured size says where it ends.
void slice(AtenCall& c) {
  const Expr x = c.expr(0);
  const auto dim = static_cast<size_t>(c.dim(1, x.rank()));
  const Sym start = slice_start(c, 2, x.sizes()[dim]);
  const Sym step = c.none(4) ? Sym(1) : c.sym(4);
  const Sym& size = c.out().sizes[dim];
  if (start.is_const(0) && step.is_const(1) && size == x.sizes()[dim]) return c.done_view(x);
  c.done_view({&c.b, c.b.slice(x.v, static_cast<int64_t>(dim), start, step, size)});
}

/// self, dim, start, length
void narrow(AtenCall& c) {
  const Expr x = c.expr(0);
  const int64_t dim = c.dim(1, x.rank());
  const Sym start = wrapped_index(c, 2, x.sizes()[static_cast<size_t>(dim)]);
  c.done_view(narrow(x, dim, start, c.sym(3)));
}

/// Consecutive pieces of dim `dim`; piece k begins at begin(k).
void pieces(AtenCall& c, int64_t dim, const std::vector<Sym>& begins) {
  const Expr x = c.expr(0);
  for (int k = 0; k < c.results(); ++k) {
    if (!c.wanted(k)) continue;
    const Sym& size = c.out(k).sizes[static_cast<size_t>(dim)];
    c.done_view(narrow(x, dim, begins[static_cast<size_t>(k)], size), k);
  }
}

/// self, piece size, dim
void split(AtenCall& c) {
  std::vector<Sym> begins;
  for (int k = 0; k < c.results(); ++k) begins.push_back(c.sym(1) * k);
  pieces(c, c.dim(2, c.expr(0).rank()), begins);
}

/// self, piece sizes, dim
void split_sizes(AtenCall& c) {
  std::vector<Sym> begins;
  Sym begin = 0;
  for (const Sym& size : c.syms(1)) {
    begins.push_back(begin);
    begin += size;
  }
  require(begins.size() == static_cast<size_t>(c.results()), "one result a piece was expected");
  pieces(c, c.dim(2, c.expr(0).rank()), begins);
}

/// self, number of pieces, dim
void chunk(AtenCall& c) {
  const Expr x = c.expr(0);
  const int64_t dim = c.dim(2, x.rank());
  const Sym step = ceildiv(x.sizes()[static_cast<size_t>(dim)], c.sym(1));
  std::vector<Sym> begins;
  for (int k = 0; k < c.results(); ++k) begins.push_back(step * k);
  pieces(c, dim, begins);
}

void unbind(AtenCall& c) {
  const Expr x = c.expr(0);
  const int64_t dim = c.dim(1, x.rank());
  for (int k = 0; k < c.results(); ++k)
    if (c.wanted(k)) c.done_view(squeeze(narrow(x, dim, k, 1), dim), k);
}

/// self, offset, dim1, dim2: a strided slice of the two dims flattened into one.
void diagonal(AtenCall& c) {
  const Expr x = c.expr(0);
  const int64_t row = c.dim(2, x.rank()), column = c.dim(3, x.rank());
  const int64_t offset = c.integer(1);
  std::vector<int64_t> order = other_dims(x.rank(), {row, column});
  order.push_back(row);
  order.push_back(column);
  std::vector<Sym> sizes(c.out().sizes.begin(), c.out().sizes.end() - 1);
  const Sym rows = x.sizes()[static_cast<size_t>(row)],
            columns = x.sizes()[static_cast<size_t>(column)];
  sizes.push_back(rows * columns);
  const Sym start = offset >= 0 ? Sym(offset) : columns * -offset;
  const Expr flat = reshape({&c.b, c.b.permute(x.v, order)}, sizes);
  const auto last = static_cast<int64_t>(sizes.size()) - 1;
  c.done_view({&c.b, c.b.slice(flat.v, last, start, columns + 1, c.out().sizes.back())});
}

/// self, dim, size, step: windows gathered by index arithmetic; the window dim becomes the last.
void unfold(AtenCall& c) {
  const Expr x = c.expr(0);
  if (x.rank() == 0 && c.sym(2).is_const(1)) return c.done_view(reshape(x, c.out().sizes));
  require(x.rank() > 0, "a 0-d tensor has one window of one element");
  const int64_t dim = c.dim(1, x.rank());
  const Sym count = c.out().sizes[static_cast<size_t>(dim)];
  const Expr first = iota(c.b, count, DType::i64, 0, 2) * number(c.b, c.sym(3), DType::i64);
  const Expr index = first + iota(c.b, c.sym(2), DType::i64, 1, 2);
  const Expr windows{
      &c.b, c.b.emit(Op::index_select, {x.v, index.v}, {{"dim", Sym(dim)}, {"wrap", false}})};
  std::vector<int64_t> order = all_dims(x.rank() + 1);
  order.erase(order.begin() + dim + 1);
  order.push_back(dim + 1);
  c.done_view({&c.b, c.b.permute(windows.v, order)});
}

}  // namespace

std::vector<AtenRule> view_rules() {
  return {
      {"aten.view.default", reshaped},
      {"aten.reshape.default", reshaped},
      {"aten._unsafe_view.default", reshaped},
      {"aten._reshape_alias.default", reshaped},
      {"aten.flatten.using_ints", reshaped},
      {"aten.unflatten.int", reshaped},
      {"aten.ravel.default", reshaped},
      {"aten.unsqueeze.default", reshaped},
      {"aten.squeeze.default", reshaped},
      {"aten.squeeze.dim", reshaped},
      {"aten.squeeze.dims", reshaped},
      {"aten.expand.default", expanded},
      {"aten.broadcast_to.default", expanded},
      {"aten.permute.default", permute},
      {"aten.transpose.int", transpose},
      {"aten.swapaxes.default", transpose},
      {"aten.swapdims.default", transpose},
      {"aten.t.default", t},
      {"aten.mT.default", matrix_transpose},
      {"aten.mH.default", matrix_transpose},
      {"aten.adjoint.default", matrix_transpose},
      {"aten.movedim.int", movedim},
      {"aten.movedim.intlist", movedim},
      {"aten.select.int", select},
      {"aten.slice.Tensor", slice},
      {"aten.narrow.default", narrow},
      {"aten.split.Tensor", split},
      {"aten.unsafe_split.Tensor", split},
      {"aten.split_with_sizes.default", split_sizes},
      {"aten.unsafe_split_with_sizes.default", split_sizes},
      {"aten.chunk.default", chunk},
      {"aten.unsafe_chunk.default", chunk},
      {"aten.unbind.int", unbind},
      {"aten.diagonal.default", diagonal},
      {"aten.unfold.default", unfold},
  };
}

}  // namespace ourjit
