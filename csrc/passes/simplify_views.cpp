#include <algorithm>

#include "graph/infer.h"
#include "passes/facts.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

using Sizes = std::vector<Sym>;

Sizes without_ones(const Sizes& sizes) {
  Sizes out;
  for (const Sym& s : sizes)
    if (!s.is_const(1)) out.push_back(s);
  return out;
}

/// True if `to` is `from` with dims of size 1 put in front.
bool adds_leading_ones(const Sizes& from, const Sizes& to) {
  if (to.size() < from.size()) return false;
  const auto lead = static_cast<int64_t>(to.size() - from.size());
  return std::all_of(to.begin(), to.begin() + lead, [](const Sym& s) { return s.is_const(1); }) &&
         std::equal(from.begin(), from.end(), to.begin() + lead);
}

/// Makes views of values, looking through the views that those values are. Each step looks through
/// one, so chains end.
class Views {
 public:
  /// `apart`: the view's memory must not become that of what a concat or pad copied.
  explicit Views(Builder& b, bool apart = false) : b_(b), apart_(apart) {}

  ValueId make(const Node& n, ValueId x) {
    switch (n.op) {
      case Op::permute:
        return permute(x, int_list_attr(n, "dims"));
      case Op::reshape:
        return reshape(x, attr<Sizes>(n, "sizes"));
      case Op::expand:
        return expand(x, attr<Sizes>(n, "sizes"));
      case Op::slice:
        return slice(x, int_attr(n, "dim"), attr<Sym>(n, "start"), attr<Sym>(n, "step"),
                     attr<Sym>(n, "size"));
      case Op::flip:
        return flip(x, int_list_attr(n, "dims"));
      default:
        return -1;
    }
  }

  ValueId permute(ValueId x, std::vector<int64_t> dims) {
    const Sizes sizes = b_.type(x).sizes;
    Sizes result;
    std::vector<int64_t> moved;  // dims of more than one element in their new order
    for (const int64_t d : dims) {
      result.push_back(sizes[static_cast<size_t>(d)]);
      if (!result.back().is_const(1)) moved.push_back(d);
    }
    if (std::is_sorted(moved.begin(), moved.end())) return reshape(x, result);
    if (const Node* p = made_by(x, Op::permute)) {
      const std::vector<int64_t> inner = int_list_attr(*p, "dims");
      for (int64_t& d : dims) d = inner[static_cast<size_t>(d)];
      return permute(p->operands[0], std::move(dims));
    }
    if (const Node* e = made_by(x, Op::expand)) {
      const ValueId y = with_rank(e->operands[0], sizes.size());
      return expand(permute(y, std::move(dims)), result);
    }
    return b_.permute(x, std::move(dims));
  }

  ValueId reshape(ValueId x, const Sizes& sizes) {
    const Sizes from = b_.type(x).sizes;
    if (from == sizes) return x;
    if (const Node* r = made_by(x, Op::reshape)) return reshape(r->operands[0], sizes);
    if (const Node* e = made_by(x, Op::expand)) {
      const ValueId y = e->operands[0];
      if (b_.type(y).numel().is_const(1)) return expand(reshape(y, {}), sizes);
      if (without_ones(from) == without_ones(sizes)) {
        // Dims keep their sizes but for ones that come and go: so they do before broadcasting.
        const ValueId full = with_rank(y, from.size());
        const Sizes inner = b_.type(full).sizes;
        Sizes before(sizes.size(), Sym(1));
        size_t i = 0;
        for (size_t j = 0; j < sizes.size(); ++j) {
          if (sizes[j].is_const(1)) continue;
          while (from[i].is_const(1)) ++i;
          before[j] = inner[i++];
        }
        return expand(reshape(full, before), sizes);
      }
    }
    return b_.reshape(x, sizes);
  }

  ValueId expand(ValueId x, const Sizes& sizes) {
    const Sizes from = b_.type(x).sizes;
    if (from == sizes) return x;
    if (adds_leading_ones(from, sizes)) return reshape(x, sizes);
    if (const Node* e = made_by(x, Op::expand)) return expand(e->operands[0], sizes);
    if (const Node* r = made_by(x, Op::reshape))
      if (adds_leading_ones(b_.type(r->operands[0]).sizes, from))
        return expand(r->operands[0], sizes);
    return b_.expand(x, sizes);
  }

