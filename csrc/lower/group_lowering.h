// What lower_group is made of: group_kernel.cpp lowers pointwise groups and rows, sink_kernel.cpp
// the first phases of reductions.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "loop/visit.h"
#include "lower/domain.h"
#include "lower/evaluate.h"
#include "lower/flat_loop.h"
#include "lower/lower.h"
#include "lower/stages.h"

namespace ourjit {

/// Iterations of all these loops together.
Sym product(const std::vector<LoopDims>& loops);
/// What a reduction does.
ReduceOp reduce_op(const Node& n);

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

}  // namespace ourjit
