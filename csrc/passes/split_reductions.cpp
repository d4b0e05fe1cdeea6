#include <algorithm>
#include <bit>

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

}  // namespace

Graph split_reductions(const Graph& g, const PassContext& ctx) {
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (n.op != Op::reduce) return r.keep(n);
    const std::string& op = attr<std::string>(n, "op");
    if (op == "argmax" || op == "argmin") return r.keep(n);
    const TensorType& t = r.old.type(n.operands[0]);
    const std::vector<int64_t> dims = int_list_attr(n, "dims");
    Sym reduced = 1, kept = 1;
    for (size_t i = 0; i < t.sizes.size(); ++i) {
      const bool in = std::find(dims.begin(), dims.end(), static_cast<int64_t>(i)) != dims.end();
      (in ? reduced : kept) *= t.sizes[i];
    }
    r.b.set_loc(n.loc);
    const int64_t chunk = chunk_of(form(t, dims), kept, reduced, ctx.parallel_rows);
    if (chunk == 0) return r.keep(n);
    split(r, n, chunk);
  });
}

}  // namespace ourjit
