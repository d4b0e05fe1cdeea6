#include "adapter/aten_interpreter.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/List.h>

#include <algorithm>
#include <map>

#include "adapter/dtypes.h"
#include "adapter/operators.h"
#include "base/error.h"
#include "base/philox.h"
#include "build_plan.h"

namespace ourjit {

namespace {

using c10::IValue;

/// Calls an overload; arguments that are not given have their defaults.
at::Tensor aten(const std::string& target, std::vector<IValue> stack) {
  const c10::OperatorHandle op = find_operator(target);
  const auto& schema = op.schema().arguments();
  for (size_t i = stack.size(); i < schema.size(); ++i)
    stack.push_back(schema[i].default_value().value_or(IValue()));
  op.callBoxed(stack);
  std::vector<at::Tensor> results = flatten_results(stack);
  OURJIT_CHECK(!results.empty()) << target << " returned nothing";
  return results[0];
}

c10::List<int64_t> int_list(const std::vector<int64_t>& xs) {
  c10::List<int64_t> list;
  for (const int64_t x : xs) list.push_back(x);
  return list;
}

/// What ATen calls a pointwise operator, where it is not aten.<name>.default or .Tensor.
std::string pointwise_target(ScalarOp op) {
  switch (op) {
    case ScalarOp::pow:
      return "aten.pow.Tensor_Tensor";
    case ScalarOp::mod:
      return "aten.remainder.Tensor";
    case ScalarOp::shl:
      return "aten.bitwise_left_shift.Tensor";
    case ScalarOp::shr:
      return "aten.bitwise_right_shift.Tensor";
    case ScalarOp::where:
      return "aten.where.self";
    case ScalarOp::atan2:
    case ScalarOp::gcd:
    case ScalarOp::minimum:
    case ScalarOp::maximum:
    case ScalarOp::fmin:
    case ScalarOp::fmax:
      return "aten." + std::string(scalar_op_info(op).name) + ".default";
    default:
      break;
  }
  const ScalarOpInfo& info = scalar_op_info(op);
  return "aten." + std::string(info.name) + (info.arity == 1 ? ".default" : ".Tensor");
}

template <class F>
at::Tensor random_numbers(DType dtype, const std::vector<int64_t>& sizes, const F& number) {
  at::Tensor t = aten("aten.empty.memory_format",
                      {int_list(sizes), static_cast<int64_t>(c10::ScalarType::Double)});
  auto* p = t.mutable_data_ptr<double>();
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = number(i);
  return aten("aten.to.dtype", {t, static_cast<int64_t>(to_torch(dtype))});
}

double random_number(bool normal, DType dtype, int64_t seed, int64_t index) {
  if (dtype == DType::f64)
    return normal ? philox_normal_f64(seed, index) : philox_uniform_f64(seed, index);
  return normal ? philox_normal_f32(seed, index) : philox_uniform_f32(seed, index);
}

class Interpreter {
 public:
  Interpreter(const Graph& g, const std::vector<CallValue>& inputs)
      : g_(g), values_(g.values.size()) {
    if (inputs.size() != g.inputs.size())
      OURJIT_RAISE(UserError) << g.name << " takes " << g.inputs.size() << " inputs, not "
                              << inputs.size();
    for (size_t i = 0; i < inputs.size(); ++i) bind(g.inputs[i], inputs[i]);
  }

  std::vector<CallValue> run() {
    const at::AutoDispatchBelowADInplaceOrView below;
    for (const Node& n : g_.nodes) {
      try {
        node(n);
      } catch (const c10::Error& e) {
        throw UserError(std::string(op_name(n.op)) + ": " + e.what_without_backtrace());
      }
    }
    std::vector<CallValue> outputs;
    for (const GraphOutput& o : g_.outputs) {
      if (o.value >= 0)
        outputs.push_back(
            {as_typed(o.value, o.strides_fixed ? &o.strides : nullptr), std::nullopt});
      else
        outputs.push_back({{}, o.number ? std::optional(eval(*o.number)) : std::nullopt});
    }
    return outputs;
  }

