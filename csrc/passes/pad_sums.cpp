#include "passes/pad_sums.h"

#include <algorithm>

namespace ourjit {
namespace {

constexpr size_t kMaxParts = 1024;

struct Part {
  int64_t begin, size;
  ValueId value;  // in the new graph
};

bool is_zero(const Attr& value) {
  if (const double* d = std::get_if<double>(&value)) return *d == 0;
  const Sym* s = std::get_if<Sym>(&value);
  return s && s->is_const(0);
}

/// The one dim that `pad` extends, -1 if there is not exactly one or its numbers are symbolic.
int64_t padded_dim(const Node& pad) {
  const auto &low = attr<std::vector<Sym>>(pad, "low"), &high = attr<std::vector<Sym>>(pad, "high");
  int64_t dim = -1;
  for (size_t i = 0; i < low.size(); ++i) {
    if (low[i].is_const(0) && high[i].is_const(0)) continue;
    if (dim >= 0 || !low[i].is_const() || !high[i].is_const()) return -1;
    dim = static_cast<int64_t>(i);
  }
  return dim;
}

/// Adds the padding `n` to `parts`; false if it is none or along another dim.
bool collect_part(const Rewriter& r, const Node* n, int64_t& dim, std::vector<Part>& parts) {
  if (!n || parts.size() >= kMaxParts) return false;
  if (n->op != Op::pad || !is_zero(n->attrs.find("value")->second)) return false;
  const int64_t d = padded_dim(*n);
  if (d < 0 || (dim >= 0 && d != dim)) return false;
  dim = d;
  const auto i = static_cast<size_t>(d);
  const Sym& size = r.old.type(n->operands[0]).sizes[i];
  if (!size.is_const()) return false;
  parts.push_back({attr<std::vector<Sym>>(*n, "low")[i].value(), size.value(), r(n->operands[0])});
  return true;
}

/// Collects the paddings that `v` (of the old graph) adds up; false if it adds anything else.
bool collect(const Rewriter& r, ValueId top, const std::vector<bool>& inner, int64_t& dim,
             std::vector<Part>& parts) {
  std::vector<ValueId> todo = {top};
  while (!todo.empty()) {
    const ValueId v = todo.back();
    todo.pop_back();
    if (r.old.type(v).sizes != r.old.type(top).sizes) return false;  // broadcast
    const Node* n = r.old.def(v);
    if (n && n->op == Op::add && (v == top || inner[static_cast<size_t>(v)]))
      todo.insert(todo.end(), n->operands.begin(), n->operands.end());
    else if (!collect_part(r, n, dim, parts))
      return false;
  }
  return true;
}

}  // namespace

std::vector<bool> inner_sums(const Graph& g) {
  std::vector<int> uses(g.values.size(), 0), adds(g.values.size(), 0);
  for (const GraphOutput& o : g.outputs)
    if (o.value >= 0) ++uses[static_cast<size_t>(o.value)];
  for (const Node& n : g.nodes)
    for (const ValueId v : n.operands) {
      ++uses[static_cast<size_t>(v)];
      if (n.op == Op::add && g.type(n.results[0]).sizes == g.type(v).sizes)
        ++adds[static_cast<size_t>(v)];
    }
  std::vector<bool> inner(g.values.size());
  for (size_t i = 0; i < inner.size(); ++i) inner[i] = uses[i] == 1 && adds[i] == 1;
  return inner;
}

ValueId concat_of_pads(Rewriter& r, const Node& n, const std::vector<bool>& inner) {
  if (inner[static_cast<size_t>(n.results[0])]) return -1;  // the sum that reads it is tried
  int64_t dim = -1;
  std::vector<Part> parts;
  if (!collect(r, n.results[0], inner, dim, parts)) return -1;
  const TensorType& sum = r.old.type(n.results[0]);
  std::sort(parts.begin(), parts.end(),
            [](const Part& a, const Part& b) { return a.begin < b.begin; });
  int64_t at = 0;
  std::vector<ValueId> operands;
  for (const Part& p : parts) {
    if (p.begin != at || r.b.type(p.value).rank() != sum.rank()) return -1;
    at += p.size;
    operands.push_back(p.value);
  }
  if (sum.sizes[static_cast<size_t>(dim)] != Sym(at)) return -1;
  return r.b.emit(Op::concat, std::move(operands), {{"dim", Sym(dim)}});
}

}  // namespace ourjit
