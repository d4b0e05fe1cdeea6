// as_strided and its kin: calls that address the memory of their operand. An operand whose elements
// fill its memory is that memory, as one line; what a call sees of the line is most often one
// block of it, otherwise it is gathered.
#include <algorithm>
#include <numeric>

#include "passes/canonicalize_rules.h"
#include "passes/indexing.h"

namespace ourjit {
namespace {

/// Sizes, strides and offset of a call, in elements of the operand's memory.
struct Window {
  std::vector<Sym> sizes, strides;
  Sym offset;
};

/// Dims `order` (outermost first) of sizes `sizes` that lie without gaps; dims left out have one
/// element or are broadcast.
struct Block {
  std::vector<int64_t> order;
  std::vector<Sym> sizes;
};

/// The dims by falling strides, if they leave no gaps.
std::optional<Block> block_of(const std::vector<Sym>& sizes, const std::vector<Sym>& strides) {
  Block block;
  for (size_t d = 0; d < sizes.size(); ++d)
    if (!strides[d].is_const(0) && !sizes[d].is_const(1))
      block.order.push_back(static_cast<int64_t>(d));
  const auto stride = [&](int64_t d) { return strides[static_cast<size_t>(d)]; };
  const auto known = [&](int64_t d) { return stride(d).is_const(); };
  if (std::all_of(block.order.begin(), block.order.end(), known))
    std::stable_sort(block.order.begin(), block.order.end(),
                     [&](int64_t a, int64_t b) { return stride(a).value() > stride(b).value(); });
  for (const int64_t d : block.order) block.sizes.push_back(sizes[static_cast<size_t>(d)]);
  const std::vector<Sym> dense = contiguous_strides(block.sizes);
  for (size_t k = 0; k < block.order.size(); ++k)
    if (dense[k] != stride(block.order[k])) return std::nullopt;
  return block;
}

/// A line of elements as a tensor of `sizes` whose dims lie as the block says.
Expr unfolded(const Expr& line, const Block& block, const std::vector<Sym>& sizes) {
  Expr e = reshape(line, block.sizes);
  std::vector<int64_t> sorted = block.order;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> inverse;
  for (const int64_t d : sorted)
    inverse.push_back(std::find(block.order.begin(), block.order.end(), d) - block.order.begin());
  if (!inverse.empty()) e.v = e.b->permute(e.v, inverse);
  std::vector<Sym> with_ones(sizes.size(), Sym(1));
  for (const int64_t d : sorted) with_ones[static_cast<size_t>(d)] = sizes[static_cast<size_t>(d)];
  return expand(reshape(e, with_ones), sizes);
}

/// The inverse, for a tensor whose other dims have one element.
Expr as_line(const Expr& x, const Block& block) {
  std::vector<Sym> sizes;
  std::vector<int64_t> kept = block.order;
  std::sort(kept.begin(), kept.end());
  for (const int64_t d : kept) sizes.push_back(x.sizes()[static_cast<size_t>(d)]);
  std::vector<int64_t> order;
  for (const int64_t d : block.order)
    order.push_back(std::find(kept.begin(), kept.end(), d) - kept.begin());
  Expr e = reshape(x, sizes);
  if (!order.empty()) e.v = e.b->permute(e.v, order);
  return reshape(e, {product(block.sizes)});
}

bool has_all_dims(const Block& block, const std::vector<Sym>& sizes) {
  return product(block.sizes) == product(sizes);
}

/// How the operand (argument 0) lies in memory; it must fill it.
Block memory(AtenCall& c) {
  const TensorType& t = c.captured(0);
  const std::optional<Block> block = block_of(t.sizes, t.strides);
  require(block && has_all_dims(*block, t.sizes), "the memory of a tensor with gaps");
  return *block;
}

/// Sizes, strides and offset at arguments `first` and on. The offset counts from the start of the
/// storage, so the operand must own it; without one it counts from the operand.
Window window(AtenCall& c, size_t first) {
  static const AtenRules views({view_rules()});
  const Node* producer = c.producer(0);
  const bool owner = producer != nullptr && views.find(call_target(*producer)) == nullptr &&
                     call_target(*producer) != "aten.as_strided.default";
  require(c.none(first + 2) || owner, "an offset into a storage that is not seen");
  return {c.syms(first), c.syms(first + 1), c.none(first + 2) ? Sym(0) : c.sym(first + 2)};
}

/// Positions of all elements of the window in a line of `count` elements.
Expr positions(AtenCall& c, const Window& w, const Sym& count) {
  require(count.is_const() && w.offset.is_const(), "memory of symbolic size");
  const auto rank = static_cast<int>(w.sizes.size());
  Expr at = number(c.b, w.offset, DType::i64);
  int64_t last = w.offset.value();
  for (int d = 0; d < rank; ++d) {
    const Sym &size = w.sizes[static_cast<size_t>(d)], &stride = w.strides[static_cast<size_t>(d)];
    require(size.is_const() && stride.is_const(), "symbolic strides");
    last += (size.value() - 1) * stride.value();
    at = at + iota(c.b, size, DType::i64, d, rank) * number(c.b, stride, DType::i64);
  }
  require(last < count.value(), "memory beyond the operand");
  return expand(at, w.sizes);
}

/// self, sizes, strides, offset: the elements that the call sees.
Expr seen(AtenCall& c) {
  const Expr x = c.expr(0);
  const TensorType& from = c.captured(0);
  const Window w = window(c, 1);
  if (w.offset.is_const(0) && w.sizes == from.sizes && w.strides == from.strides) return x;
  const Expr line = as_line(x, memory(c));
  if (const std::optional<Block> block = block_of(w.sizes, w.strides))
    return unfolded(narrow(line, 0, w.offset, product(block->sizes)), *block, w.sizes);
  return take(line, positions(c, w, line.sizes()[0]), 0, false);
}

void as_strided(AtenCall& c) { c.done_view(seen(c)); }
void as_strided_copy(AtenCall& c) { c.done(seen(c)); }

/// self, source, sizes, strides, offset
void as_strided_scatter(AtenCall& c) {
  const Expr x = c.expr(0), source = c.expr(1, x.dtype());
  const Window w = window(c, 2);
  const Block lies = memory(c);
  const Expr line = as_line(x, lies);
  const Sym count = line.sizes()[0];
  const std::optional<Block> block = block_of(w.sizes, w.strides);
  if (!block || !has_all_dims(*block, w.sizes)) {
    const Expr written = put(line, 0, {positions(c, w, count)}, source, false);
    return c.done(unfolded(written, lies, x.sizes()));
  }
  const Sym end = w.offset + product(block->sizes);
  std::vector<Expr> parts;
  if (!w.offset.is_const(0)) parts.push_back(narrow(line, 0, 0, w.offset));
  parts.push_back(as_line(source, *block));
  if (count != end) parts.push_back(narrow(line, 0, end, count - end));
  c.done(unfolded(parts.size() == 1 ? parts[0] : concat(parts, 0), lies, x.sizes()));
}

}  // namespace

std::vector<AtenRule> storage_rules() {
  return {
      {"aten.as_strided.default", as_strided},
      {"aten.as_strided_copy.default", as_strided_copy},
      {"aten.as_strided_scatter.default", as_strided_scatter},
  };
}

}  // namespace ourjit
