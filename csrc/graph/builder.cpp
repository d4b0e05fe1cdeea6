#include "graph/builder.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/error.h"
#include "graph/infer.h"

namespace ourjit {
namespace {

/// `name` with only characters that a value's name may have.
std::string clean_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool ok = std::isalnum(static_cast<unsigned char>(c)) || c == '_' ||
                    (c == '.' && !out.empty() && out.back() != '.');
    out += ok ? c : '_';
  }
  while (!out.empty() && out.back() == '.') out.pop_back();
  return out.empty() ? "v" : out;
}

/// `name` without a trailing ".123".
std::string_view without_number(std::string_view name) {
  const size_t end = name.find_last_not_of("0123456789");
  const bool numbered =
      end != std::string_view::npos && end > 0 && end + 1 < name.size() && name[end] == '.';
  return numbered ? name.substr(0, end) : name;
}

/// Locations stand behind # on one line.
std::string clean_loc(std::string loc) {
  for (char& c : loc)
    if (static_cast<unsigned char>(c) < 32) c = ' ';
  while (!loc.empty() && loc.back() == ' ') loc.pop_back();
  loc.erase(0, std::min(loc.find_first_not_of(' '), loc.size()));
  return loc;
}

/// A number attribute in the form that suits `dtype`, so that equal numbers are equal attributes:
/// double for floats, Sym for the rest and for symbolic numbers.
Attr normal_number(const Attr& value, DType dtype) {
  if (const bool* b = std::get_if<bool>(&value)) return normal_number(Sym(*b ? 1 : 0), dtype);
  if (const Sym* s = std::get_if<Sym>(&value)) {
    if (is_float(dtype) && s->is_const()) return static_cast<double>(s->value());
    if (is_bool(dtype) && s->is_const()) return Sym(s->is_const(0) ? 0 : 1);
    return value;
  }
  if (const double* d = std::get_if<double>(&value)) {
    if (is_bool(dtype)) return Sym(*d != 0 ? 1 : 0);
    const bool whole = std::trunc(*d) == *d && std::abs(*d) < 0x1p63;
    if (!is_float(dtype) && whole) return Sym(static_cast<int64_t>(*d));
  }
  return value;
}

/// Fills in attributes that may be left out and brings numbers into one form.
void normalize(Op op, const std::vector<TensorType>& operands, Attrs& attrs) {
  const auto number = [&](DType dtype) {
    const auto value = attrs.find("value");
    if (value != attrs.end()) value->second = normal_number(value->second, dtype);
  };
  if (op == Op::constant) {
    const auto dtype = attrs.find("dtype");
    if (dtype != attrs.end() && std::holds_alternative<DType>(dtype->second))
      number(std::get<DType>(dtype->second));
  } else if (op == Op::pad && !operands.empty()) {
    number(operands[0].dtype);
  } else if (op == Op::reduce && !operands.empty()) {
    attrs.try_emplace("keepdim", false);
    const auto name = attrs.find("op");
    if (name == attrs.end() || !std::holds_alternative<std::string>(name->second)) return;
    if (const auto r = parse_reduce_op(std::get<std::string>(name->second)))
      attrs.try_emplace("dtype", reduce_dtype(*r, operands[0].dtype));
  } else if (op == Op::index_select) {
    attrs.try_emplace("wrap", false);
  }
}

/// Renumbers operand references so that operand i is the i-th reference in `args`.
void number_references(ArgList& args, const std::vector<ValueId>& given,
                       std::vector<ValueId>& operands) {
  for (Arg& a : args) {
    if (auto* list = std::get_if<ArgList>(&a.v)) number_references(*list, given, operands);
    auto* ref = std::get_if<OperandRef>(&a.v);
    if (!ref) continue;
    OURJIT_CHECK(ref->index >= 0 && static_cast<size_t>(ref->index) < given.size())
        << "an argument refers to operand " << ref->index << " of " << given.size();
    operands.push_back(given[static_cast<size_t>(ref->index)]);
    ref->index = static_cast<int>(operands.size()) - 1;
  }
}

std::vector<Sym> syms(const std::vector<int64_t>& xs) { return {xs.begin(), xs.end()}; }

}  // namespace

Builder::Builder(std::string name) { graph_.name = clean_name(name); }

std::string Builder::unique_name(std::string_view hint) {
  std::string name = clean_name(hint);
  if (used_names_.try_emplace(name, 0).second) return name;
  const std::string base(without_number(name));
  int& count = used_names_[base];
  do {
    name = base + "." + std::to_string(++count);
  } while (!used_names_.try_emplace(name, 0).second);
  return name;
}

ValueId Builder::new_value(std::string name, TensorType type, NodeId def, int result) {
  graph_.values.push_back({unique_name(name), std::move(type), def, result});
  return static_cast<ValueId>(graph_.values.size()) - 1;
}

