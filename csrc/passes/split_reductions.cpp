#include <algorithm>
#include <bit>
#include <optional>

#include "base/error.h"
#include "graph/builder.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

// The grid of a two-phase reduction depends on the shape alone, so that results do not depend on
// threads.
constexpr int64_t kLongRow = 16384;    // one row of this length is one thread's work
constexpr int64_t kWholeChunk = 4096;  // elements of a partial sum over contiguous memory
constexpr int64_t kMaxWholeChunks = 1024;
constexpr int64_t kFewRows = 64;  // so few rows are summed column by column at once
constexpr int64_t kMinColumnChunk = 16;
constexpr int64_t kMaxColumnChunk = 512;  // rows summed in sequence: bounds the rounding error

/// Where the reduced dims lie in memory.
enum class Form { Nothing, Inner, Outer, Middle };

Form form(const TensorType& t, const std::vector<int64_t>& dims) {
  // Dims of more than one element from the largest stride to the smallest; logical order where
  // strides are symbolic.
  std::vector<size_t> order;
  for (size_t i = 0; i < t.sizes.size(); ++i)
    if (!t.sizes[i].is_const(1)) order.push_back(i);
  const bool numeric =
      std::all_of(t.strides.begin(), t.strides.end(), [](const Sym& s) { return s.is_const(); });
  if (numeric)
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return t.strides[a].value() > t.strides[b].value();
    });
  const auto reduced = [&](size_t d) {
    return std::find(dims.begin(), dims.end(), static_cast<int64_t>(d)) != dims.end();
  };
  const auto count = static_cast<size_t>(std::count_if(order.begin(), order.end(), reduced));
  if (count == 0) return Form::Nothing;
  size_t leading = 0, trailing = 0;
  while (leading < order.size() && reduced(order[leading])) ++leading;
  while (trailing < order.size() && reduced(order[order.size() - 1 - trailing])) ++trailing;
  if (trailing == count) return Form::Inner;
  return leading == count ? Form::Outer : Form::Middle;
}

/// Elements of each partial result, 0 to reduce in one phase.
int64_t chunk_of(Form f, const Sym& kept, const Sym& reduced, int64_t parallel_rows) {
  switch (f) {
    case Form::Nothing:
    case Form::Middle:
      return 0;
    case Form::Inner: {
      const bool many = !kept.is_const() || kept.value() >= parallel_rows;
      if (many && !kept.is_const(1)) return 0;
      if (!reduced.is_const()) return kWholeChunk;
      const int64_t limit = kept.is_const(1) ? 2 * kWholeChunk : kLongRow;
      if (reduced.value() <= limit) return 0;
      const auto wanted = static_cast<uint64_t>((reduced.value() - 1) / kMaxWholeChunks + 1);
      return std::max(kWholeChunk, static_cast<int64_t>(std::bit_ceil(wanted)));
    }
    case Form::Outer: {
      if (!reduced.is_const()) return kFewRows;
      if (reduced.value() <= kFewRows) return 0;
      const auto wanted = static_cast<uint64_t>((reduced.value() - 1) / parallel_rows + 1);
      return std::clamp(static_cast<int64_t>(std::bit_ceil(wanted)), kMinColumnChunk,
                        kMaxColumnChunk);
    }
  }
  return 0;
}

void split(Rewriter& r, const Node& n, int64_t chunk) {
  const TensorType& result = r.old.type(n.results[0]);
  const DType acc = compute_dtype(result.dtype);
  const ValueId x = r.b.cast(r(n.operands[0]), acc);
  const ValueId partial =
      r.b.emit(Op::partial_reduce, {x},
               {{"op", n.attrs.at("op")}, {"dims", n.attrs.at("dims")}, {"chunk", Sym(chunk)}});
  const auto op = parse_reduce_op(attr<std::string>(n, "op"));
  OURJIT_CHECK(op) << "unknown reduction";
  const ValueId sum = r.b.reduce(*op, partial, {0}, false);
  r.replace(n, r.b.reshape(r.b.cast(sum, result.dtype), result.sizes));
}

