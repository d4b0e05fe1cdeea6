#include "lower/evaluate.h"

#include "base/error.h"

namespace ourjit {

using loop::kNone;

namespace {

/// One more than the largest element offset of a value in memory.
Sym reach(const TensorType& t) {
  Sym last = 0;
  for (size_t i = 0; i < t.sizes.size(); ++i) {
    if (t.sizes[i].is_const(0)) return 0;
    last += (t.sizes[i] - 1) * t.strides[i];
  }
  return last + 1;
}

}  // namespace

Evaluator::Evaluator(const Graph& g, const Fusion& f, KernelBuilder& b)
    : g_(g), f_(f), b_(b), member_(g.nodes.size(), kNone) {}

void Evaluator::set_members(const std::vector<NodeId>& members) {
  int line = 0;
  for (const NodeId n : members) member_[static_cast<size_t>(n)] = line++;
}

void Evaluator::set_local(ValueId v, std::string local, IndexVector index, Sym at) {
  locals_[v] = {std::move(local), std::move(index), std::move(at)};
}

void Evaluator::set_stored(ValueId v, const IndexVector& index) {
  IndexVector& at = stored_[v];
  at.clear();
  for (const Sym& i : index) at.push_back(b_.bounds().simplify(i));
}

int Evaluator::buffer(ValueId v, loop::Access access) {
  const auto it = buffer_of_.find(v);
  if (it != buffer_of_.end()) {
    b_.touch(it->second, access);
    return it->second;
  }
  const TensorType& t = g_.type(v);
  const int i = b_.add_buffer(t.dtype, access, reach(t));
  buffer_of_[v] = i;
  buffers_.push_back(v);
  return i;
}

loop::ValueId Evaluator::element(ValueId v, const IndexVector& index, loop::ValueId mask) {
  if (const auto s = scalars_.find(v); s != scalars_.end()) return s->second;
  IndexVector at;
  for (const Sym& i : index) at.push_back(b_.bounds().simplify(i));
  const MemoKey key{v, at, mask};
  if (const auto m = memo_.find(key); m != memo_.end()) {
    const auto [value, depth, serial] = m->second;
    if (depth <= b_.depth() && b_.serial(depth) == serial) return value;
  }
  const loop::ValueId value = compute(v, at, mask);
  const int depth = b_.value_depth(value);
  memo_[key] = {value, depth, b_.serial(depth)};
  return value;
}

loop::ValueId Evaluator::load(ValueId v, const IndexVector& index, loop::ValueId mask) {
  const TensorType& t = g_.type(v);
  const bool own = stored_.count(v) > 0;
  const int b = buffer(v, loop::Access::In);
  const loop::ValueId x =
      b_.load(b_.buffer_name(b), t.dtype, linear_offset(index, t.strides, b_.bounds()), mask, own);
  if (compute_dtype(t.dtype) == t.dtype) return x;
  const loop::ValueId wide = b_.cast(x, compute_dtype(t.dtype));
  narrow_[wide] = x;
  return wide;
}

loop::ValueId Evaluator::compute(ValueId v, const IndexVector& index, loop::ValueId mask) {
  // The loops around do not run, but what does not depend on them would stand before them.
  if (g_.type(v).numel().is_const(0)) return b_.constant_int(compute_dtype(g_.type(v).dtype), 0);
  if (const auto l = locals_.find(v); l != locals_.end() && l->second.index == index)
    return b_.load(l->second.local, compute_dtype(g_.type(v).dtype), l->second.at, mask, true);
  const NodeId d = g_.values[static_cast<size_t>(v)].def;
  const bool mine = d >= 0 && member_[static_cast<size_t>(d)] != kNone;
  // Other elements of what this kernel stores may not be there yet: they are computed again.
  const auto stored = stored_.find(v);
  const bool there = stored != stored_.end() && stored->second == index;
  if (d < 0 || there || (f_.materialized[static_cast<size_t>(v)] && !mine))
    return load(v, index, mask);
  const Node& n = g_.node(d);
  std::optional<KernelBuilder::Line> from;
  if (mine) from.emplace(b_, member_[static_cast<size_t>(d)]);
  switch (op_category(n.op)) {
    case OpCategory::View:
      return element(n.operands[0], view_operand_index(g_, n, index, b_.bounds()), mask);
    case OpCategory::Pointwise:
      return pointwise(n, index, mask);
    case OpCategory::Generate:
      return generate(n, index);
    case OpCategory::Join:
      return n.op == Op::pad ? pad(n, index, mask) : concat(n, index, mask);
    case OpCategory::Gather:
      return gather(n, index, mask);
    default:
      break;
  }
  OURJIT_CHECK(false) << "element of %" << g_.values[static_cast<size_t>(v)].name << " ("
                      << op_name(n.op) << ") is asked for before it is computed";
  return kNone;
}

loop::ValueId Evaluator::rounded(loop::ValueId v, DType to) {
  if (compute_dtype(to) == to) return b_.cast(v, to);
  const auto it = narrow_.find(v);
  if (it != narrow_.end() && b_.dtype(it->second) == to) return v;
  const loop::ValueId x = b_.cast(v, to);
  const loop::ValueId wide = b_.cast(x, compute_dtype(to));
  narrow_[wide] = x;
  return wide;
}

namespace {

/// Operations whose results jump: what they see must be rounded as it would be in memory.
bool jumps(ScalarOp op) {
  switch (op) {
    case ScalarOp::sign:
    case ScalarOp::floor:
    case ScalarOp::ceil:
    case ScalarOp::round:
    case ScalarOp::trunc:
    case ScalarOp::floor_div:
    case ScalarOp::trunc_div:
    case ScalarOp::mod:
    case ScalarOp::fmod:
    case ScalarOp::eq:
    case ScalarOp::ne:
    case ScalarOp::lt:
    case ScalarOp::le:
    case ScalarOp::gt:
    case ScalarOp::ge:
      return true;
    default:
      return false;
  }
}

/// Operations in which ATen takes a Python float as it is, not rounded to its 16-bit operand.
bool takes_whole_numbers(ScalarOp op) { return op == ScalarOp::mul || op == ScalarOp::div; }

std::optional<double> python_float(const Graph& g, ValueId v) {
  const Node* n = g.def(v);
  if (!n || n->op != Op::constant || !is_narrow_float(g.type(v).dtype)) return std::nullopt;
  const auto* x = std::get_if<double>(&n->attrs.find("value")->second);
  return x ? std::optional(*x) : std::nullopt;
}

bool is_zero(const Graph& g, ValueId v) {
  const Node* n = g.def(v);
  while (n && op_category(n->op) == OpCategory::View) n = g.def(n->operands[0]);
  if (!n || n->op != Op::constant) return false;
  const Attr& value = n->attrs.find("value")->second;
  if (const auto* d = std::get_if<double>(&value)) return *d == 0;
  const auto* s = std::get_if<Sym>(&value);
  return s && s->is_const(0);
}

/// Rounding changes no sign, so that order against zero does not need it.
bool orders_against_zero(const Graph& g, const Node& n) {
  if (n.op != Op::lt && n.op != Op::le && n.op != Op::gt && n.op != Op::ge) return false;
  return is_zero(g, n.operands[0]) || is_zero(g, n.operands[1]);
}

}  // namespace

loop::ValueId Evaluator::seen(ValueId v, loop::ValueId x) {
  const DType t = g_.type(v).dtype;
  return is_float(t) ? rounded(x, t) : x;
}

loop::ValueId Evaluator::pointwise(const Node& n, const IndexVector& index, loop::ValueId mask) {
  const DType result = g_.type(n.results[0]).dtype;
  std::vector<loop::ValueId> args;
  for (const ValueId o : n.operands)
    args.push_back(element(o, broadcast_index(index, g_.type(o).sizes), mask));
  if (n.op == Op::cast) {
    if (g_.type(n.operands[0]).dtype == result && !rounds(n)) return args[0];
    if (is_integer(result)) args[0] = seen(n.operands[0], args[0]);
    return rounded(args[0], result);
  }
  const ScalarOp op = scalar_op(n.op);
  if (takes_whole_numbers(op))
    for (size_t i = 0; i < args.size(); ++i)
      if (const std::optional<double> x = python_float(g_, n.operands[i]))
        args[i] = b_.constant(compute_dtype(result), *x);
  if (jumps(op) && !orders_against_zero(g_, n))
    for (size_t i = 0; i < args.size(); ++i) args[i] = seen(n.operands[i], args[i]);
  const bool divides = op == ScalarOp::floor_div || op == ScalarOp::trunc_div ||
                       op == ScalarOp::mod || op == ScalarOp::fmod;
  if (divides && mask != kNone && !is_float(b_.dtype(args[1]))) {
    // Elements that are masked off read zeros and must not count as divisions by zero.
    const DType t = b_.dtype(args[1]);
    args[1] = b_.compute(ScalarOp::where, t, {mask, args[1], b_.constant_int(t, 1)});
  }
  return b_.compute(op, compute_dtype(result), args);
}

loop::ValueId Evaluator::generate(const Node& n, const IndexVector& index) {
  const TensorType& t = g_.type(n.results[0]);
  const DType dtype = compute_dtype(t.dtype);
  switch (n.op) {
    case Op::constant: {
      const auto& value = n.attrs.at("value");
      if (const auto* d = std::get_if<double>(&value)) {
        if (dtype == t.dtype) return b_.constant(dtype, *d);
        return rounded(b_.constant(dtype, *d), t.dtype);
      }
      if (const auto* flag = std::get_if<bool>(&value)) return b_.constant_int(dtype, *flag);
      const Sym& s = attr<Sym>(n, "value");
      if (s.is_const()) return b_.constant_int(dtype, s.value());
      return b_.cast(b_.index(s), dtype);
    }
    case Op::iota:
      return b_.cast(b_.index(index[0]), dtype);
    case Op::uniform:
    case Op::normal: {
      const loop::ValueId seed = element(n.operands[0], {}, kNone);
      const Sym at = linear_offset(index, contiguous_strides(t.sizes), b_.bounds());
      const ScalarOp op = n.op == Op::uniform ? ScalarOp::rand_uniform : ScalarOp::rand_normal;
      return b_.compute(op, dtype, {seed, b_.index(at)});
    }
    default:
      break;
  }
  OURJIT_CHECK(false) << op_name(n.op) << " does not generate";
  return kNone;
}

loop::ValueId Evaluator::in_window(const Sym& x, const Sym& lo, const Sym& hi, loop::ValueId mask,
                                   bool* never) {
  *never = false;
  const SymBounds& bounds = b_.bounds();
  const auto both = [&](loop::ValueId c) {
    mask = mask == kNone ? c : b_.compute(ScalarOp::bitwise_and, DType::boolean, {mask, c});
  };
  if (bounds.in_range(x, lo) || bounds.in_range(x - hi, x - hi + 1)) {
    *never = true;
    return mask;
  }
  if (!lo.is_const(0) && !bounds.in_range(x - lo, x - lo + 1))
    both(b_.compute(ScalarOp::ge, DType::boolean, {b_.index(x), b_.index(lo)}));
  if (!bounds.in_range(x, hi))
    both(b_.compute(ScalarOp::lt, DType::boolean, {b_.index(x), b_.index(hi)}));
  return mask;
}

loop::ValueId Evaluator::pad(const Node& n, const IndexVector& index, loop::ValueId mask) {
  const TensorType& from = g_.type(n.operands[0]);
  const DType dtype = compute_dtype(from.dtype);
  const auto& low = attr<std::vector<Sym>>(n, "low");
  const auto& value = n.attrs.at("value");
  const loop::ValueId fill = std::holds_alternative<double>(value)
                                 ? b_.constant(dtype, std::get<double>(value))
                                 : b_.constant_int(dtype, std::holds_alternative<bool>(value)
                                                              ? std::get<bool>(value)
                                                              : std::get<Sym>(value).value());
  IndexVector inner;
  loop::ValueId inside = kNone;
  for (size_t i = 0; i < index.size(); ++i) {
    bool never = false;
    inside = in_window(index[i], low[i], low[i] + from.sizes[i], inside, &never);
    if (never) return fill;
    inner.push_back(index[i] - low[i]);
  }
  if (inside == kNone) return element(n.operands[0], inner, mask);
  const loop::ValueId both =
      mask == kNone ? inside : b_.compute(ScalarOp::bitwise_and, DType::boolean, {inside, mask});
  return b_.compute(ScalarOp::where, dtype, {inside, element(n.operands[0], inner, both), fill});
}

loop::ValueId Evaluator::concat(const Node& n, const IndexVector& index, loop::ValueId mask) {
  const auto dim = static_cast<size_t>(int_attr(n, "dim"));
  loop::ValueId result = kNone;
  Sym offset = 0;
  for (const ValueId o : n.operands) {
    const Sym size = g_.type(o).sizes[dim];
    bool never = false;
    const loop::ValueId inside = in_window(index[dim], offset, offset + size, kNone, &never);
    IndexVector inner = index;
    inner[dim] = inner[dim] - offset;
    offset += size;
    if (never || size.is_const(0)) continue;
    if (inside == kNone) return element(o, inner, mask);
    const loop::ValueId both =
        mask == kNone ? inside : b_.compute(ScalarOp::bitwise_and, DType::boolean, {inside, mask});
    const loop::ValueId x = element(o, inner, both);
    result = result == kNone ? x : b_.compute(ScalarOp::where, b_.dtype(x), {inside, x, result});
  }
  OURJIT_CHECK(result != kNone) << "an empty concat has no elements";
  return result;
}

loop::ValueId Evaluator::gather(const Node& n, const IndexVector& index, loop::ValueId mask) {
  const auto dim = static_cast<size_t>(int_attr(n, "dim"));
  const Sym extent = g_.type(n.operands[0]).sizes[dim];
  const auto rank = g_.type(n.operands[1]).sizes.size();
  const bool whole = n.op == Op::gather;
  IndexVector where_index = index;
  if (!whole)
    where_index.assign(index.begin() + static_cast<int64_t>(dim),
                       index.begin() + static_cast<int64_t>(dim + rank));
  const loop::ValueId position = b_.cast(element(n.operands[1], where_index, mask), DType::i64);
  const bool wrap = !whole && n.attrs.count("wrap") && attr<bool>(n, "wrap");
  const Sym at = b_.bind(position, extent, wrap, mask);
  IndexVector inner = index;
  if (whole) {
    inner[dim] = at;
  } else {
    inner.erase(inner.begin() + static_cast<int64_t>(dim),
                inner.begin() + static_cast<int64_t>(dim + rank));
    inner.insert(inner.begin() + static_cast<int64_t>(dim), at);
  }
  return element(n.operands[0], inner, mask);
}

void Evaluator::store(ValueId v, const IndexVector& index, loop::ValueId value,
                      std::optional<ScalarOp> combine, bool atomic) {
  const Node* n = g_.def(v);
  if (n && op_category(n->op) == OpCategory::View)
    return store(n->operands[0], view_operand_index(g_, *n, index, b_.bounds()), value, combine,
                 atomic);
  std::optional<KernelBuilder::Line> from;
  if (const int l = line(v); l != kNone) from.emplace(b_, l);
  const TensorType& t = g_.type(v);
  const int b = buffer(v, combine ? loop::Access::InOut : loop::Access::Out);
  const Sym at = linear_offset(index, t.strides, b_.bounds());
  const DType wide = compute_dtype(t.dtype);
  const bool accumulate = combine == ScalarOp::add && wide == t.dtype && !is_bool(wide);
  if (combine && !accumulate) {
    const loop::ValueId before =
        b_.cast(b_.load(b_.buffer_name(b), t.dtype, at, kNone, true), wide);
    value = b_.compute(*combine, wide, {before, b_.cast(value, wide)});
  }
  const auto narrow = narrow_.find(value);
  const loop::ValueId x = narrow != narrow_.end() && b_.dtype(narrow->second) == t.dtype
                              ? narrow->second
                              : b_.cast(value, t.dtype);
  b_.store(b_.buffer_name(b), at, x, kNone, accumulate, atomic);
}

}  // namespace ourjit
