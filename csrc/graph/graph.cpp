#include "graph/graph.h"

#include <array>
#include <iterator>
#include <unordered_map>

#include "base/error.h"

namespace ourjit {
namespace {

struct OpRow {
  std::string_view name;
  OpCategory category;
  int operands;
};

constexpr OpRow kOps[] = {
#define X(name, arity, result, domain, llvm, cuda) {#name, OpCategory::Pointwise, arity},
#include "base/scalar_ops.def"
#undef X
#define X(name, category, operands) {#name, OpCategory::category, operands},
#include "graph/ops.def"
#undef X
};

const OpRow& row(Op op) { return kOps[static_cast<size_t>(op)]; }

}  // namespace

std::string_view op_name(Op op) { return row(op).name; }

std::optional<Op> parse_op(std::string_view name) {
  static const auto* table = [] {
    auto* t = new std::unordered_map<std::string_view, Op>;
    for (size_t i = 0; i < std::size(kOps); ++i) (*t)[kOps[i].name] = static_cast<Op>(i);
    return t;
  }();
  const auto it = table->find(name);
  return it == table->end() ? std::nullopt : std::optional(it->second);
}

OpCategory op_category(Op op) { return row(op).category; }
int op_operands(Op op) { return row(op).operands; }

std::vector<Sym> contiguous_strides(const std::vector<Sym>& sizes) {
  std::vector<Sym> strides(sizes.size());
  Sym step = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = step;
    // A dim without elements counts as one element, as in torch.
    if (!sizes[i].is_const(0)) step *= sizes[i];
  }
  return strides;
}

bool is_contiguous(const TensorType& t) {
  Sym step = 1;
  for (size_t i = t.sizes.size(); i-- > 0;) {
    if (t.sizes[i].is_const(0)) return true;
    if (t.sizes[i].is_const(1)) continue;
    if (t.strides[i] != step) {
      // Strides do not matter where there are no elements.
      for (const Sym& s : t.sizes)
        if (s.is_const(0)) return true;
      return false;
    }
    step *= t.sizes[i];
  }
  return true;
}

TensorType make_type(DType dtype, std::vector<Sym> sizes) {
  TensorType t;
  t.dtype = dtype;
  t.strides = contiguous_strides(sizes);
  t.sizes = std::move(sizes);
  return t;
}

std::vector<std::vector<NodeId>> users(const Graph& g) {
  std::vector<std::vector<NodeId>> out(g.values.size());
  for (size_t i = 0; i < g.nodes.size(); ++i)
    for (const ValueId v : g.nodes[i].operands) {
      auto& list = out[static_cast<size_t>(v)];
      if (list.empty() || list.back() != static_cast<NodeId>(i))
        list.push_back(static_cast<NodeId>(i));
    }
  return out;
}

template <class T>
const T& attr(const Node& n, std::string_view name) {
  const auto it = n.attrs.find(name);
  OURJIT_CHECK(it != n.attrs.end()) << op_name(n.op) << " has no attribute " << name;
  const T* v = std::get_if<T>(&it->second);
  OURJIT_CHECK(v) << "attribute " << name << " of " << op_name(n.op) << " is of another type";
  return *v;
}

template const bool& attr<bool>(const Node&, std::string_view);
template const Sym& attr<Sym>(const Node&, std::string_view);
template const double& attr<double>(const Node&, std::string_view);
template const std::string& attr<std::string>(const Node&, std::string_view);
template const DType& attr<DType>(const Node&, std::string_view);
template const std::vector<Sym>& attr<std::vector<Sym>>(const Node&, std::string_view);
template const ArgList& attr<ArgList>(const Node&, std::string_view);

std::vector<int64_t> int_list_attr(const Node& n, std::string_view name) {
  std::vector<int64_t> out;
  for (const Sym& s : attr<std::vector<Sym>>(n, name)) out.push_back(s.value());
  return out;
}

int64_t int_attr(const Node& n, std::string_view name) { return attr<Sym>(n, name).value(); }

bool rounds(const Node& n) {
  return n.op == Op::cast && n.attrs.count("round") && attr<bool>(n, "round");
}

const std::string& call_target(const Node& n) { return attr<std::string>(n, "target"); }

}  // namespace ourjit