  ValueId slice(ValueId x, int64_t dim, const Sym& start, const Sym& step, const Sym& size) {
    Sizes sizes = b_.type(x).sizes;
    const auto d = static_cast<size_t>(dim);
    if (start.is_const(0) && step.is_const(1) && size == sizes[d]) return x;
    if (const Node* s = made_by(x, Op::slice); s && int_attr(*s, "dim") == dim) {
      const Sym inner_step = attr<Sym>(*s, "step");
      const Sym first = attr<Sym>(*s, "start") + start * inner_step;
      return slice(s->operands[0], dim, first, step * inner_step, size);
    }
    if (const Node* e = made_by(x, Op::expand)) {
      const ValueId y = e->operands[0];
      const auto inner = dim - static_cast<int64_t>(sizes.size() - b_.type(y).sizes.size());
      const bool broadcast = inner < 0 || b_.type(y).sizes[static_cast<size_t>(inner)] != sizes[d];
      sizes[d] = size;
      if (broadcast) return expand(y, sizes);
      return expand(slice(y, inner, start, step, size), sizes);
    }
    ValueId v = -1;
    if (!apart_) v = slice_of_concat(x, dim, start, step, size);
    if (!apart_ && v < 0) v = slice_of_pad(x, dim, start, step, size);
    if (v >= 0) return v;
    return b_.slice(x, dim, start, step, size);
  }

  ValueId flip(ValueId x, std::vector<int64_t> dims) {
    if (const Node* f = made_by(x, Op::flip)) {
      std::vector<int64_t> once;
      const std::vector<int64_t> inner = int_list_attr(*f, "dims");
      std::set_symmetric_difference(dims.begin(), dims.end(), inner.begin(), inner.end(),
                                    std::back_inserter(once));
      return flip(f->operands[0], std::move(once));
    }
    const Sizes& sizes = b_.type(x).sizes;
    std::erase_if(dims, [&](int64_t d) { return sizes[static_cast<size_t>(d)].is_const(1); });
    if (dims.empty()) return x;
    return b_.emit(Op::flip, {x}, {{"dims", Sizes(dims.begin(), dims.end())}});
  }

 private:
  const Node* made_by(ValueId v, Op op) const {
    const Node* n = b_.graph().def(v);
    return n && n->op == op ? n : nullptr;
  }

  /// `x` with leading dims of size 1 up to `rank`.
  ValueId with_rank(ValueId x, size_t rank) {
    Sizes sizes = b_.type(x).sizes;
    sizes.insert(sizes.begin(), rank - sizes.size(), Sym(1));
    return reshape(x, sizes);
  }

  /// A slice that lies in one of the joined tensors.
  ValueId slice_of_concat(ValueId x, int64_t dim, const Sym& start, const Sym& step,
                          const Sym& size) {
    const Node* c = made_by(x, Op::concat);
    if (!c || int_attr(*c, "dim") != dim || size.is_const(0)) return -1;
    Sym begin = 0;
    for (const ValueId part : std::vector<ValueId>(c->operands)) {
      const Sym end = begin + b_.type(part).sizes[static_cast<size_t>(dim)];
      const Sym before = start - begin, after = end - (start + (size - 1) * step) - 1;
      if (before.is_const() && after.is_const() && before.value() >= 0 && after.value() >= 0)
        return slice(part, dim, before, step, size);
      begin = end;
    }
    return -1;
  }

  /// A slice that lies in what was padded.
  ValueId slice_of_pad(ValueId x, int64_t dim, const Sym& start, const Sym& step, const Sym& size) {
    const Node* p = made_by(x, Op::pad);
    if (!p || size.is_const(0)) return -1;
    Attrs attrs = p->attrs;
    const ValueId y = p->operands[0];
    const auto d = static_cast<size_t>(dim);
    Sizes &low = std::get<Sizes>(attrs.at("low")), &high = std::get<Sizes>(attrs.at("high"));
    const Sym before = start - low[d];
    const Sym after = b_.type(y).sizes[d] - (before + (size - 1) * step) - 1;
    if (!before.is_const() || !after.is_const() || before.value() < 0 || after.value() < 0)
      return -1;
    low[d] = high[d] = 0;
    const ValueId v = slice(y, dim, before, step, size);
    const auto zero = [](const Sym& s) { return s.is_const(0); };
    const bool bare =
        std::all_of(low.begin(), low.end(), zero) && std::all_of(high.begin(), high.end(), zero);
    return bare ? v : b_.emit(Op::pad, {v}, attrs);
  }

  Builder& b_;
  const bool apart_;
};

