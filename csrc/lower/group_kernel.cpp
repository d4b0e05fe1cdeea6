// One kernel from one group: outer loops over kept dims, stages over the others.
#include <algorithm>
#include <functional>
#include <limits>

#include "base/error.h"
#include "loop/visit.h"
#include "lower/domain.h"
#include "lower/evaluate.h"
#include "lower/flat_loop.h"
#include "lower/lower.h"
#include "lower/stages.h"

namespace ourjit {
namespace {

constexpr int64_t kColumnBlock =
    64;  // kept columns per parallel iteration where rows are reduced from outside
constexpr int64_t kLongRow = 32768;  // longer rows are summed in blocks, for accuracy
constexpr int64_t kLongRowBlock = 4096;
constexpr int64_t kMaxLocal = 16384;  // elements of a local row
constexpr int kMaxLocals = 4;
constexpr int64_t kFewRows = 256, kManyBlocks = 4;
constexpr int64_t kShortInner = 256;  // inner loops shorter than this take a second loop along

Sym product(const std::vector<LoopDims>& loops) {
  Sym n = 1;
  for (const LoopDims& l : loops) n *= l.extent;
  return n;
}

/// True if rows are so few and long that tasks take pieces of them.
bool few_long_rows(const Sym& rows, const Sym& length) {
  return rows.is_const() && rows.value() <= kFewRows && length.is_const() &&
         length.value() >= kManyBlocks * kFlatBlock;
}

class GroupLowering {
 public:
  GroupLowering(const Graph& g, const Fusion& f, const Group& group, const std::string& name,
                const LowerOptions& options)
      : g_(g),
        f_(f),
        options_(options),
        plan_(plan_domain(g, f, group)),
        b_(name),
        e_(g, f, b_),
        at_(plan_.group.dims.size(), Sym(0)) {
    e_.set_members(plan_.group.members);
  }

  LoweredKernel run() {
    if (!plan_.group.sinks.empty())
      lower_sinks();
    else if (!plan_.group.reduced.empty())
      lower_rows();
    else
      lower_pointwise();
    loop::Kernel k = b_.take();
    std::vector<Sym> sizes = loop::size_symbols(k);
    return {std::move(k), e_.buffers(), extent_, std::move(sizes)};
  }

 private:
  const std::vector<Sym>& dims() const { return plan_.group.dims; }

  /// Sets the domain variables of a loop from its variable.
  void decode(const LoopDims& l, const Sym& value) {
    std::vector<Sym> sizes;
    for (const size_t d : l.dims) sizes.push_back(dims()[d]);
    const IndexVector at = delinearize(value, sizes, b_.bounds());
    for (size_t i = 0; i < at.size(); ++i) at_[l.dims[i]] = at[i];
  }

  void open(loop::LoopKind kind, const std::string& var, const Sym& begin, const Sym& end,
            const Sym& extent) {
    b_.bounds().set_extent(var, extent);
    b_.open(kind, var, begin, end);
  }

  /// Opens the parallel loop over the product of `loops` and decodes it. Without loops nothing is
  /// opened.
  void open_parallel(const std::vector<LoopDims>& loops) {
    extent_ = product(loops);
    if (loops.empty()) return;
    open(loop::LoopKind::Parallel, "p", 0, extent_, extent_);
    decode_product(loops, Sym::symbol("p"));
  }

  void decode_product(const std::vector<LoopDims>& loops, const Sym& value) {
    std::vector<Sym> extents;
    for (const LoopDims& l : loops) extents.push_back(l.extent);
    const IndexVector at = delinearize(value, extents, b_.bounds());
    for (size_t i = 0; i < at.size(); ++i) decode(loops[i], at[i]);
  }

  /// Opens a parallel loop over blocks of `l` in each iteration of `outer`, and a serial one within
  /// a block.
  void open_blocked(const std::vector<LoopDims>& outer, const LoopDims& l, int64_t block,
                    const std::string& var) {
    const Sym p = Sym::symbol("p"), blocks = blocked_loop(l.extent, block, p).blocks;
    extent_ = product(outer) * blocks;
    open(loop::LoopKind::Parallel, "p", 0, extent_, extent_);
    decode_product(outer, b_.bounds().simplify(floordiv(p, blocks)));
    const Sym in_row = outer.empty() ? p : b_.bounds().simplify(mod(p, blocks));
    const BlockedLoop b = blocked_loop(l.extent, block, in_row);
    open(loop::LoopKind::Serial, var, b.begin, b.end, l.extent);
    decode(l, Sym::symbol(var));
  }

