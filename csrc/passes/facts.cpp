#include "passes/facts.h"

#include "base/error.h"

namespace ourjit {

Escapes::Escapes(const Graph& g) : flags_(g.values.size(), 0) {
  const auto flag = [&](ValueId v) -> uint8_t& { return flags_[static_cast<size_t>(v)]; };
  for (const GraphOutput& o : g.outputs)
    if (o.value >= 0) flag(o.value) |= kLeaves;
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const Node& n = g.nodes[i];
    if (op_category(n.op) == OpCategory::View)
      flag(n.operands[0]) |= flag(n.results[0]);
    else if (n.op == Op::copy_to)
      flag(n.operands[0]) |= kLeaves, flag(n.operands[1]) |= kLeaves;
    else if (n.op == Op::call)
      for (const ValueId v : n.operands) flag(v) |= kCalled;
  }
}

bool is_long_row(const Sym& length) {
  constexpr int64_t kLongRow = 32768;
  return !length.is_const() || length.value() > kLongRow;
}

ValueId view_root(const Graph& g, ValueId v) {
  for (;;) {
    const Node* n = g.def(v);
    if (!n || op_category(n->op) != OpCategory::View) return v;
    v = n->operands[0];
  }
}

std::optional<Scalar> splat(const Graph& g, ValueId v) {
  const Node* n = g.def(view_root(g, v));
  if (!n || n->op != Op::constant) return std::nullopt;
  const DType dtype = attr<DType>(*n, "dtype");
  const Attr& value = n->attrs.find("value")->second;
  if (const double* d = std::get_if<double>(&value)) return Scalar::number(dtype, *d);
  const Sym& s = std::get<Sym>(value);
  if (!s.is_const()) return std::nullopt;
  return Scalar::integer(dtype, s.value());
}

ValueId make_splat(Builder& b, const Scalar& number, const std::vector<Sym>& sizes) {
  const ValueId c =
      number.is_float() ? b.constant(number.f, number.dtype) : b.constant(number.i, number.dtype);
  return b.expand(c, sizes);
}

void replace_by_equal(Rewriter& r, const Escapes& escapes, const Node& n, ValueId v) {
  const TensorType& want = r.old.type(n.results[0]);
  OURJIT_CHECK(r.b.type(v).dtype == want.dtype) << op_name(n.op) << " replaced by another dtype";
  v = r.b.expand(v, want.sizes);
  if (escapes.leaves(n.results[0])) {
    const std::string& name = r.old.values[static_cast<size_t>(n.results[0])].name;
    v = r.b.emit(Op::cast, {v}, {{"dtype", want.dtype}}, name);
    r.b.set_strides(v, want.strides);
  }
  r.replace(n, v);
}

}  // namespace ourjit