/// Drops expands and leading ones of operands where broadcasting does the same. If all that is left
/// is smaller than the result, computes that and expands it, unless the result leaves the graph.
void pointwise(Rewriter& r, const Escapes& escapes, const Node& n) {
  const Sizes& want = r.old.type(n.results[0]).sizes;
  std::vector<ValueId> operands;
  for (const ValueId v : n.operands) operands.push_back(r(v));
  std::vector<ValueId> bare = operands;
  for (ValueId& v : bare)
    for (const Node* d = r.b.graph().def(v); d; d = r.b.graph().def(v)) {
      const ValueId x = d->operands.empty() ? -1 : d->operands[0];
      const bool strip =
          d->op == Op::expand ||
          (d->op == Op::reshape && adds_leading_ones(r.b.type(x).sizes, r.b.type(v).sizes));
      if (!strip) break;
      v = x;
    }
  if (bare == operands) return r.keep(n);
  const auto shape = [&](const std::vector<ValueId>& values) {
    std::vector<Sizes> shapes;
    for (const ValueId v : values) shapes.push_back(r.b.type(v).sizes);
    return broadcast(shapes);
  };
  const std::string& name = r.old.values[static_cast<size_t>(n.results[0])].name;
  Sizes have = shape(bare);
  if (have != want && escapes.leaves(n.results[0])) {
    // One operand that has the whole shape is enough.
    for (size_t i = 0; i < bare.size() && have != want; ++i)
      if (r.b.type(operands[i]).sizes == want) {
        bare[i] = operands[i];
        have = want;
      }
    if (have != want || bare == operands) return r.keep(n);
  }
  const ValueId v = r.b.emit(n.op, bare, n.attrs, have == want ? name : "");
  if (have == want) {
    r.b.set_strides(v, r.old.type(n.results[0]).strides);
    return r.replace(n, v);
  }
  r.replace(n, Views(r.b).expand(v, want));
}

/// A reduction over dims of size 1 is a reshape.
bool reduces_nothing(const Graph& g, const Node& n) {
  const std::string& op = attr<std::string>(n, "op");
  if (op == "argmax" || op == "argmin") return false;
  const Sizes& sizes = g.type(n.operands[0]).sizes;
  for (const int64_t d : int_list_attr(n, "dims"))
    if (!sizes[static_cast<size_t>(d)].is_const(1)) return false;
  return true;
}

void concat(Rewriter& r, const Escapes& escapes, const Node& n) {
  const auto d = static_cast<size_t>(int_attr(n, "dim"));
  std::vector<ValueId> operands;
  for (const ValueId v : n.operands)
    if (!r.b.type(r(v)).sizes[d].is_const(0)) operands.push_back(r(v));
  if (operands.size() == 1) return replace_by_equal(r, escapes, n, operands[0]);
  if (operands.empty() || operands.size() == n.operands.size()) return r.keep(n);
  const std::string& name = r.old.values[static_cast<size_t>(n.results[0])].name;
  r.replace(n, r.b.emit(Op::concat, operands, n.attrs, name));
}

bool pads_nothing(const Node& n) {
  const auto zero = [](const Sym& s) { return s.is_const(0); };
  const Sizes &low = attr<Sizes>(n, "low"), &high = attr<Sizes>(n, "high");
  return std::all_of(low.begin(), low.end(), zero) && std::all_of(high.begin(), high.end(), zero);
}

}  // namespace

Graph simplify_views(const Graph& g, const PassContext&) {
  const Escapes escapes(g);
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (op_category(n.op) == OpCategory::View) {
      const auto values = static_cast<ValueId>(r.b.graph().values.size());
      const bool apart = escapes.leaves(n.results[0]);
      const ValueId v = Views(r.b, apart).make(n, r(n.operands[0]));
      if (v == values) r.b.rename(v, g.values[static_cast<size_t>(n.results[0])].name);
      return r.replace(n, v);
    }
    if (is_pointwise(n.op)) return pointwise(r, escapes, n);
    if (n.op == Op::reduce && reduces_nothing(g, n)) {
      const TensorType& t = g.type(n.results[0]);
      const ValueId x = Views(r.b).reshape(r(n.operands[0]), t.sizes);
      if (r.b.type(x).dtype != t.dtype) return r.replace(n, r.b.cast(x, t.dtype));
      return replace_by_equal(r, escapes, n, x);
    }
    if (n.op == Op::concat) return concat(r, escapes, n);
    if (n.op == Op::pad && pads_nothing(n))
      return replace_by_equal(r, escapes, n, r(n.operands[0]));
    r.keep(n);
  });
}

}  // namespace ourjit
