// Whether a node's shape and reduction fit the iteration domain of a group.
#include <algorithm>

#include "base/error.h"
#include "fusion/group.h"

namespace ourjit {
namespace {

/// Refines `group` by `sizes`, keeping its marks; false if boundaries cross.
bool refine(const Group& group, const std::vector<Sym>& sizes, Group* out) {
  const auto dims = common_refinement(group.dims, sizes);
  if (!dims) return false;
  *out = group;
  out->dims = *dims;
  if (group.reduced.empty()) return true;
  out->reduced.clear();
  size_t i = 0;
  Sym p = 1;
  for (const Sym& d : *dims) {
    out->reduced.push_back(group.reduced[i]);
    p *= d;
    if (p == group.dims[i]) {
      ++i;
      p = 1;
    }
  }
  return true;
}

/// Marks on `dims` of those that refine the dims `which` of `shape`.
std::vector<bool> marks(const std::vector<Sym>& dims, const std::vector<Sym>& shape,
                        const std::vector<int64_t>& which) {
  std::vector<bool> out;
  size_t at = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool marked =
        std::find(which.begin(), which.end(), static_cast<int64_t>(i)) != which.end();
    if (shape[i].is_const(1)) continue;
    Sym p = 1;
    while (p != shape[i]) {
      OURJIT_CHECK(at < dims.size()) << "dims do not refine the shape";
      p *= dims[at++];
      out.push_back(marked);
    }
  }
  return out;
}

/// True if a sink sums over neighbours in memory.
bool sums_rows(const Graph& g, const Node& sink) {
  const TensorType& t = g.type(sink.operands[0]);
  int64_t inner = -1;
  for (int64_t d = 0; d < t.rank(); ++d) {
    const auto at = static_cast<size_t>(d), best = static_cast<size_t>(inner);
    if (t.sizes[at].is_const(1)) continue;
    const bool known = inner >= 0 && t.strides[at].is_const() && t.strides[best].is_const();
    if (!known || t.strides[at].value() <= t.strides[best].value()) inner = d;
  }
  const std::vector<int64_t> dims = int_list_attr(sink, "dims");
  return std::find(dims.begin(), dims.end(), inner) != dims.end();
}

/// True if sums over the dims that `reduced` does not mark fit rows that run over those it marks.
bool sinks_fit_rows(const Graph& g, const Node& sink, const std::vector<bool>& sink_dims,
                    std::vector<bool> reduced, std::string* why) {
  reduced.flip();
  if (sink_dims != reduced)
    *why = "the group's column sums and its reductions do not share out the dims";
  else if (sums_rows(g, sink))
    *why = "its neighbours in memory would be in different rows";
  else
    return true;
  return false;
}

bool sink_fits(const Graph& g, const Group& group, NodeId n, Group* joined, std::string* why) {
  const Node& node = g.node(n);
  const std::vector<Sym>& shape = iteration_shape(g, node);
  const std::vector<int64_t> dims = int_list_attr(node, "dims");
  if (product(group.dims) != product(shape) || !refine(group, shape, joined)) {
    *why = "its shape does not fit the group's iteration domain";
    return false;
  }
  const std::vector<bool> m = marks(joined->dims, shape, dims);
  if (!group.sinks.empty()) {
    const Node& s = g.node(group.sinks[0]);
    if (marks(joined->dims, iteration_shape(g, s), int_list_attr(s, "dims")) != m ||
        attr<Sym>(s, "chunk") != attr<Sym>(node, "chunk")) {
      *why = "the group's column sums run over other dims";
      return false;
    }
  }
  return joined->reduced.empty() || sinks_fit_rows(g, node, m, joined->reduced, why);
}

}  // namespace

bool shape_fits(const Graph& g, const Group& group, NodeId n, Group* joined, std::string* why) {
  const Node& node = g.node(n);
  const std::vector<Sym>& shape = iteration_shape(g, node);
  if (node.op == Op::partial_reduce) return sink_fits(g, group, n, joined, why);
  if (product(group.dims) == product(shape) && refine(group, shape, joined)) {
    if (node.op != Op::reduce) return true;
    const std::vector<bool> m = marks(joined->dims, shape, int_list_attr(node, "dims"));
    if (joined->reduced.empty()) {
      if (!group.sinks.empty()) {
        const Node& s = g.node(group.sinks[0]);
        const std::vector<bool> dims =
            marks(joined->dims, iteration_shape(g, s), int_list_attr(s, "dims"));
        if (!sinks_fit_rows(g, s, dims, m, why)) return false;
      }
      joined->reduced = m;
      return true;
    }
    if (joined->reduced == m) return true;
    *why = "it reduces over other dims than the group";
    return false;
  }
  // A row member: its shape groups the kept dims.
  if (!group.reduced.empty() && node.op != Op::reduce &&
      product(kept_dims(group)) == product(shape)) {
    const std::vector<Sym> kept = kept_dims(group);
    const auto fine = common_refinement(kept, shape);
    if (fine && *fine == kept) {
      *joined = group;
      return true;
    }
    if (fine) {
      // Refine the whole domain by the finer kept dims.
      std::vector<Sym> sizes;
      size_t k = 0;
      for (size_t i = 0; i < group.dims.size(); ++i) {
        if (group.reduced[i]) {
          sizes.push_back(group.dims[i]);
          continue;
        }
        for (Sym p = 1; p != group.dims[i];) {
          p *= (*fine)[k];
          sizes.push_back((*fine)[k++]);
        }
      }
      if (refine(group, sizes, joined)) return true;
    }
  }
  *why = "its shape does not fit the group's iteration domain";
  return false;
}

}  // namespace ourjit