void Builder::check_operands(const std::vector<ValueId>& operands) const {
  for (const ValueId v : operands)
    OURJIT_CHECK(v >= 0 && static_cast<size_t>(v) < graph_.values.size())
        << "an operand is not a value of the graph";
}

ValueId Builder::append(Op op, std::vector<ValueId> operands, Attrs attrs, TensorType type,
                        std::string_view name) {
  const auto id = static_cast<NodeId>(graph_.nodes.size());
  const ValueId v =
      new_value(std::string(name.empty() ? op_name(op) : name), std::move(type), id, 0);
  graph_.nodes.push_back({op, std::move(operands), std::move(attrs), {v}, loc_});
  return v;
}

ValueId Builder::input(std::string name, TensorType type) {
  const ValueId v = new_value(std::move(name), std::move(type), -1, 0);
  graph_.inputs.push_back({v, {}});
  return v;
}

void Builder::symbol_input(std::string symbol) { graph_.inputs.push_back({-1, std::move(symbol)}); }

ValueId Builder::emit(Op op, std::vector<ValueId> operands, Attrs attrs, std::string name) {
  OURJIT_CHECK(op != Op::call) << "calls are made by Builder::call";
  check_operands(operands);
  std::vector<TensorType> types;
  types.reserve(operands.size());
  for (const ValueId v : operands) types.push_back(type(v));
  normalize(op, types, attrs);
  TensorType t = infer(op, types, attrs);
  return append(op, std::move(operands), std::move(attrs), std::move(t), name);
}

std::vector<ValueId> Builder::call(std::string target, std::vector<ValueId> operands, ArgList args,
                                   const std::vector<std::optional<TensorType>>& results,
                                   const std::vector<std::string>& names) {
  check_operands(operands);
  const auto id = static_cast<NodeId>(graph_.nodes.size());
  Node n{Op::call, {}, {}, {}, loc_};
  number_references(args, operands, n.operands);
  // aten.add.Tensor gives "add".
  std::string_view hint = target;
  hint = hint.substr(0, hint.find('(')).substr(std::min(hint.find('.') + 1, hint.size()));
  hint = hint.substr(0, hint.find('.'));
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string name = i < names.size() && !names[i].empty() ? names[i] : clean_name(hint);
    n.results.push_back(results[i] ? new_value(name, *results[i], id, static_cast<int>(i)) : -1);
  }
  n.attrs.emplace("target", std::move(target));
  n.attrs.emplace("args", std::move(args));
  graph_.nodes.push_back(std::move(n));
  return graph_.nodes.back().results;
}

ValueId Builder::constant(double value, DType dtype) {
  return emit(Op::constant, {}, {{"value", value}, {"dtype", dtype}});
}

ValueId Builder::constant(int64_t value, DType dtype) {
  return emit(Op::constant, {}, {{"value", Sym(value)}, {"dtype", dtype}});
}

ValueId Builder::pointwise(ScalarOp op, std::vector<ValueId> operands) {
  return emit(pointwise_op(op), std::move(operands));
}

ValueId Builder::cast(ValueId x, DType dtype) {
  if (type(x).dtype == dtype) return x;
  return emit(Op::cast, {x}, {{"dtype", dtype}});
}

ValueId Builder::rounded(ValueId x) {
  return emit(Op::cast, {x}, {{"dtype", type(x).dtype}, {"round", true}});
}

ValueId Builder::reduce(ReduceOp op, ValueId x, std::vector<int64_t> dims, bool keepdim) {
  std::sort(dims.begin(), dims.end());
  return emit(
      Op::reduce, {x},
      {{"op", std::string(reduce_op_name(op))}, {"dims", syms(dims)}, {"keepdim", keepdim}});
}

ValueId Builder::permute(ValueId x, std::vector<int64_t> dims) {
  bool identity = static_cast<int>(dims.size()) == type(x).rank();
  for (size_t i = 0; i < dims.size(); ++i) identity &= dims[i] == static_cast<int64_t>(i);
  if (identity) return x;
  return emit(Op::permute, {x}, {{"dims", syms(dims)}});
}

ValueId Builder::reshape(ValueId x, std::vector<Sym> sizes) {
  if (type(x).sizes == sizes) return x;
  return emit(Op::reshape, {x}, {{"sizes", std::move(sizes)}});
}

ValueId Builder::expand(ValueId x, std::vector<Sym> sizes) {
  if (type(x).sizes == sizes) return x;
  return emit(Op::expand, {x}, {{"sizes", std::move(sizes)}});
}

