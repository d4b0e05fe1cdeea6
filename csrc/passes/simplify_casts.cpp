#include <algorithm>

#include "passes/facts.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// Bits of an integer's magnitude, or of a float's significand.
int precision(DType t) {
  switch (t) {
    case DType::boolean:
      return 1;
    case DType::i8:
      return 7;
    case DType::u8:
      return 8;
    case DType::i16:
      return 15;
    case DType::i32:
      return 31;
    case DType::i64:
      return 63;
    case DType::f8e5m2:
      return 3;
    case DType::f8e4m3:
      return 4;
    case DType::bf16:
      return 8;
    case DType::f16:
      return 11;
    case DType::f32:
      return 24;
    case DType::f64:
      return 53;
    default:
      return 0;
  }
}

/// True if `to` can hold every value of `from` exactly.
bool holds_all(DType to, DType from) {
  if (to == from) return true;
  if (!is_native(to) || !is_native(from)) return false;
  if (is_bool(from)) return true;
  if (is_bool(to)) return false;
  if (is_integer(to)) {
    if (is_float(from)) return false;
    if (to == DType::u8) return false;  // all other integers are signed
    return precision(to) >= precision(from);
  }
  if (!is_float(from))
    return precision(to) >= precision(from);  // 65504 is beyond every 11-bit number
  if (to == DType::f32 || to == DType::f64) return precision(to) >= precision(from);
  return false;  // narrow floats may differ in range
}

/// An integer narrowed from an integer keeps its low bits however wide it was in between.
bool wraps(DType to, DType between, DType from) {
  return is_integer(to) && is_integer(between) && is_integer(from) &&
         dtype_bytes(to) <= dtype_bytes(between);
}

/// Finds copies that nothing needs to be apart from what they copy.
class IdleCopies {
 public:
  IdleCopies(const Graph& g, const Escapes& escapes) : g_(g), escapes_(escapes) {
    for (size_t i = 0; i < g.values.size(); ++i) {
      leaves_.push_back(escapes_.leaves(static_cast<ValueId>(i)));
      source_.push_back(static_cast<ValueId>(i));
    }
  }

  /// Whether `n`, a cast to its operand's dtype, is one; it is taken for its operand from now on.
  bool take(const Node& n) {
    const ValueId x = source(n.operands[0]), y = n.results[0];
    if (escapes_.called(y) && g_.type(x).strides != g_.type(y).strides) return false;
    // What leaves needs memory of its own: the source's will do if the source is computed and
    // leaves in no other way.
    if (escapes_.leaves(y)) {
      const Node* def = g_.def(x);
      const bool computed = def && op_category(def->op) != OpCategory::View &&
                            def->op != Op::copy_to && def->op != Op::call;
      if (!computed || leaves_[static_cast<size_t>(x)]) return false;
      leaves_[static_cast<size_t>(x)] = true;
    }
    source(y) = x;
    return true;
  }

 private:
  ValueId& source(ValueId v) { return source_[static_cast<size_t>(v)]; }

  const Graph& g_;
  const Escapes& escapes_;
  std::vector<bool> leaves_;
  std::vector<ValueId> source_;  // what a value is, seen through idle copies
};

/// The views between `from` (exclusive) and `to`, applied to `x`.
ValueId replay(Rewriter& r, const Graph& now, ValueId from, ValueId to, ValueId x) {
  std::vector<const Node*> views;
  for (ValueId v = to; v != from; v = views.back()->operands[0]) views.push_back(now.def(v));
  // Emitting grows the node list, so copies are made first.
  std::vector<Node> copies;
  for (size_t i = views.size(); i-- > 0;) copies.push_back(*views[i]);
  for (const Node& v : copies) x = r.b.emit(v.op, {x}, v.attrs);
  return x;
}

}  // namespace

Graph simplify_casts(const Graph& g, const PassContext&) {
  const Escapes escapes(g);
  IdleCopies idle(g, escapes);
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (n.op != Op::cast) return r.keep(n);
    const DType to = attr<DType>(n, "dtype");
    const ValueId operand = r(n.operands[0]);
    if (rounds(n)) return r.keep(n);
    if (to == g.type(n.operands[0]).dtype) {
      return idle.take(n) ? r.replace(n, operand) : r.keep(n);
    }
    const Graph& now = r.b.graph();
    const ValueId root = view_root(now, operand);
    const Node* inner = now.def(root);
    if (!inner || inner->op != Op::cast || rounds(*inner)) return r.keep(n);
    const ValueId source = inner->operands[0];
    const DType from = now.type(source).dtype, between = now.type(root).dtype;
    if (!holds_all(between, from) && !wraps(to, between, from)) return r.keep(n);
    const ValueId x = replay(r, now, root, operand, source);
    if (to == from) return replace_by_equal(r, escapes, n, x);
    r.replace(n, r.b.cast(x, to));
  });
}

}  // namespace ourjit
