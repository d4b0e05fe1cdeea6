#include <algorithm>
#include <array>

#include "base/error.h"
#include "graph/builder.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// Strides of a [N, C, H, W] tensor whose channels are innermost in memory.
std::vector<Sym> channels_last_strides(const std::vector<Sym>& sizes) {
  return {sizes[1] * sizes[2] * sizes[3], 1, sizes[3] * sizes[1], sizes[1]};
}

bool is_image(const TensorType& t) { return t.rank() == 4 && is_float(t.dtype); }

/// A call whose image operands and results share one layout: operands are [first, last), results
/// [0, results).
struct ImageCall {
  std::string_view target;
  size_t first, last, results;
};

// convolution_backward: grad_output, input; its weight gradient keeps the layout of the weight.
constexpr std::array kConvolutions = {
    ImageCall{"aten.convolution.default", 0, 1, 1},
    ImageCall{"aten.convolution_backward.default", 0, 2, 1},
};

const ImageCall* find_convolution(const Graph& g, const Node& n) {
  if (n.op != Op::call) return nullptr;
  for (const ImageCall& c : kConvolutions)
    if (c.target == call_target(n) && is_image(g.type(n.operands[0]))) return &c;
  return nullptr;
}

/// Not for images whose strides are those of contiguous memory too.
bool is_channels_last(const TensorType& t) {
  return is_image(t) && t.strides == channels_last_strides(t.sizes) &&
         t.strides != contiguous_strides(t.sizes);
}

/// True if dim i of the result lies in memory as dim i of the operand does.
bool keeps_dims(const Graph& g, const Node& n) {
  if (n.op == Op::index_select) return g.type(n.operands[1]).rank() == 1;
  return n.op == Op::slice || n.op == Op::flip || n.op == Op::pad;
}

/// Which values are to be channels-last: convolutions want it, inputs may have it, and pointwise
/// operators, slices, pads and selections of lines pass it on in both directions.
class ChannelsLast {
 public:
  explicit ChannelsLast(const Graph& g) : g_(g), wanted_(g.values.size(), false) {
    for (const GraphInput& in : g.inputs)
      if (in.value >= 0 && is_channels_last(g.type(in.value))) want(in.value);
    for (const Node& n : g.nodes)
      if (const ImageCall* c = find_convolution(g, n)) mark(n, *c);
    // Two sweeps each way reach everything but odd shapes, which just stay as they are.
    for (int round = 0; round < 2 && any_; ++round) {
      for (const Node& n : g.nodes) pass_on(n);
      for (size_t i = g.nodes.size(); i-- > 0;) pass_on(g.nodes[i]);
    }
    for (const GraphOutput& o : g.outputs)
      if (o.value >= 0 && o.strides_fixed) wanted_[static_cast<size_t>(o.value)] = false;
  }

  bool any() const { return any_; }
  bool operator()(ValueId v) const { return v >= 0 && wanted_[static_cast<size_t>(v)]; }

 private:
  void want(ValueId v) {
    if (v < 0 || !is_image(g_.type(v)) || wanted_[static_cast<size_t>(v)]) return;
    wanted_[static_cast<size_t>(v)] = true;
    any_ = true;
  }

  void mark(const Node& n, const ImageCall& c) {
    for (size_t i = c.first; i < c.last; ++i) want(n.operands[i]);
    for (size_t i = 0; i < c.results && i < n.results.size(); ++i) want(n.results[i]);
  }

  void pass_on(const Node& n) {
    if (keeps_dims(g_, n)) {
      if (g_.type(n.results[0]).rank() != 4) return;
      const auto whole = static_cast<size_t>(n.operands[0]),
                 part = static_cast<size_t>(n.results[0]);
      const bool some = wanted_[whole] || wanted_[part];
      wanted_[whole] = wanted_[part] = some;
      return;
    }
    if (!is_pointwise(n.op)) return;
    const TensorType& t = g_.type(n.results[0]);
    if (t.rank() != 4) return;
    bool some = wanted_[static_cast<size_t>(n.results[0])];
    for (const ValueId v : n.operands) some |= (*this)(v) && g_.type(v).sizes == t.sizes;
    if (!some) return;
    wanted_[static_cast<size_t>(n.results[0])] = true;  // masks too
    for (const ValueId v : n.operands)
      if (g_.type(v).sizes == t.sizes) want(v);
  }

  const Graph& g_;
  std::vector<bool> wanted_;
  bool any_ = false;
};

/// An operand of a convolution in channels-last memory.
ValueId to_channels_last(Rewriter& r, ValueId v) {
  const TensorType& t = r.b.type(v);
  const std::vector<Sym> strides = channels_last_strides(t.sizes);
  if (t.strides == strides) return v;
  const ValueId copy = r.b.emit(Op::cast, {v}, {{"dtype", t.dtype}});
  r.b.set_strides(copy, strides);
  return copy;
}

void keep_image_call(Rewriter& r, const Node& n, const ImageCall& c) {
  std::vector<std::pair<size_t, ValueId>> saved;
  for (size_t i = c.first; i < c.last; ++i) {
    const auto v = static_cast<size_t>(n.operands[i]);
    saved.emplace_back(v, r.map[v]);
    r.map[v] = to_channels_last(r, r.map[v]);
  }
  r.keep(n);
  for (size_t i = saved.size(); i-- > 0;) r.map[saved[i].first] = saved[i].second;
  for (size_t i = 0; i < c.results && i < n.results.size(); ++i)
    if (n.results[i] >= 0) {
      const ValueId v = r(n.results[i]);
      if (r.b.type(v).rank() == 4) r.b.set_strides(v, channels_last_strides(r.b.type(v).sizes));
    }
}

}  // namespace

bool prefers_channels_last(const Graph& g, const TensorType& image) {
  return is_channels_last(image) || std::any_of(g.nodes.begin(), g.nodes.end(), [&](const Node& n) {
           return find_convolution(g, n) != nullptr;
         });
}

Graph choose_layout(const Graph& g, const PassContext& ctx) {
  std::vector<const GraphOutput*> fixed(g.values.size(), nullptr);
  for (const GraphOutput& o : g.outputs)
    if (o.value >= 0 && o.strides_fixed) fixed[static_cast<size_t>(o.value)] = &o;
  const ChannelsLast channels_last(g);
  const bool images = channels_last.any() && !ctx.deterministic_layout;
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    r.b.set_loc(n.loc);
    if (images)
      if (const ImageCall* c = find_convolution(r.old, n)) return keep_image_call(r, n, *c);
    if (n.op == Op::call) return r.keep(n);
    std::vector<ValueId> operands;
    for (const ValueId v : n.operands) operands.push_back(r(v));
    const ValueId v =
        r.b.emit(n.op, operands, n.attrs, r.old.values[static_cast<size_t>(n.results[0])].name);
    r.replace(n, v);
    if (!is_pointwise(n.op) && op_category(n.op) != OpCategory::Reduce) return;
    if (const GraphOutput* o = fixed[static_cast<size_t>(n.results[0])])
      r.b.set_strides(v, o->strides);
    else if (images && channels_last(n.results[0]))
      r.b.set_strides(v, channels_last_strides(r.b.type(v).sizes));
  });
}

}  // namespace ourjit