  /// The whole kernel within open_blocked.
  void blocked_body(const std::vector<LoopDims>& outer, const LoopDims& l, int64_t block,
                    const std::string& var, const std::vector<LoopDims>& inner) {
    open_blocked(outer, l, block, var);
    row_body(inner);
    b_.close();
    b_.close();
  }

  IndexVector member_at(NodeId n) const {
    const auto m = member_index(g_, plan_.group, n);
    OURJIT_CHECK(m) << "member does not fit its group";
    return substituted(m->index);
  }

  IndexVector substituted(const IndexVector& index) const {
    IndexVector out;
    for (const Sym& i : index)
      out.push_back(
          b_.bounds().simplify(i.substitute([&](std::string_view name) -> std::optional<Sym> {
            if (name.size() < 2 || name[0] != 'd') return std::nullopt;
            for (size_t d = 0; d < at_.size(); ++d)
              if (name == "d" + std::to_string(d)) return at_[d];
            return std::nullopt;
          })));
    return out;
  }

  void lower_pointwise();
  void lower_rows();
  void lower_sinks();
  void lower_outer_sinks(const std::vector<LoopDims>& rest);
  void lower_inner_sinks(const std::vector<LoopDims>& rest);
  void open_chunk(const std::string& var, const Sym& chunk_index);
  std::vector<LoopDims> loops_where(const std::function<bool(const LoopDims&)>& f) const {
    std::vector<LoopDims> out;
    for (const LoopDims& l : plan_.loops)
      if (f(l)) out.push_back(l);
    return out;
  }
  bool is_reduced(const LoopDims& l) const {
    return !plan_.group.reduced.empty() && plan_.group.reduced[l.dims[0]];
  }
  bool is_sink(const LoopDims& l) const {
    return !plan_.sink_dims.empty() && plan_.sink_dims[l.dims[0]];
  }

  StagePlan stages_that_fit(const Sym& row) const;
  void row_body(const std::vector<LoopDims>& inner);
  void open_inner(const std::vector<LoopDims>& inner, const std::string& name, bool flat);
  void stage_body(const Stage& s, int first_loop,
                  std::vector<std::pair<ValueId, loop::ValueId>>* results);
  void accumulate(NodeId sink);
  /// Where the element at hand of the row at hand is kept in a local array.
  Sym local_index() const {
    Sym at = 0;
    for (size_t i = 0; i < dims().size(); ++i)
      if (plan_.group.reduced[i]) at = at * dims()[i] + at_[i];
    return at * lanes_ + lane_;
  }
  IndexVector partial_index(NodeId sink, const Sym& chunk) const;
  void init_partials(const std::vector<LoopDims>& inner);