 private:
  void bind(const GraphInput& in, const CallValue& given) {
    if (in.value < 0) {
      if (!given.number) OURJIT_RAISE(UserError) << "input " << in.symbol << " must be a number";
      symbols_[in.symbol] = *given.number;
      return;
    }
    const Value& v = g_.values[static_cast<size_t>(in.value)];
    const at::Tensor& t = given.tensor;
    if (!t.defined() || t.dim() != v.type.rank() || t.scalar_type() != to_torch(v.type.dtype))
      OURJIT_RAISE(UserError) << "input " << v.name << " must be a tensor of dtype "
                              << dtype_name(v.type.dtype) << " with " << v.type.rank() << " dims";
    for (int d = 0; d < v.type.rank(); ++d) {
      const Sym& size = v.type.sizes[static_cast<size_t>(d)];
      if (const auto name = size.as_symbol()) symbols_.emplace(*name, t.size(d));
      if (eval(size) != t.size(d))
        OURJIT_RAISE(UserError) << "input " << v.name << " has size " << t.size(d) << " in dim "
                                << d << ", not " << size.str();
    }
    values_[static_cast<size_t>(in.value)] = t.detach();
  }

  int64_t eval(const Sym& s) const {
    return s.eval([this](std::string_view name) -> std::optional<int64_t> {
      const auto it = symbols_.find(name);
      return it == symbols_.end() ? std::nullopt : std::optional(it->second);
    });
  }
  std::vector<int64_t> eval(const std::vector<Sym>& xs) const {
    std::vector<int64_t> out;
    for (const Sym& x : xs) out.push_back(eval(x));
    return out;
  }
  std::vector<int64_t> sizes(const Node& n, std::string_view name) const {
    return eval(attr<std::vector<Sym>>(n, name));
  }
  int64_t size(const Node& n, std::string_view name) const { return eval(attr<Sym>(n, name)); }
  IValue number(const Node& n, std::string_view name) const {
    const Attr& a = n.attrs.find(name)->second;
    return std::holds_alternative<double>(a) ? IValue(std::get<double>(a))
                                             : IValue(eval(std::get<Sym>(a)));
  }
  static IValue dtype_value(DType t) { return static_cast<int64_t>(to_torch(t)); }
  static IValue dtype(const Node& n) { return dtype_value(attr<DType>(n, "dtype")); }

  const at::Tensor& operand(const Node& n, size_t i = 0) const {
    return values_[static_cast<size_t>(n.operands[i])];
  }

  /// A value with the strides of its type (or others), as calls and users see it.
  at::Tensor as_typed(ValueId v, const std::vector<Sym>* strides = nullptr) const {
    const at::Tensor& t = values_[static_cast<size_t>(v)];
    const std::vector<int64_t> wanted = eval(strides ? *strides : g_.type(v).strides);
    if (same_strides(t.sizes(), t.strides(), wanted)) return t;
    return copy_with_strides(t, wanted);
  }

  void node(const Node& n) {
    if (n.op == Op::call) return call(n);
    at::Tensor result = is_pointwise(n.op) ? pointwise(n) : structural(n);
    const TensorType& t = g_.type(n.results[0]);
    OURJIT_CHECK(result.sizes() == c10::IntArrayRef(eval(t.sizes)))
        << op_name(n.op) << " has the wrong shape";
    OURJIT_CHECK(result.scalar_type() == to_torch(t.dtype))
        << op_name(n.op) << " has dtype " << c10::toString(result.scalar_type());
    values_[static_cast<size_t>(n.results[0])] = std::move(result);
  }

