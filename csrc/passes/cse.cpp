#include <algorithm>
#include <array>
#include <bit>
#include <unordered_map>

#include "passes/facts.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// Calls that are worth merging and give the same for the same operands.
constexpr std::array<std::string_view, 7> kPureCalls = {
    "aten.mm.default",          "aten.bmm.default", "aten.addmm.default",  "aten.mv.default",
    "aten.convolution.default", "aten.dot.default", "aten.baddbmm.default"};

bool can_merge(const Node& n) {
  if (n.op == Op::copy_to) return false;
  if (n.op != Op::call) return true;
  return std::find(kPureCalls.begin(), kPureCalls.end(), call_target(n)) != kPureCalls.end();
}

bool is_commutative(Op op) {
  switch (op) {
    case Op::add:
    case Op::mul:
    case Op::minimum:
    case Op::maximum:
    case Op::eq:
    case Op::ne:
    case Op::bitwise_and:
    case Op::bitwise_or:
    case Op::bitwise_xor:
      return true;
    default:
      return false;
  }
}

// Numbers are the same if their bits are: 0.0 is not -0.0, and nan is nan.
bool same(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }
bool same(const Arg& a, const Arg& b);
bool same(const ArgList& a, const ArgList& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Arg& x, const Arg& y) { return same(x, y); });
}
template <class T>
bool same(const T& a, const T& b) {
  return a == b;
}
template <class V>
bool same_variant(const V& a, const V& b) {
  if (a.index() != b.index()) return false;
  return std::visit([&](const auto& x) { return same(x, std::get<std::decay_t<decltype(x)>>(b)); },
                    a);
}
bool same(const Arg& a, const Arg& b) { return same_variant(a.v, b.v); }
bool same(const Attrs& a, const Attrs& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && same_variant(x.second, y.second);
  });
}

size_t mix(size_t h, size_t x) { return (h ^ x) * 0x9e3779b97f4a7c15u + (h >> 29); }

size_t hash_attr(const Attr& a) {
  if (const double* d = std::get_if<double>(&a)) return std::bit_cast<uint64_t>(*d);
  if (const bool* b = std::get_if<bool>(&a)) return *b;
  if (const Sym* s = std::get_if<Sym>(&a)) return s->hash();
  if (const DType* t = std::get_if<DType>(&a)) return static_cast<size_t>(*t);
  if (const auto* s = std::get_if<std::string>(&a)) return std::hash<std::string>()(*s);
  size_t h = 0;
  if (const auto* list = std::get_if<std::vector<Sym>>(&a))
    for (const Sym& s : *list) h = mix(h, s.hash());
  return h;
}

size_t hash_node(Op op, const std::vector<ValueId>& operands, const Attrs& attrs) {
  size_t h = static_cast<size_t>(op) + 1;
  for (const ValueId v : operands) h = mix(h, static_cast<size_t>(v));
  for (const auto& [name, value] : attrs) h = mix(h, hash_attr(value));
  return h;
}

std::vector<ValueId> ordered(Op op, std::vector<ValueId> operands) {
  if (is_commutative(op) && operands[0] > operands[1]) std::swap(operands[0], operands[1]);
  return operands;
}

bool same_results(const Graph& a, const Node& x, const Graph& b, const Node& y) {
  if (x.results.size() != y.results.size()) return false;
  for (size_t i = 0; i < x.results.size(); ++i) {
    if ((x.results[i] < 0) != (y.results[i] < 0)) return false;
    if (x.op == Op::call && x.results[i] >= 0 && a.type(x.results[i]) != b.type(y.results[i]))
      return false;
  }
  return true;
}

}  // namespace

Graph cse(const Graph& g, const PassContext&) {
  const Escapes escapes(g);
  std::unordered_multimap<size_t, NodeId> seen;
  std::vector<bool> leaves;  // of new nodes: whether a result leaves the graph
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    bool n_leaves = false;
    for (const ValueId v : n.results) n_leaves = n_leaves || (v >= 0 && escapes.leaves(v));
    size_t hash = 0;
    if (can_merge(n)) {
      std::vector<ValueId> operands;
      for (const ValueId v : n.operands) operands.push_back(r(v));
      operands = ordered(n.op, std::move(operands));
      hash = hash_node(n.op, operands, n.attrs);
      const auto [begin, end] = seen.equal_range(hash);
      for (auto it = begin; it != end; ++it) {
        const Graph& now = r.b.graph();
        const Node& m = now.node(it->second);
        if (m.op != n.op || ordered(m.op, m.operands) != operands || !same(m.attrs, n.attrs) ||
            !same_results(g, n, now, m))
          continue;
        // Two tensors that the caller gets may not share memory.
        if (n_leaves && leaves[static_cast<size_t>(it->second)]) continue;
        if (n_leaves) leaves[static_cast<size_t>(it->second)] = true;
        for (size_t i = 0; i < n.results.size(); ++i)
          if (n.results[i] >= 0) r.replace(n, m.results[i], static_cast<int>(i));
        return;
      }
    }
    const auto id = static_cast<NodeId>(r.b.graph().nodes.size());
    r.keep(n);
    leaves.resize(r.b.graph().nodes.size(), false);
    leaves[static_cast<size_t>(id)] = n_leaves;
    if (can_merge(n)) seen.emplace(hash, id);
  });
}

}  // namespace ourjit