ValueId Builder::slice(ValueId x, int64_t dim, Sym start, Sym step, Sym size) {
  const auto& sizes = type(x).sizes;
  const bool whole = dim >= 0 && static_cast<size_t>(dim) < sizes.size() && start.is_const(0) &&
                     step.is_const(1) && size == sizes[static_cast<size_t>(dim)];
  if (whole) return x;
  return emit(Op::slice, {x},
              {{"dim", Sym(dim)}, {"start", start}, {"step", step}, {"size", size}});
}

ValueId Builder::unsqueeze(ValueId x, int64_t dim) {
  std::vector<Sym> sizes = type(x).sizes;
  OURJIT_CHECK(dim >= 0 && dim <= static_cast<int64_t>(sizes.size())) << "unsqueeze at " << dim;
  sizes.insert(sizes.begin() + dim, Sym(1));
  return reshape(x, std::move(sizes));
}

void Builder::output(GraphOutput o) {
  if (o.value >= 0) check_operands({o.value});
  graph_.outputs.push_back(std::move(o));
}

void Builder::set_loc(std::string loc) { loc_ = clean_loc(std::move(loc)); }

void Builder::rename(ValueId v, std::string_view name) {
  check_operands({v});
  std::string& now = graph_.values[static_cast<size_t>(v)].name;
  used_names_.erase(now);
  now = unique_name(name);
}

void Builder::reserve(const Graph& like) {
  graph_.values.reserve(like.values.size() + like.values.size() / 4);
  graph_.nodes.reserve(like.nodes.size() + like.nodes.size() / 4);
}

void Builder::set_strides(ValueId v, std::vector<Sym> strides) {
  check_operands({v});
  TensorType& t = graph_.values[static_cast<size_t>(v)].type;
  OURJIT_CHECK(strides.size() == t.sizes.size()) << "one stride for each dim";
  t.strides = std::move(strides);
}

void Rewriter::keep(const Node& n) {
  std::vector<ValueId> operands;
  operands.reserve(n.operands.size());
  bool same = true;
  for (const ValueId v : n.operands) {
    const ValueId w = (*this)(v);
    OURJIT_CHECK(w >= 0) << "%" << old.values[static_cast<size_t>(v)].name << ", an operand of "
                         << op_name(n.op) << ", has no counterpart in the new graph";
    same = same && b.type(w) == old.type(v);
    operands.push_back(w);
  }
  b.set_loc(n.loc);
  const auto old_value = [&](ValueId v) -> const Value& {
    return old.values[static_cast<size_t>(v)];
  };
  if (n.op == Op::call) {
    std::vector<std::optional<TensorType>> types;
    std::vector<std::string> names;
    for (const ValueId v : n.results) {
      types.push_back(v < 0 ? std::nullopt : std::optional(old.type(v)));
      names.push_back(v < 0 ? "" : old_value(v).name);
    }
    const auto results = b.call(call_target(n), operands, attr<ArgList>(n, "args"), types, names);
    for (size_t i = 0; i < results.size(); ++i)
      if (results[i] >= 0) map[static_cast<size_t>(n.results[i])] = results[i];
    return;
  }
  const Value& result = old_value(n.results[0]);
  ValueId v = -1;
  if (same) {
    v = b.append(n.op, std::move(operands), n.attrs, result.type, result.name);
  } else {
    v = b.emit(n.op, std::move(operands), n.attrs, result.name);
    const bool own_memory = op_category(n.op) != OpCategory::View && n.op != Op::copy_to;
    if (own_memory && b.type(v).rank() == result.type.rank()) b.set_strides(v, result.type.strides);
  }
  map[static_cast<size_t>(n.results[0])] = v;
}

void Rewriter::replace(const Node& n, ValueId v, int i) {
  const ValueId r = n.results[static_cast<size_t>(i)];
  OURJIT_CHECK(r >= 0) << "result " << i << " of " << op_name(n.op) << " is None";
  map[static_cast<size_t>(r)] = v;
}

Graph rewrite(const Graph& g, const std::function<void(Rewriter&, const Node&)>& visit) {
  Rewriter r{g, Builder(g.name), std::vector<ValueId>(g.values.size(), -1)};
  r.b.reserve(g);
  for (const GraphInput& in : g.inputs) {
    if (in.value < 0) {
      r.b.symbol_input(in.symbol);
      continue;
    }
    const Value& v = g.values[static_cast<size_t>(in.value)];
    r.map[static_cast<size_t>(in.value)] = r.b.input(v.name, v.type);
  }
  for (const Node& n : g.nodes) {
    r.b.set_loc(n.loc);
    visit(r, n);
  }
  for (GraphOutput o : g.outputs) {
    if (o.value >= 0) {
      const ValueId v = r(o.value);
      OURJIT_CHECK(v >= 0) << "the output %" << g.values[static_cast<size_t>(o.value)].name
                           << " has no counterpart in the new graph";
      o.value = v;
    }
    r.b.output(std::move(o));
  }
  return r.b.take();
}

}  // namespace ourjit