  at::Tensor pointwise(const Node& n) const {
    const ScalarOp op = scalar_op(n.op);
    switch (op) {
      case ScalarOp::cast: {
        // A fresh tensor also where the dtype stays.
        return aten("aten._to_copy.default", {operand(n), dtype(n)});
      }
      case ScalarOp::floor_div:
      case ScalarOp::trunc_div:
        return aten("aten.div.Tensor_mode",
                    {operand(n), operand(n, 1), op == ScalarOp::floor_div ? "floor" : "trunc"});
      case ScalarOp::rand_uniform:
      case ScalarOp::rand_normal:
        return random_at(n, op == ScalarOp::rand_normal);
      default:
        break;
    }
    std::vector<IValue> args;
    for (size_t i = 0; i < n.operands.size(); ++i) args.emplace_back(operand(n, i));
    return aten(pointwise_target(op), std::move(args));
  }

  at::Tensor random_at(const Node& n, bool normal) const {
    const std::vector<int64_t> shape = eval(g_.type(n.results[0]).sizes);
    const auto flat = [&](size_t i) {
      return aten("aten.expand.default", {operand(n, i), int_list(shape)}).contiguous();
    };
    const at::Tensor seeds = flat(0), indices = flat(1);
    const DType t = attr<DType>(n, "dtype");
    return random_numbers(t, shape, [&](int64_t i) {
      return random_number(normal, t, seeds.data_ptr<int64_t>()[i], indices.data_ptr<int64_t>()[i]);
    });
  }

  at::Tensor structural(const Node& n) {
    switch (n.op) {
      case Op::constant:
        return aten("aten.full.default", {int_list({}), number(n, "value"), dtype(n)});
      case Op::iota:
        return aten("aten.arange.default", {size(n, "size"), dtype(n)});
      case Op::uniform:
      case Op::normal: {
        const int64_t seed = operand(n).item().toLong();
        const DType t = attr<DType>(n, "dtype");
        return random_numbers(t, sizes(n, "sizes"), [&](int64_t i) {
          return random_number(n.op == Op::normal, t, seed, i);
        });
      }
      case Op::permute:
        return aten("aten.permute.default", {operand(n), int_list(sizes(n, "dims"))});
      case Op::reshape:
        return aten("aten.reshape.default", {operand(n), int_list(sizes(n, "sizes"))});
      case Op::expand:
        return aten("aten.expand.default", {operand(n), int_list(sizes(n, "sizes"))});
      case Op::slice:
        return slice(n);
      case Op::flip:
        return aten("aten.flip.default", {operand(n), int_list(sizes(n, "dims"))});
      case Op::reduce:
        return reduce(n);
      case Op::partial_reduce:
        return partial_reduce(n);
      case Op::concat: {
        c10::List<at::Tensor> parts;
        for (size_t i = 0; i < n.operands.size(); ++i) parts.push_back(operand(n, i));
        return aten("aten.cat.default", {parts, size(n, "dim")});
      }
      case Op::pad:
        return pad(n);
      case Op::gather:
        return aten("aten.gather.default", {operand(n), size(n, "dim"), index(n, 1)});
      case Op::index_select:
        return index_select(n);
      case Op::scatter:
        return scatter(n);
      case Op::index_put:
        return index_put(n);
      case Op::scan: {
        const std::string& op = attr<std::string>(n, "op");
        const at::Tensor x = operand(n);
        if (op == "logsumexp") return aten("aten.logcumsumexp.default", {x, size(n, "dim")});
        return aten(op == "sum" ? "aten.cumsum.default" : "aten.cumprod.default",
                    {x, size(n, "dim"), x.scalar_type()});
      }
      case Op::copy_to:
        return aten("aten.copy_.default", {operand(n), operand(n, 1)});
      default:
        break;
    }
    OURJIT_RAISE(Unsupported) << op_name(n.op) << " cannot be interpreted";
  }

  /// An index operand as i64.
  at::Tensor index(const Node& n, size_t i) const {
    return aten("aten.to.dtype", {operand(n, i), dtype_value(DType::i64)});
  }

