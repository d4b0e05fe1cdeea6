// The first phases of reductions: sums and the like of chunks, beside what else the group computes.
#include <limits>

#include "lower/group_lowering.h"

namespace ourjit {
namespace {

ScalarOp combine_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return ScalarOp::add;
    case ReduceOp::prod:
      return ScalarOp::mul;
    case ReduceOp::max:
      return ScalarOp::maximum;
    case ReduceOp::min:
      return ScalarOp::minimum;
    case ReduceOp::argmax:
    case ReduceOp::argmin:
    case ReduceOp::exp_sum:
      break;
  }
  OURJIT_CHECK(false) << reduce_op_name(op) << " has no first phase";
  return ScalarOp::add;
}

Sym sink_chunks(const Graph& g, const Group& group) {
  return g.type(g.node(group.sinks[0]).results[0]).sizes[0];
}

/// The largest number of a dtype, or the smallest.
loop::ValueId farthest(KernelBuilder& b, DType t, bool largest) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (is_float(t)) return b.constant(t, largest ? kInfinity : -kInfinity);
  if (is_bool(t)) return b.constant_int(t, largest);
  const int bits = static_cast<int>(8 * dtype_bytes(t));
  if (dtype_kind(t) == DTypeKind::Unsigned)
    return b.constant_int(t, largest ? (int64_t{1} << bits) - 1 : 0);
  const int64_t most = std::numeric_limits<int64_t>::max() >> (64 - bits);
  return b.constant_int(t, largest ? most : -most - 1);
}

}  // namespace

void GroupLowering::lower_sinks() {
  const auto rest = loops_where([&](const LoopDims& l) { return !is_sink(l); });
  if (!plan_.loops.empty() && is_sink(plan_.loops.back()) && plan_.group.reduced.empty())
    lower_inner_sinks(rest);
  else
    lower_outer_sinks(rest);
}

/// Opens the loop over the positions of one chunk of the sink dims, flattened in row-major order.
void GroupLowering::open_chunk(const std::string& var, const Sym& chunk_index) {
  LoopDims all{{}, 1};
  for (size_t i = 0; i < dims().size(); ++i)
    if (plan_.sink_dims[i]) {
      all.dims.push_back(i);
      all.extent *= dims()[i];
    }
  const Sym chunk = attr<Sym>(g_.node(plan_.group.sinks[0]), "chunk");
  const Sym begin = chunk_index * chunk, end = begin + chunk;
  open(loop::LoopKind::Serial, var, begin,
       exact_div(all.extent, chunk) ? end : min(all.extent, end), all.extent);
  decode(all, Sym::symbol(var));
}

/// Chunks of rows; each keeps its column sums in the partial results' memory. Of long rows that
/// need not be whole, pieces.
void GroupLowering::lower_outer_sinks(const std::vector<LoopDims>& rest) {
  const Sym p = Sym::symbol("p"), chunks = sink_chunks(g_, plan_.group);
  const bool in_pieces = plan_.group.reduced.empty() && !rest.empty() &&
                         rest.back().extent.is_const() &&
                         rest.back().extent.value() > options_.sum_columns;
  const Sym pieces =
      in_pieces ? blocked_loop(rest.back().extent, options_.sum_columns, p).blocks : Sym(1);
  extent_ = chunks * pieces;
  open(loop::LoopKind::Parallel, "p", 0, extent_, extent_);
  chunk_ = b_.bounds().simplify(floordiv(p, pieces));
  if (in_pieces)
    columns_ = blocked_loop(rest.back().extent, options_.sum_columns,
                            b_.bounds().simplify(mod(p, pieces)));
  init_partials(rest);
  open_chunk("r", chunk_);
  row_body(rest);
  b_.close();
  b_.close();
}

/// The sink dims are contiguous: one sum for each chunk and kept element.
void GroupLowering::lower_inner_sinks(const std::vector<LoopDims>& rest) {
  const Sym chunks = sink_chunks(g_, plan_.group);
  const Sym kept = product(rest);
  extent_ = chunks * kept;
  open(loop::LoopKind::Parallel, "p", 0, extent_, extent_);
  const Sym p = Sym::symbol("p");
  chunk_ = b_.bounds().simplify(floordiv(p, kept));
  decode_product(rest, b_.bounds().simplify(mod(p, kept)));
  const StagePlan stages = plan_stages(g_, f_, plan_.group, 0);
  OURJIT_CHECK(stages.stages.size() == 1) << "a chunk is one stage";
  const Stage& s = stages.stages[0];
  open_chunk("c", chunk_);
  std::vector<std::pair<NodeId, loop::ValueId>> sums;
  for (const NodeId n : s.sinks) {
    const Node& node = g_.node(n);
    const DType t = compute_dtype(g_.type(node.results[0]).dtype);
    const loop::ValueId x = b_.cast(e_.element(node.operands[0], member_at(n)), t);
    const KernelBuilder::Line from(b_, e_.line(node.results[0]));
    sums.emplace_back(n, b_.reduce(reduce_op(node), x, b_.depth()));
  }
  for (const ValueId v : s.stores) {
    const IndexVector at = member_at(g_.values[static_cast<size_t>(v)].def);
    e_.store(v, at, e_.element(v, at));
  }
  b_.close();
  for (const auto& [n, sum] : sums) e_.store(g_.node(n).results[0], partial_index(n, chunk_), sum);
  b_.close();
}

IndexVector GroupLowering::partial_index(NodeId sink, const Sym& chunk) const {
  const auto m = member_index(g_, plan_.group, sink);
  IndexVector out{chunk};
  const IndexVector kept = substituted(result_index(g_.node(sink), m->index));
  out.insert(out.end(), kept.begin(), kept.end());
  return out;
}

void GroupLowering::init_partials(const std::vector<LoopDims>& inner) {
  for (size_t i = 0; i < plan_.sink_dims.size(); ++i)
    if (plan_.sink_dims[i]) at_[i] = 0;
  open_inner(inner, "z", false);
  for (const NodeId n : plan_.group.sinks) {
    const Node& node = g_.node(n);
    const ValueId v = node.results[0];
    const DType t = g_.type(v).dtype;
    loop::ValueId zero = loop::kNone;
    switch (reduce_op(node)) {
      case ReduceOp::sum:
        zero = b_.constant_int(t, 0);
        break;
      case ReduceOp::prod:
        zero = b_.constant_int(t, 1);
        break;
      case ReduceOp::max:
      case ReduceOp::min:
        zero = farthest(b_, t, reduce_op(node) == ReduceOp::min);
        break;
      default:
        combine_op(reduce_op(node));
    }
    e_.store(v, partial_index(n, chunk_), zero);
  }
  for (size_t i = 0; i < inner.size(); ++i) b_.close();
}

void GroupLowering::accumulate(NodeId sink) {
  const Node& node = g_.node(sink);
  const ValueId v = node.results[0];
  const IndexVector at = partial_index(sink, chunk_);
  const DType t = g_.type(v).dtype;
  const loop::ValueId x = b_.cast(e_.element(node.operands[0], member_at(sink)), t);
  const KernelBuilder::Line from(b_, e_.line(v));
  const loop::ValueId before =
      b_.load(b_.buffer_name(e_.buffer(v, loop::Access::InOut)), t,
              linear_offset(at, g_.type(v).strides, b_.bounds()), loop::kNone, true);
  e_.store(v, at, b_.compute(combine_op(reduce_op(node)), t, {before, x}));
}

}  // namespace ourjit
