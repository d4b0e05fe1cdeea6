#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "fusion/group.h"
#include "graph/builder.h"
#include "graph/infer.h"
#include "passes/facts.h"

namespace ourjit {
namespace {

/// An in-memory value seen through `n` needs no copy: positive strides over the same memory.
bool is_strided_view(const Graph& g, const Node& n) {
  if (op_category(n.op) != OpCategory::View || n.op == Op::flip) return false;
  if (n.op != Op::reshape) return true;
  return view_strides(g.type(n.operands[0]), g.type(n.results[0]).sizes).has_value();
}

/// True if `v` is in memory already when its definition is a member or barrier (or an input).
bool has_memory(const Graph& g, ValueId v) {
  for (;;) {
    const Node* n = g.def(v);
    if (!n) return true;
    if (is_strided_view(g, *n)) {
      v = n->operands[0];
      continue;
    }
    return node_kind(g, g.values[static_cast<size_t>(v)].def) != NodeKind::Folded;
  }
}

ValueId copy(Rewriter& r, ValueId v) {
  return r.b.emit(Op::cast, {v}, {{"dtype", r.b.type(v).dtype}},
                  r.b.graph().values[static_cast<size_t>(v)].name + ".copy");
}

/// True if `n` reduces only dims of size 1, so that there is nothing to combine.
bool reduces_nothing(const Graph& g, const Node& n) {
  if (n.op != Op::reduce) return false;
  for (const int64_t d : int_list_attr(n, "dims"))
    if (!g.type(n.operands[0]).sizes[static_cast<size_t>(d)].is_const(1)) return false;
  return true;
}

/// The operand with another shape and dtype; index 0 for argmax and argmin.
void replace_by_operand(Rewriter& r, const Node& n) {
  const TensorType& type = r.old.type(n.results[0]);
  const std::string& op = attr<std::string>(n, "op");
  if (op == "argmax" || op == "argmin")
    return r.replace(n, r.b.expand(r.b.constant(int64_t{0}, type.dtype), type.sizes));
  r.replace(n, r.b.cast(r.b.reshape(r(n.operands[0]), type.sizes), type.dtype));
}

/// Copies made so far: of old values, in the new graph.
using Copies = std::unordered_map<ValueId, ValueId>;

/// The old value `v`, which is not in memory, in memory. What a reshape or permute shows of another
/// value is a view of that one's copy, so that all its readers share the copy.
ValueId in_memory(Rewriter& r, Copies& copies, ValueId v) {
  if (const auto it = copies.find(v); it != copies.end()) return it->second;
  const Node* n = r.old.def(v);
  const bool whole = n->op == Op::permute || (n->op == Op::reshape && is_strided_view(r.old, *n));
  ValueId c = -1;
  if (whole) {
    c = r.b.emit(n->op, {in_memory(r, copies, n->operands[0])}, n->attrs);
    // The copied memory is contiguous, where what was copied may have had other strides.
    if (n->op == Op::reshape && !is_strided_view(r.b.graph(), *r.b.graph().def(c)))
      c = copy(r, r(v));
  } else {
    c = copy(r, r(v));
  }
  return copies[v] = c;
}

/// Keeps `n` with each operand that is not in memory replaced by a copy.
void keep_with_copies(Rewriter& r, Copies& copies, const Node& n) {
  std::vector<std::pair<size_t, ValueId>> saved;
  for (const ValueId v : n.operands) {
    if (has_memory(r.old, v)) continue;
    const auto i = static_cast<size_t>(v);
    const bool done =
        std::any_of(saved.begin(), saved.end(), [&](auto& s) { return s.first == i; });
    if (done) continue;
    const ValueId before = r.map[i];
    r.map[i] = in_memory(r, copies, v);
    saved.emplace_back(i, before);
  }
  r.keep(n);
  for (const auto& [i, v] : saved) r.map[i] = v;
}

/// Keeps a concat with each operand copied into its slice of the result's memory.
void keep_concat(Rewriter& r, const Node& n) {
  std::vector<ValueId> operands;
  for (const ValueId v : n.operands) {
    const ValueId c = copy(r, r(v));
    r.b.set_strides(c, r.old.type(n.results[0]).strides);
    operands.push_back(c);
  }
  const ValueId out =
      r.b.emit(n.op, operands, n.attrs, r.old.values[static_cast<size_t>(n.results[0])].name);
  r.b.set_strides(out, r.old.type(n.results[0]).strides);
  r.replace(n, out);
}

/// True if what `n`, a copy_to, writes is no memory of its own and may change before: it is folded
/// from others, or an input that another copy_to writes.
bool reads_what_may_change(const Graph& g, const Node& n) {
  const ValueId v = n.operands[1];
  const NodeId d = g.values[static_cast<size_t>(v)].def;
  if (d >= 0) return node_kind(g, d) == NodeKind::Folded;
  return std::any_of(g.nodes.begin(), g.nodes.end(), [&](const Node& other) {
    return other.op == Op::copy_to && view_root(g, other.operands[0]) == v;
  });
}

/// What is known so far of what mutations will write, copied before the first of them.
void copy_sources(Rewriter& r, Copies& sources) {
  for (const Node& n : r.old.nodes) {
    if (n.op != Op::copy_to || !reads_what_may_change(r.old, n)) continue;
    const ValueId v = n.operands[1];
    if (r.map[static_cast<size_t>(v)] >= 0 && !sources.contains(v)) sources[v] = copy(r, r(v));
  }
}

/// Keeps a mutation; what it writes must not be read from memory that it or another one changes.
void keep_copy_to(Rewriter& r, const Copies& sources, const Node& n) {
  const ValueId v = n.operands[1];
  const ValueId saved = r(v);
  if (const auto it = sources.find(v); it != sources.end())
    r.map[static_cast<size_t>(v)] = it->second;
  r.keep(n);
  r.map[static_cast<size_t>(v)] = saved;
}

/// Keeps a scatter with a fresh copy of its base, which it then writes in place. Only the base is
/// replaced: updates that are the same value are read while the copy changes.
void keep_scatter(Rewriter& r, const Node& n) {
  const Value& result = r.old.values[static_cast<size_t>(n.results[0])];
  std::vector<ValueId> operands;
  for (const ValueId v : n.operands) operands.push_back(r(v));
  operands[0] = copy(r, operands[0]);
  r.b.set_loc(n.loc);
  const ValueId out = r.b.emit(n.op, operands, n.attrs, result.name);
  for (const ValueId v : {operands[0], out}) r.b.set_strides(v, result.type.strides);
  r.replace(n, out);
}

/// Strides of dims of one element do not matter.
bool same_strides(const TensorType& t, const std::vector<Sym>& strides) {
  for (size_t i = 0; i < strides.size(); ++i)
    if (!t.sizes[i].is_const(1) && t.strides[i] != strides[i]) return false;
  return true;
}

/// The strides of a copy that output `o`, which is value `v` of `g`, must be; nothing if it need
/// not.
std::optional<std::vector<Sym>> strides_to_copy(const Graph& g, const GraphOutput& o, ValueId v) {
  const TensorType& t = g.type(v);
  if (o.strides_fixed && (!same_strides(t, o.strides) || !has_memory(g, v))) return o.strides;
  if (!has_memory(g, v)) return contiguous_strides(t.sizes);
  return std::nullopt;
}

/// Copies of outputs that are known so far, made before memory that they read is written.
void copy_early(Rewriter& r, std::vector<ValueId>& copies) {
  for (size_t i = 0; i < copies.size(); ++i) {
    const GraphOutput& o = r.old.outputs[i];
    const ValueId v = o.value < 0 ? -1 : r.map[static_cast<size_t>(o.value)];
    if (v < 0 || copies[i] >= 0) continue;
    const auto strides = strides_to_copy(r.b.graph(), o, v);
    if (!strides) continue;
    copies[i] = copy(r, v);
    r.b.set_strides(copies[i], *strides);
  }
}

/// Appends an identity copy of `v` to a finished graph.
ValueId append_copy(Graph& g, ValueId v, std::vector<Sym> strides) {
  const TensorType type = g.type(v);
  Value out{g.values[static_cast<size_t>(v)].name + ".out" + std::to_string(g.nodes.size()), type,
            static_cast<NodeId>(g.nodes.size()), 0};
  out.type.strides = std::move(strides);
  const auto id = static_cast<ValueId>(g.values.size());
  const Node* source = g.def(v);
  const std::string loc = source ? source->loc : "";
  g.nodes.push_back({Op::cast, {v}, {{"dtype", type.dtype}}, {id}, loc});
  g.values.push_back(std::move(out));
  return id;
}

/// The same nodes with mutations, and what needs their results, behind all others: those read
/// what was there before.
Graph mutations_last(const Graph& g) {
  std::vector<NodeId> first, last;
  std::vector<bool> late(g.values.size(), false);
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& n = g.nodes[i];
    const bool waits =
        n.op == Op::copy_to || std::any_of(n.operands.begin(), n.operands.end(),
                                           [&](ValueId v) { return late[static_cast<size_t>(v)]; });
    for (const ValueId v : n.results)
      if (v >= 0) late[static_cast<size_t>(v)] = waits;
    (waits ? last : first).push_back(static_cast<NodeId>(i));
  }
  first.insert(first.end(), last.begin(), last.end());
  Graph out = g;
  for (size_t i = 0; i < first.size(); ++i) {
    out.nodes[i] = g.node(first[i]);
    for (const ValueId v : out.nodes[i].results)
      if (v >= 0) out.values[static_cast<size_t>(v)].def = static_cast<NodeId>(i);
  }
  return out;
}

}  // namespace