  at::Tensor slice(const Node& n) const {
    const int64_t start = size(n, "start"), step = size(n, "step"), count = size(n, "size");
    const int64_t end = count == 0 ? start : start + (count - 1) * step + 1;
    return aten("aten.slice.Tensor", {operand(n), size(n, "dim"), start, end, step});
  }

  at::Tensor reduce(const Node& n) const {
    return reduce(operand(n), attr<std::string>(n, "op"), int_list_attr(n, "dims"),
                  attr<bool>(n, "keepdim"), g_.type(n.results[0]).dtype);
  }

  static at::Tensor reduce(const at::Tensor& x, const std::string& op,
                           const std::vector<int64_t>& dims, bool keepdim, DType result) {
    if (op == "argmax" || op == "argmin") {
      const bool all = dims.size() != 1;
      at::Tensor r = aten("aten." + op + ".default",
                          {x, all ? IValue() : IValue(dims[0]), all ? false : keepdim});
      return all && keepdim
                 ? aten("aten.reshape.default", {r, int_list(std::vector<int64_t>(dims.size(), 1))})
                 : r;
    }
    if (dims.empty()) return aten("aten._to_copy.default", {x, dtype_value(result)});
    if (op == "sum")
      return aten("aten.sum.dim_IntList", {x, int_list(dims), keepdim, dtype_value(result)});
    if (op == "max" || op == "min")
      return aten(op == "max" ? "aten.amax.default" : "aten.amin.default",
                  {x, int_list(dims), keepdim});
    // prod takes one dim at a time; the last first, so that the others stay where they are.
    at::Tensor r = x;
    for (size_t i = dims.size(); i-- > 0;)
      r = aten("aten.prod.dim_int", {r, dims[i], keepdim, dtype_value(result)});
    return r;
  }

  at::Tensor partial_reduce(const Node& n) const {
    const std::vector<int64_t> dims = int_list_attr(n, "dims");
    const std::string op = attr<std::string>(n, "op");
    const int64_t chunk = size(n, "chunk");
    std::vector<int64_t> order = dims, kept;
    for (int64_t d = 0; d < operand(n).dim(); ++d)
      if (std::find(dims.begin(), dims.end(), d) == dims.end()) {
        order.push_back(d);
        kept.push_back(operand(n).size(d));
      }
    int64_t count = 1;
    for (const int64_t d : dims) count *= operand(n).size(d);
    std::vector<int64_t> shape = {count};
    shape.insert(shape.end(), kept.begin(), kept.end());
    const at::Tensor rows =
        aten("aten.reshape.default",
             {aten("aten.permute.default", {operand(n), int_list(order)}), int_list(shape)});
    c10::List<at::Tensor> parts;
    for (int64_t at = 0; at < count; at += chunk)
      parts.push_back(
          reduce(aten("aten.slice.Tensor", {rows, 0, at, std::min(count, at + chunk), 1}), op, {0},
                 true, g_.type(n.results[0]).dtype));
    if (parts.empty()) {
      shape[0] = 0;
      return aten("aten.empty.memory_format",
                  {int_list(shape), dtype_value(g_.type(n.results[0]).dtype)});
    }
    return aten("aten.cat.default", {parts, 0});
  }

  at::Tensor pad(const Node& n) const {
    const std::vector<int64_t> low = sizes(n, "low"), high = sizes(n, "high");
    std::vector<int64_t> both;  // last dim first
    for (size_t i = low.size(); i-- > 0;) {
      both.push_back(low[i]);
      both.push_back(high[i]);
    }
    return aten("aten.constant_pad_nd.default", {operand(n), int_list(both), number(n, "value")});
  }

  /// An index that may be negative, wrapped.
  at::Tensor wrapped(const Node& n, size_t i, int64_t extent) const {
    const at::Tensor t = index(n, i);
    const at::Tensor negative = aten("aten.lt.Scalar", {t, 0});
    return aten("aten.where.self", {negative, aten("aten.add.Scalar", {t, extent}), t});
  }

