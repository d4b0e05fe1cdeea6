// One kernel from one group: outer loops over kept dims, stages over the others.
#include <algorithm>

#include "lower/group_lowering.h"

namespace ourjit {

Sym product(const std::vector<LoopDims>& loops) {
  Sym n = 1;
  for (const LoopDims& l : loops) n *= l.extent;
  return n;
}

ReduceOp reduce_op(const Node& n) {
  const auto op = parse_reduce_op(attr<std::string>(n, "op"));
  OURJIT_CHECK(op) << "unknown reduction";
  return *op;
}

namespace {

constexpr int64_t kColumnBlock =
    64;  // kept columns per parallel iteration where rows are reduced from outside
constexpr int64_t kLongRow = 32768;  // longer rows are summed in blocks, for accuracy
constexpr int64_t kLongRowBlock = 4096;
constexpr int64_t kMaxLocal = 16384;  // elements of a local row
constexpr int kMaxLocals = 4;
constexpr int64_t kFewRows = 256, kManyBlocks = 4;
constexpr int64_t kShortInner = 256;  // inner loops shorter than this take a second loop along

/// True if rows are so few and long that tasks take pieces of them.
bool few_long_rows(const Sym& rows, const Sym& length) {
  return rows.is_const() && rows.value() <= kFewRows && length.is_const() &&
         length.value() >= kManyBlocks * kFlatBlock;
}

}  // namespace

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