Graph insert_copies(const Graph& captured) {
  const Graph g = mutations_last(captured);
  Copies copies, sources;
  std::vector<ValueId> early(g.outputs.size(), -1);
  bool has_news = true;  // values came up since the last mutation
  Graph out = rewrite(g, [&](Rewriter& r, const Node& n) {
    const auto id = static_cast<NodeId>(&n - r.old.nodes.data());
    r.b.set_loc(n.loc);
    if (n.op != Op::copy_to) {
      has_news = true;
    } else if (std::exchange(has_news, false)) {
      copy_early(r, early);
      copy_sources(r, sources);
    }
    if (reduces_nothing(r.old, n)) return replace_by_operand(r, n);
    if (node_kind(r.old, id) != NodeKind::Barrier) return r.keep(n);
    switch (n.op) {
      case Op::concat:
        return keep_concat(r, n);
      case Op::scatter:
      case Op::index_put:
        return keep_scatter(r, n);
      case Op::copy_to:
        return keep_copy_to(r, sources, n);
      default:
        return keep_with_copies(r, copies, n);
    }
  });
  for (size_t i = 0; i < out.outputs.size(); ++i) {
    GraphOutput& o = out.outputs[i];
    if (o.value < 0) continue;
    if (early[i] >= 0)
      o.value = early[i];
    else if (const auto strides = strides_to_copy(out, o, o.value))
      o.value = append_copy(out, o.value, *strides);
  }
  return out;
}

}  // namespace ourjit