/// `x` with the dims at which a maximum is looked for made one, the last; nothing where that would
/// move memory.
std::optional<ValueId> with_searched_last(Rewriter& r, ValueId x,
                                          const std::vector<int64_t>& dims) {
  const TensorType t = r.b.type(x);
  if (dims.size() == 1) {
    std::vector<int64_t> order;
    for (int64_t d = 0; d < t.rank(); ++d)
      if (d != dims[0]) order.push_back(d);
    order.push_back(dims[0]);
    return r.b.permute(x, order);
  }
  if (t.strides != contiguous_strides(t.sizes)) return std::nullopt;
  return r.b.reshape(x, {t.numel()});
}

/// argmax or argmin: the extreme of each chunk, the first chunk that has the extreme of all, and
/// the first place of it there. Only that one chunk is read twice. The length must be a number.
bool split_search(Rewriter& r, const Node& n, int64_t chunk) {
  const TensorType& result = r.old.type(n.results[0]);
  const std::vector<int64_t> dims = int_list_attr(n, "dims");
  const bool greatest = attr<std::string>(n, "op") == "argmax";
  const ReduceOp search = greatest ? ReduceOp::argmax : ReduceOp::argmin;
  const std::optional<ValueId> rows = with_searched_last(r, r(n.operands[0]), dims);
  if (!rows) return false;
  const TensorType t = r.b.type(*rows);
  const int64_t last = t.rank() - 1;
  const int64_t count = t.sizes.back().value();
  const ValueId extremes = r.b.emit(Op::partial_reduce, {r.b.cast(*rows, compute_dtype(t.dtype))},
                                    {{"op", std::string(greatest ? "max" : "min")},
                                     {"dims", std::vector<Sym>{Sym(last)}},
                                     {"chunk", Sym(chunk)}});
  const ValueId begin = r.b.mul(r.b.reduce(search, extremes, {0}, false),
                                r.b.constant(chunk, DType::i64));  // of the chunk, for each row
  const ValueId place = r.b.emit(Op::iota, {}, {{"size", Sym(chunk)}, {"dtype", DType::i64}});
  std::vector<Sym> sizes(t.sizes.begin(), t.sizes.end() - 1);
  sizes.emplace_back(chunk);
  const ValueId in_chunk =
      r.b.add(r.b.expand(r.b.unsqueeze(begin, last), sizes), r.b.expand(place, sizes));
  // Beyond the end stands the last element, which has been met before.
  const ValueId index =
      r.b.pointwise(ScalarOp::minimum, {in_chunk, r.b.constant(count - 1, DType::i64)});
  const ValueId values = r.b.emit(Op::gather, {*rows, index}, {{"dim", Sym(last)}});
  const ValueId found = r.b.add(begin, r.b.reduce(search, values, {last}, false));
  r.replace(n, r.b.reshape(found, result.sizes));
  return true;
}

}  // namespace

Graph split_reductions(const Graph& g, const PassContext& ctx) {
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (n.op != Op::reduce) return r.keep(n);
    const std::string& op = attr<std::string>(n, "op");
    const bool searches = op == "argmax" || op == "argmin";
    const TensorType& t = r.old.type(n.operands[0]);
    const std::vector<int64_t> dims = int_list_attr(n, "dims");
    Sym reduced = 1, kept = 1;
    for (size_t i = 0; i < t.sizes.size(); ++i) {
      const bool in = std::find(dims.begin(), dims.end(), static_cast<int64_t>(i)) != dims.end();
      (in ? reduced : kept) *= t.sizes[i];
    }
    r.b.set_loc(n.loc);
    const Form f = form(t, dims);
    const int64_t chunk = chunk_of(f, kept, reduced, ctx.parallel_rows);
    if (chunk == 0) return r.keep(n);
    if (!searches)
      split(r, n, chunk);
    else if (f != Form::Inner || !reduced.is_const() || !split_search(r, n, chunk))
      r.keep(n);
  });
}

}  // namespace ourjit
