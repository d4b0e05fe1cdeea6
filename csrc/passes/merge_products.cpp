#include <algorithm>
#include <set>

#include "graph/builder.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// The product that makes `v`, if it is one of matrices of known sizes; else null.
const Node* product_of(const Graph& g, ValueId v) {
  const Node* n = g.def(v);
  if (!n || n->op != Op::call || call_target(*n) != "aten.mm.default" || n->operands.size() != 2)
    return nullptr;
  const TensorType &a = g.type(n->operands[0]), &b = g.type(n->operands[1]), &c = g.type(v);
  const bool known = a.sizes[0].is_const() && a.sizes[1].is_const() && b.sizes[1].is_const();
  const bool wide = c.dtype == DType::f32 || c.dtype == DType::f64;
  return known && wide && a.dtype == c.dtype && b.dtype == c.dtype ? n : nullptr;
}

/// What an `add` and those below it add up, where nothing else reads the sums in between.
struct Sum {
  std::vector<ValueId> products, others;
  std::vector<const Node*> within;  // the products and the adds below the outermost
};

/// One product moves as many elements as the copies of all operands have, twice; each product that
/// is spared would have written its result, which an add then would have read, as well as another
/// one.
bool pays(const Graph& g, const Sum& s) {
  if (s.products.size() < 2) return false;
  double copied = 0;
  for (const ValueId v : s.products)
    for (const ValueId o : g.def(v)->operands)
      copied += 2 * static_cast<double>(g.type(o).numel().value());
  const double spared = 3 * static_cast<double>(g.type(s.products[0]).numel().value()) *
                        static_cast<double>(s.products.size() - 1);
  return copied < spared;
}

class Sums {
 public:
  explicit Sums(const Graph& g) : g_(g), uses_(g.values.size(), 0) {
    for (const Node& n : g.nodes)
      for (const ValueId v : n.operands) ++uses_[static_cast<size_t>(v)];
    for (const GraphOutput& o : g.outputs)
      if (o.value >= 0) ++uses_[static_cast<size_t>(o.value)];
    for (size_t i = g.nodes.size(); i-- > 0;) {
      const Node& n = g.nodes[i];
      if (n.op != Op::add || inner_.contains(&n)) continue;
      Sum s = sum_of(n);
      inner_.insert(s.within.begin(), s.within.end());
      if (!pays(g, s) || writes_between(s, n)) continue;
      gone_.insert(s.within.begin(), s.within.end());
      by_root_.emplace(&n, std::move(s));
    }
  }

  const Sum* merged(const Node& root) const {
    const auto it = by_root_.find(&root);
    return it == by_root_.end() ? nullptr : &it->second;
  }
  bool is_gone(const Node& n) const { return gone_.contains(&n); }

 private:
  Sum sum_of(const Node& root) const {
    const TensorType& type = g_.type(root.results[0]);
    Sum s;
    std::vector<ValueId> left(root.operands.rbegin(), root.operands.rend());
    while (!left.empty()) {
      const ValueId v = left.back();
      left.pop_back();
      const Node* n = g_.def(v);
      const bool inside = n && uses_[static_cast<size_t>(v)] == 1 &&
                          g_.type(v).dtype == type.dtype && g_.type(v).sizes == type.sizes;
      if (inside && n->op == Op::add) {
        s.within.push_back(n);
        left.insert(left.end(), n->operands.rbegin(), n->operands.rend());
      } else if (inside && product_of(g_, v)) {
        s.within.push_back(n);
        s.products.push_back(v);
      } else {
        s.others.push_back(v);
      }
    }
    return s;
  }

  /// The merged product reads its operands later than the first one did.
  bool writes_between(const Sum& s, const Node& root) const {
    const Node* first = *std::min_element(s.within.begin(), s.within.end());
    return std::any_of(first, &root,
                       [](const Node& n) { return op_category(n.op) == OpCategory::Mutate; });
  }

  const Graph& g_;
  std::vector<int> uses_;
  std::set<const Node*> inner_, gone_;
  std::map<const Node*, Sum> by_root_;
};

/// Operand `side` of all products side by side along dim `dim`. Where all of them are transposed,
/// so is the result: what is read along its rows in memory stays so.
ValueId joined(Rewriter& r, const std::vector<ValueId>& products, size_t side, int64_t dim) {
  std::vector<ValueId> parts, turned;
  for (const ValueId p : products) {
    const ValueId v = r.old.def(p)->operands[side];
    parts.push_back(r(v));
    if (const Node* n = r.old.def(v); n && n->op == Op::permute)
      turned.push_back(r(n->operands[0]));
  }
  const auto concat = [&](const std::vector<ValueId>& values, int64_t along) {
    return r.b.emit(Op::concat, values, {{"dim", Sym(along)}});
  };
  if (turned.size() == parts.size() && r.b.type(turned[0]).rank() == 2)
    return r.b.permute(concat(turned, 1 - dim), {1, 0});
  return concat(parts, dim);
}

}  // namespace

Graph merge_products(const Graph& g, const PassContext&) {
  const Sums sums(g);
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    if (sums.is_gone(n)) return;
    const Sum* s = sums.merged(n);
    if (!s) return r.keep(n);
    const ValueId a = joined(r, s->products, 0, 1), b = joined(r, s->products, 1, 0);
    ValueId sum = *r.b.call("aten.mm.default", {a, b}, {{OperandRef{0}}, {OperandRef{1}}},
                            {r.old.type(s->products[0])})
                       .begin();
    for (const ValueId v : s->others) sum = r.b.add(sum, r(v));
    r.replace(n, sum);
  });
}

}  // namespace ourjit