  at::Tensor index_select(const Node& n) const {
    const int64_t dim = size(n, "dim");
    const bool wrap = n.attrs.contains("wrap") && attr<bool>(n, "wrap");
    const at::Tensor where = wrap ? wrapped(n, 1, operand(n).size(dim)) : index(n, 1);
    const at::Tensor flat = aten("aten.reshape.default", {where, int_list({where.numel()})});
    const at::Tensor rows = aten("aten.index_select.default", {operand(n), dim, flat});
    return aten("aten.reshape.default", {rows, int_list(eval(g_.type(n.results[0]).sizes))});
  }

  at::Tensor scatter(const Node& n) const {
    static const std::map<std::string, std::string> kReductions = {
        {"add", "sum"}, {"mul", "prod"}, {"minimum", "amin"}, {"maximum", "amax"}};
    const auto reduction = kReductions.find(attr<std::string>(n, "mode"));
    if (reduction == kReductions.end())
      return aten("aten.scatter.src", {operand(n), size(n, "dim"), index(n, 1), operand(n, 2)});
    return aten("aten.scatter_reduce.two",
                {operand(n), size(n, "dim"), index(n, 1), operand(n, 2), reduction->second, true});
  }

  at::Tensor index_put(const Node& n) const {
    const std::vector<int64_t> dims = int_list_attr(n, "dims");
    c10::List<std::optional<at::Tensor>> indices;
    for (int64_t d = 0; d < dims.front(); ++d) indices.push_back(std::nullopt);
    for (size_t i = 0; i < dims.size(); ++i) indices.push_back(index(n, i + 2));
    return aten("aten.index_put.default",
                {operand(n), indices, operand(n, 1), attr<std::string>(n, "mode") == "add"});
  }

  /// ourjit.uniform and ourjit.normal as compiled graphs compute them.
  at::Tensor drawn(const Node& n, bool normal) const {
    const TensorType& t = g_.type(n.results[0]);
    const int64_t seed = operand(n).item().toLong();
    return random_numbers(t.dtype, eval(t.sizes),
                          [&](int64_t i) { return random_number(normal, t.dtype, seed, i); });
  }

  void call(const Node& n) {
    const std::string& target = call_target(n);
    std::vector<at::Tensor> results;
    if (target == "ourjit.uniform.default" || target == "ourjit.normal.default") {
      results.push_back(drawn(n, target == "ourjit.normal.default"));
    } else if (is_rng_seed(target)) {
      results.push_back(
          aten("aten.full.default", {int_list({}), draw_seed(), dtype_value(DType::i64)}));
    } else {
      std::vector<CallArg> args;
      for (const Arg& a : attr<ArgList>(n, "args"))
        args.push_back(to_call_arg(a, [&](int i) { return n.operands[static_cast<size_t>(i)]; }));
      const c10::OperatorHandle op = find_operator(target);
      std::vector<IValue> stack = make_arguments(
          op, args,
          {[this](const Sym& s) { return eval(s); }, [this](int v) { return as_typed(v); }});
      for (size_t i = stack.size(); i < op.schema().arguments().size(); ++i)
        stack.push_back(op.schema().arguments()[i].default_value().value_or(IValue()));
      op.callBoxed(stack);
      results = flatten_results(stack);
    }
    for (size_t i = 0; i < n.results.size(); ++i)
      if (n.results[i] >= 0 && i < results.size())
        values_[static_cast<size_t>(n.results[i])] = results[i];
  }

  const Graph& g_;
  std::vector<at::Tensor> values_;
  std::map<std::string, int64_t, std::less<>> symbols_;
};

}  // namespace

std::vector<CallValue> interpret(const Graph& g, const std::vector<CallValue>& inputs) {
  return Interpreter(g, inputs).run();
}

}  // namespace ourjit
