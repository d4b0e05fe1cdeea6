// Kernels of nodes that stand alone: those that write into memory that has a value already
// (copy_to, scatter, index_put), and scans.
#include <algorithm>
#include <limits>
#include <optional>

#include "base/error.h"
#include "loop/visit.h"
#include "lower/evaluate.h"
#include "lower/lower.h"

namespace ourjit {
namespace {

constexpr int64_t kScatterBlock =
    32;  // columns of a scattered row that one parallel iteration owns

class BarrierLowering {
 public:
  BarrierLowering(const Graph& g, const Fusion& f, const Node& n, const std::string& name,
                  const LowerOptions& options)
      : g_(g), n_(n), options_(options), b_(name), e_(g, f, b_) {}

  LoweredKernel run() {
    const KernelBuilder::Line only(b_, 0);
    switch (n_.op) {
      case Op::copy_to:
        copy_to();
        break;
      case Op::scatter:
        atomic() ? scatter_in_parallel() : scatter();
        break;
      case Op::index_put:
        atomic() ? index_put_in_parallel() : index_put();
        break;
      case Op::scan:
        scan();
        break;
      default:
        OURJIT_CHECK(false) << op_name(n_.op) << " has no kernel";
    }
    loop::Kernel k = b_.take();
    std::vector<Sym> sizes = loop::size_symbols(k);
    return {std::move(k), e_.buffers(), extent_, std::move(sizes)};
  }

 private:
  void open(loop::LoopKind kind, const std::string& var, const Sym& begin, const Sym& end,
            const Sym& extent) {
    b_.bounds().set_extent(var, extent);
    b_.open(kind, var, begin, end);
    ++open_;
  }
  void close_all() {
    for (; open_ > 0; --open_) b_.close();
  }

  /// Opens one parallel loop over the product of `extents` and returns the index of each.
  IndexVector open_parallel(const std::vector<Sym>& extents) {
    extent_ = product(extents);
    if (extents.empty()) return {};
    open(loop::LoopKind::Parallel, "p", 0, extent_, extent_);
    return delinearize(Sym::symbol("p"), extents, b_.bounds());
  }

  void copy_to();
  void scatter();
  void index_put();
  void scan();
  loop::ValueId log_add_exp(loop::ValueId x, loop::ValueId y, DType t);
  void scatter_in_parallel();
  void index_put_in_parallel();
  /// Opens loops over all of `sizes`, the last one within a parallel iteration.
  IndexVector open_all(const std::vector<Sym>& sizes);
  /// How a scatter combines an update with what is there; nothing: it replaces it.
  std::optional<ScalarOp> combine() const { return parse_scalar_op(attr<std::string>(n_, "mode")); }
  /// Elements may be added in any order, and are where memory can.
  bool atomic() const {
    return options_.atomics && combine() == ScalarOp::add &&
           loop::has_atomic_add(g_.type(n_.results[0]).dtype);
  }