  const Graph& g_;
  const Fusion& f_;
  LowerOptions options_;
  DomainPlan plan_;
  KernelBuilder b_;
  Evaluator e_;
  IndexVector at_;  // each domain variable in terms of loop variables
  Sym extent_ = 1;
  Sym chunk_;                           // index of the chunk that is open
  std::optional<BlockedLoop> columns_;  // the piece of a row that is open
  int64_t lanes_ = 1;  // rows that are open side by side; each has its column in a local array
  Sym lane_;           // which of them
  std::map<ValueId, std::string> locals_;
};

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

ReduceOp reduce_op(const Node& n) {
  const auto op = parse_reduce_op(attr<std::string>(n, "op"));
  OURJIT_CHECK(op) << "unknown reduction";
  return *op;
}

void GroupLowering::lower_pointwise() {
  std::vector<LoopDims> loops = plan_.loops;
  if (loops.empty()) {
    row_body({});
    return;
  }
  if (loops.size() == 1) {
    blocked_body({}, loops[0], kFlatBlock, "c", {});
    return;
  }
  std::vector<LoopDims> inner{loops.back()};
  loops.pop_back();
  if (plan_.transposed) {
    const auto t = static_cast<int64_t>(plan_.transposed_loop);
    inner.insert(inner.begin(), loops[plan_.transposed_loop]);
    loops.erase(loops.begin() + t);
    if (loops.empty()) {
      blocked_body({}, inner[0], kColumnBlock, "t", {inner[1]});
      return;
    }
  } else if (loops.size() >= 2 && inner[0].extent.is_const() &&
             inner[0].extent.value() < kShortInner) {
    inner.insert(inner.begin(), loops.back());
    loops.pop_back();
  } else if (few_long_rows(product(loops), inner[0].extent)) {
    blocked_body(loops, inner[0], kFlatBlock, "c", {});
    return;
  }
  open_parallel(loops);
  row_body(inner);
  b_.close();
}

void GroupLowering::lower_rows() {
  const auto kept = loops_where([&](const LoopDims& l) { return !is_reduced(l); });
  const auto reduced = loops_where([&](const LoopDims& l) { return is_reduced(l); });
  const bool rows_inside = is_reduced(plan_.loops.back());
  if (rows_inside || kept.empty()) {
    open_parallel(kept);
    row_body(reduced);
    if (!kept.empty()) b_.close();
    return;
  }
  // The kept dim is contiguous: each of its elements is a lane, the reduction steps from outside.
  if (kept.size() == 1) {
    open_blocked({}, kept[0], kColumnBlock, "q");
    lanes_ = kColumnBlock;
    lane_ = Sym::symbol("q") - Sym::symbol("p") * kColumnBlock;
  } else {
    const Sym columns = kept.back().extent;
    lanes_ = columns.is_const() ? columns.value() : kMaxLocal;
    lane_ = Sym::symbol("q");
    open_parallel({kept.begin(), kept.end() - 1});
    open(loop::LoopKind::Serial, "q", 0, kept.back().extent, kept.back().extent);
    decode(kept.back(), Sym::symbol("q"));
  }
  row_body(reduced);
  b_.close();
  b_.close();
}

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

Sym sink_chunks(const Graph& g, const Group& group) {
  return g.type(g.node(group.sinks[0]).results[0]).sizes[0];
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

/// Opens the loops of one stage; with `flat` a single loop over their product, in logical order.
void GroupLowering::open_inner(const std::vector<LoopDims>& inner, const std::string& name,
                               bool flat) {
  if (flat) {
    LoopDims all{{}, 1};
    for (const LoopDims& l : inner) all.dims.insert(all.dims.end(), l.dims.begin(), l.dims.end());
    std::sort(all.dims.begin(), all.dims.end());
    for (const size_t d : all.dims) all.extent *= dims()[d];
    open(loop::LoopKind::Serial, name, 0, all.extent, all.extent);
    decode(all, Sym::symbol(name));
    return;
  }
  for (size_t i = 0; i < inner.size(); ++i) {
    const std::string var = inner.size() == 1 ? name : name + "_" + std::to_string(i);
    const bool piece = columns_ && i + 1 == inner.size();
    open(loop::LoopKind::Serial, var, piece ? columns_->begin : Sym(0),
         piece ? columns_->end : inner[i].extent, inner[i].extent);
    decode(inner[i], Sym::symbol(var));
  }
}

void GroupLowering::stage_body(const Stage& s, int first_loop,
                               std::vector<std::pair<ValueId, loop::ValueId>>* results) {
  const auto at = [&](ValueId v) { return member_at(g_.values[static_cast<size_t>(v)].def); };
  for (const ValueId v : s.locals) {
    const IndexVector index = at(v);
    const loop::ValueId x = e_.element(v, index);
    const KernelBuilder::Line from(b_, e_.line(v));
    b_.store(locals_.at(v), local_index(), x);
  }
  for (const ValueId v : s.stores) {
    const IndexVector index = at(v);
    e_.store(v, index, e_.element(v, index));
  }
  for (const NodeId n : s.sinks) accumulate(n);
  for (const NodeId n : s.reductions) {
    const Node& node = g_.node(n);
    const ValueId v = node.results[0];
    const ReduceOp op = reduce_op(node);
    loop::ValueId x = e_.element(node.operands[0], member_at(n));
    x = op == ReduceOp::argmax || op == ReduceOp::argmin
            ? e_.seen(node.operands[0], x)
            : b_.cast(x, compute_dtype(g_.type(v).dtype));
    const KernelBuilder::Line from(b_, e_.line(v));
    results->emplace_back(v, b_.reduce(op, x, first_loop));
  }
}

/// Stages with as many values kept in locals as there is room for.
StagePlan GroupLowering::stages_that_fit(const Sym& row) const {
  const bool has_locals =
      !plan_.group.reduced.empty() && row.is_const() && row.value() * lanes_ <= kMaxLocal;
  for (int limit = has_locals ? kMaxLocals : 0;; --limit) {
    StagePlan plan = plan_stages(g_, f_, plan_.group, limit);
    int64_t bytes = 0;
    for (const Stage& s : plan.stages)
      for (const ValueId v : s.locals)
        bytes += row.value() * lanes_ * dtype_bytes(compute_dtype(g_.type(v).dtype));
    if (limit == 0 || bytes <= options_.local_bytes) return plan;
  }
}

/// The stages of one row (or of one element, without inner loops); the loops over kept dims are
/// open.
void GroupLowering::row_body(const std::vector<LoopDims>& inner) {
  const Sym row = product(inner);
  const StagePlan stages = stages_that_fit(row);
  for (const Stage& s : stages.stages)
    for (const ValueId v : s.locals)
      locals_[v] = b_.add_local(compute_dtype(g_.type(v).dtype), row.value() * lanes_);
  bool flat = false;
  for (const NodeId n : plan_.group.members) {
    const Node& node = g_.node(n);
    if (node.op == Op::reduce)
      flat |= reduce_op(node) == ReduceOp::argmax || reduce_op(node) == ReduceOp::argmin;
  }
  const bool rows = !plan_.group.reduced.empty();
  for (size_t i = 0; i < stages.stages.size(); ++i) {
    const Stage& s = stages.stages[i];
    if (s.reductions.empty() && s.sinks.empty() && s.stores.empty() && s.locals.empty()) continue;
    const int first_loop = b_.depth() + 1;
    const bool blocked = rows && !flat && inner.size() == 1 && row.is_const() &&
                         row.value() > kLongRow && !s.reductions.empty();
    if (blocked) {
      const Sym blocks = ceildiv(row, kLongRowBlock);
      const std::string outer = "b" + std::to_string(i) + "_";
      open(loop::LoopKind::Serial, outer, 0, blocks, blocks);
      const Sym from = Sym::symbol(outer) * kLongRowBlock;
      const std::string var = "c" + std::to_string(i);
      open(loop::LoopKind::Serial, var, from,
           row.value() % kLongRowBlock ? min(row, from + kLongRowBlock) : from + kLongRowBlock,
           row);
      decode(inner[0], Sym::symbol(var));
    } else {
      open_inner(inner, "c" + std::to_string(i), flat && rows);
    }
    // Kept and stored values are read at the indices of this stage's loops.
    for (size_t earlier = 0; earlier < i; ++earlier) {
      for (const ValueId v : stages.stages[earlier].stores) {
        if (!stages.reloaded.count(v)) continue;
        const NodeId n = g_.values[static_cast<size_t>(v)].def;
        e_.set_stored(v, result_index(g_.node(n), member_at(n)));
      }
      for (const ValueId v : stages.stages[earlier].locals) {
        e_.set_local(v, locals_.at(v), member_at(g_.values[static_cast<size_t>(v)].def),
                     b_.bounds().simplify(local_index()));
      }
    }
    std::vector<std::pair<ValueId, loop::ValueId>> results;
    stage_body(s, first_loop, &results);
    while (b_.depth() >= first_loop) b_.close();
    for (const auto& [v, x] : results)
      e_.set_scalar(v, b_.cast(x, compute_dtype(g_.type(v).dtype)));
  }
  for (const ValueId v : stages.row_stores) {
    const NodeId n = g_.values[static_cast<size_t>(v)].def;
    const IndexVector at = result_index(g_.node(n), member_at(n));
    e_.store(v, at, e_.element(v, at));
  }
}

}  // namespace

LoweredKernel lower_group(const Graph& g, const Fusion& f, const Group& group,
                          const std::string& name, const LowerOptions& options) {
  LoweredKernel k = GroupLowering(g, f, group, name, options).run();
  for (const NodeId n : group.members) {
    const Node& node = g.node(n);
    std::string line =
        std::string(op_name(node.op)) + " %" + g.values[static_cast<size_t>(node.results[0])].name;
    if (!node.loc.empty()) line += "  # " + node.loc;
    k.kernel.provenance.push_back(std::move(line));
  }
  return k;
}

}  // namespace ourjit