  const Graph& g_;
  const Node& n_;
  const LowerOptions options_;
  KernelBuilder b_;
  Evaluator e_;
  Sym extent_ = 1;
  int open_ = 0;
};

void BarrierLowering::copy_to() {
  const IndexVector at = open_all(g_.type(n_.operands[0]).sizes);
  const loop::ValueId x =
      e_.element(n_.operands[1], broadcast_index(at, g_.type(n_.operands[1]).sizes));
  e_.store(n_.operands[0], at, x);
  close_all();
}

IndexVector BarrierLowering::open_all(const std::vector<Sym>& sizes) {
  if (sizes.empty()) return {};
  IndexVector at = open_parallel({sizes.begin(), sizes.end() - 1});
  open(loop::LoopKind::Serial, "c", 0, sizes.back(), sizes.back());
  at.push_back(Sym::symbol("c"));
  return at;
}

void BarrierLowering::scatter_in_parallel() {
  const auto dim = static_cast<size_t>(int_attr(n_, "dim"));
  IndexVector at = open_all(g_.type(n_.operands[1]).sizes);
  const std::vector<Sym>& base = g_.type(n_.operands[0]).sizes;
  const loop::ValueId i = b_.cast(e_.element(n_.operands[1], at), DType::i64);
  const Sym target = b_.bind(i, base.empty() ? Sym(1) : base[dim], false, loop::kNone);
  const loop::ValueId x =
      e_.element(n_.operands[2], broadcast_index(at, g_.type(n_.operands[2]).sizes));
  if (!at.empty()) at[dim] = target;
  e_.store(n_.results[0], at, x, ScalarOp::add, true);
  close_all();
}

/// updates[lead..., index dims..., trail...]
void BarrierLowering::index_put_in_parallel() {
  const std::vector<int64_t> dims = int_list_attr(n_, "dims");
  const auto lead = static_cast<int64_t>(dims[0]), count = static_cast<int64_t>(dims.size());
  const std::vector<Sym>& base = g_.type(n_.operands[0]).sizes;
  const std::vector<Sym>& positions = g_.type(n_.operands[2]).sizes;
  std::vector<Sym> sizes(base.begin(), base.begin() + lead);
  sizes.insert(sizes.end(), positions.begin(), positions.end());
  sizes.insert(sizes.end(), base.begin() + lead + count, base.end());
  const IndexVector at = open_all(sizes);
  const auto first = at.begin() + lead, last = first + static_cast<int64_t>(positions.size());
  IndexVector to(at.begin(), first);
  for (size_t k = 0; k < dims.size(); ++k) {
    const loop::ValueId i = b_.cast(e_.element(n_.operands[2 + k], {first, last}), DType::i64);
    to.push_back(b_.bind(i, base[static_cast<size_t>(lead) + k], true, loop::kNone));
  }
  to.insert(to.end(), last, at.end());
  const loop::ValueId x =
      e_.element(n_.operands[1], broadcast_index(at, g_.type(n_.operands[1]).sizes));
  e_.store(n_.results[0], to, x, ScalarOp::add, true);
  close_all();
}

/// Elements that differ only in `dim` may meet at one place, so that dim runs serially.
void BarrierLowering::scatter() {
  const auto dim = static_cast<size_t>(int_attr(n_, "dim"));
  const std::vector<Sym>& sizes = g_.type(n_.operands[1]).sizes;
  std::vector<Sym> others;
  for (size_t i = 0; i < sizes.size(); ++i)
    if (i != dim) others.push_back(sizes[i]);
  const IndexVector outer = open_parallel(others);
  IndexVector at;
  for (size_t i = 0, k = 0; i < sizes.size(); ++i)
    at.push_back(i == dim ? Sym::symbol("t") : outer[k++]);
  if (sizes.empty()) {
    at.clear();
  } else {
    open(loop::LoopKind::Serial, "t", 0, sizes[dim], sizes[dim]);
  }
  const std::vector<Sym>& base = g_.type(n_.operands[0]).sizes;
  const loop::ValueId i = b_.cast(e_.element(n_.operands[1], at), DType::i64);
  const Sym target = b_.bind(i, base.empty() ? Sym(1) : base[dim], false, loop::kNone);
  const loop::ValueId x =
      e_.element(n_.operands[2], broadcast_index(at, g_.type(n_.operands[2]).sizes));
  IndexVector to = at;
  if (!to.empty()) to[dim] = target;
  e_.store(n_.results[0], to, x, combine());
  close_all();
}

/// updates[lead..., index dims..., trail...]: lead and blocks of the last dim run in parallel,
/// index dims serially, since equal indices meet at one place.
void BarrierLowering::index_put() {
  const std::vector<int64_t> dims = int_list_attr(n_, "dims");
  const auto first = static_cast<size_t>(dims[0]);
  const std::vector<Sym>& base = g_.type(n_.operands[0]).sizes;
  const std::vector<Sym>& index_shape = g_.type(n_.operands[2]).sizes;
  const std::vector<Sym> lead(base.begin(), base.begin() + static_cast<int64_t>(first));
  std::vector<Sym> trail(base.begin() + static_cast<int64_t>(first + dims.size()), base.end());
  std::vector<Sym> parallel = lead;
  Sym columns = 1, block = 1;
  if (!trail.empty()) {
    columns = trail.back();
    trail.pop_back();
    block = columns.is_const()
                ? Sym(std::max<int64_t>(kScatterBlock, (columns.value() / 4 + 15) / 16 * 16))
                : Sym(kScatterBlock);
    parallel.insert(parallel.end(), trail.begin(), trail.end());
    parallel.push_back(ceildiv(columns, block));
  }
  const bool has_columns = base.size() > first + dims.size();
  const IndexVector outer = open_parallel(parallel);
  IndexVector at(outer.begin(), outer.begin() + static_cast<int64_t>(lead.size()));
  IndexVector position;
  for (size_t i = 0; i < index_shape.size(); ++i) {
    const std::string var = "t" + std::to_string(i);
    open(loop::LoopKind::Serial, var, 0, index_shape[i], index_shape[i]);
    position.push_back(Sym::symbol(var));
  }
  IndexVector to = at;
  for (size_t k = 0; k < dims.size(); ++k) {
    const loop::ValueId i = b_.cast(e_.element(n_.operands[2 + k], position), DType::i64);
    to.push_back(b_.bind(i, base[first + k], true, loop::kNone));
  }
  at.insert(at.end(), position.begin(), position.end());
  for (size_t i = 0; i < trail.size(); ++i) {
    at.push_back(outer[lead.size() + i]);
    to.push_back(outer[lead.size() + i]);
  }
  if (has_columns) {
    const Sym from = outer.back() * block;
    open(loop::LoopKind::Serial, "c", from,
         exact_div(columns, block) ? from + block : min(columns, from + block), columns);
    at.push_back(Sym::symbol("c"));
    to.push_back(Sym::symbol("c"));
  }
  const loop::ValueId x =
      e_.element(n_.operands[1], broadcast_index(at, g_.type(n_.operands[1]).sizes));
  e_.store(n_.results[0], to, x, combine());
  close_all();
}

/// Each line along the dim is a serial loop.
void BarrierLowering::scan() {
  const auto dim = static_cast<size_t>(int_attr(n_, "dim"));
  const std::string& op = attr<std::string>(n_, "op");
  const TensorType& type = g_.type(n_.results[0]);
  std::vector<Sym> others(type.sizes);
  others.erase(others.begin() + static_cast<int64_t>(dim));
  IndexVector at = open_parallel(others);
  // As ATen on CPUs: sums and products of f32 in f64, logsumexp in f32.
  const bool exponents = op == "logsumexp";
  const DType wide =
      type.dtype == DType::f32 && !exponents ? DType::f64 : compute_dtype(type.dtype);
  const std::string state = b_.add_local(wide, 1);
  const double identity = exponents ? -std::numeric_limits<double>::infinity() : op == "prod";
  b_.store(state, 0, b_.constant(wide, identity));
  open(loop::LoopKind::Serial, "t", 0, type.sizes[dim], type.sizes[dim]);
  at.insert(at.begin() + static_cast<int64_t>(dim), Sym::symbol("t"));
  const loop::ValueId before = b_.load(state, wide, 0, loop::kNone, true);
  const loop::ValueId x = b_.cast(e_.element(n_.operands[0], at), wide);
  const loop::ValueId after =
      exponents ? log_add_exp(before, x, wide)
                : b_.compute(op == "sum" ? ScalarOp::add : ScalarOp::mul, wide, {before, x});
  b_.store(state, 0, after);
  e_.store(n_.results[0], at, after);
  close_all();
}

/// log(exp(x) + exp(y)); equal infinities are the result.
loop::ValueId BarrierLowering::log_add_exp(loop::ValueId x, loop::ValueId y, DType t) {
  const auto f = [&](ScalarOp op, std::vector<loop::ValueId> args, DType result) {
    return b_.compute(op, result, std::move(args));
  };
  const loop::ValueId low = f(ScalarOp::minimum, {x, y}, t), high = f(ScalarOp::maximum, {x, y}, t);
  const loop::ValueId distance = f(ScalarOp::sub, {low, high}, t);
  const loop::ValueId sum =
      f(ScalarOp::add, {f(ScalarOp::log1p, {f(ScalarOp::exp, {distance}, t)}, t), high}, t);
  const loop::ValueId equal = f(ScalarOp::eq, {low, high}, DType::boolean);
  const loop::ValueId infinite = f(ScalarOp::isinf, {high}, DType::boolean);
  return f(ScalarOp::where,
           {f(ScalarOp::bitwise_and, {equal, infinite}, DType::boolean), high, sum}, t);
}

}  // namespace

LoweredKernel lower_barrier(const Graph& g, const Fusion& f, NodeId n, const std::string& name,
                            const LowerOptions& options) {
  const Node& node = g.node(n);
  LoweredKernel k = BarrierLowering(g, f, node, name, options).run();
  // A scatter writes into the copy of its base.
  if (node.op != Op::scan)
    for (ValueId& v : k.buffers)
      if (v == node.results[0]) v = node.operands[0];
  k.kernel.provenance.push_back(std::string(op_name(node.op)) +
                                (node.loc.empty() ? "" : "  # " + node.loc));
  return k;
}

}  // namespace ourjit
