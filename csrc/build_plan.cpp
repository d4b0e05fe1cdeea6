#include "build_plan.h"

#include <set>

#include "base/error.h"
#include "graph/infer.h"

namespace ourjit {
namespace {

/// A value's place in memory.
struct Place {
  int buffer = -1;
  Sym offset;
  std::vector<Sym> strides;
};

class PlanBuilder {
 public:
  PlanBuilder(const Graph& g, const Fusion& f,
              const std::function<bool(const std::string&)>& writes_into_results)
      : g_(g),
        f_(f),
        writes_into_results_(writes_into_results),
        places_(g.values.size()),
        tensor_of_(g.values.size(), -1),
        leaves_(g.values.size(), false) {
    plan_.name = g.name;
  }

  Plan run(const std::vector<StepKernel>& steps) {
    find_joins();
    mark_leaving();
    add_inputs();
    mark_written();
    for (size_t i = 0; i < f_.steps.size(); ++i) {
      const FusedStep& s = f_.steps[i];
      if (steps[i].kernel >= 0)
        launch(steps[i]);
      else if (!s.group && g_.node(s.node).op == Op::call)
        call(g_.node(s.node));
    }
    for (const GraphOutput& o : g_.outputs)
      plan_.outputs.push_back(o.value >= 0 ? PlanOutput{tensor(o.value), {}}
                                           : PlanOutput{-1, o.number});
    return std::move(plan_);
  }

 private:
  const Value& value(ValueId v) const { return g_.values[static_cast<size_t>(v)]; }

  /// Copies that are made right in a concat's memory.
  void find_joins() {
    for (const Node& n : g_.nodes) {
      if (n.op != Op::concat || node_kind(g_, value(n.results[0]).def) != NodeKind::Barrier)
        continue;
      const auto dim = static_cast<size_t>(int_attr(n, "dim"));
      Sym at = 0;
      for (const ValueId o : n.operands) {
        joined_[o] = {n.results[0], at * g_.type(n.results[0]).strides[dim]};
        at += g_.type(o).sizes[dim];
      }
    }
  }

  /// The value whose memory `v` is in.
  ValueId root(ValueId v) const {
    for (;;) {
      if (const auto j = joined_.find(v); j != joined_.end()) {
        v = j->second.first;
        continue;
      }
      const Node* n = g_.def(v);
      if (!n) return v;
      const bool inside = op_category(n->op) == OpCategory::View ||
                          op_category(n->op) == OpCategory::Scatter || n->op == Op::copy_to;
      if (!inside) return v;
      v = n->operands[0];
    }
  }

  /// Memory that graph outputs are in leaves the call.
  void mark_leaving() {
    for (const GraphOutput& o : g_.outputs)
      if (o.value >= 0) leaves_[static_cast<size_t>(root(o.value))] = true;
  }

  /// Inputs that copy_to or a mutating call (its name ends in _) writes to.
  void mark_written() {
    for (const Node& n : g_.nodes) {
      bool writes = n.op == Op::copy_to;
      if (n.op == Op::call) {
        const std::string& target = call_target(n);
        const size_t end = target.rfind('.');
        writes = end != std::string::npos && end > 0 && target[end - 1] == '_';
      }
      if (!writes || n.operands.empty()) continue;
      const ValueId memory = root(n.operands[0]);
      for (size_t i = 0; i < g_.inputs.size(); ++i)
        if (g_.inputs[i].value == memory) plan_.inputs[i].written = true;
    }
  }

  void add_inputs() {
    std::set<std::string> known;
    for (size_t i = 0; i < g_.inputs.size(); ++i) {
      const GraphInput& in = g_.inputs[i];
      if (in.value < 0) {
        plan_.inputs.push_back({true, DType::i64, {}, {}, in.symbol});
        plan_.symbols.push_back({in.symbol, static_cast<int>(i), -1});
        known.insert(in.symbol);
        continue;
      }
      const TensorType& t = g_.type(in.value);
      plan_.inputs.push_back({false, t.dtype, t.sizes, t.strides, value(in.value).name});
    }
    for (size_t i = 0; i < plan_.inputs.size(); ++i)
      for (size_t d = 0; d < plan_.inputs[i].sizes.size(); ++d) {
        const auto name = plan_.inputs[i].sizes[d].as_symbol();
        if (name && known.insert(*name).second)
          plan_.symbols.push_back({*name, static_cast<int>(i), static_cast<int>(d)});
      }
    for (size_t i = 0; i < g_.inputs.size(); ++i) {
      const ValueId v = g_.inputs[i].value;
      if (v < 0) continue;
      const int b = add_buffer(BufferKind::Input, v, static_cast<int>(i));
      places_[static_cast<size_t>(v)] = {b, 0, g_.type(v).strides};
    }
  }

  int add_buffer(BufferKind kind, ValueId v, int input = -1) {
    const TensorType& t = g_.type(v);
    Sym last = 0;
    bool empty = false;
    for (size_t i = 0; i < t.sizes.size(); ++i) {
      empty |= t.sizes[i].is_const(0);
      last += (t.sizes[i] - 1) * t.strides[i];
    }
    const Sym elements = empty ? Sym(0) : last + 1;
    plan_.buffers.push_back({kind, input, elements * dtype_bytes(t.dtype), value(v).name});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  const Place& place(ValueId v) {
    Place& p = places_[static_cast<size_t>(v)];
    if (p.buffer >= 0) return p;
    const TensorType& t = g_.type(v);
    const auto join = joined_.find(v);
    const Node* n = g_.def(v);
    if (join != joined_.end()) {
      const Place whole = place(join->second.first);
      p = {whole.buffer, whole.offset + join->second.second, whole.strides};
    } else if (n && (op_category(n->op) == OpCategory::Scatter || n->op == Op::copy_to)) {
      p = place(n->operands[0]);
    } else if (n && op_category(n->op) == OpCategory::View) {
      p = view_place(*n);
    } else {
      const bool leaves = leaves_[static_cast<size_t>(v)];
      p = {add_buffer(leaves ? BufferKind::Output : BufferKind::Temp, v), 0, t.strides};
    }
    return p;
  }

  /// The same memory seen through a view.
  Place view_place(const Node& n) {
    const Place base = place(n.operands[0]);
    const TensorType& from = g_.type(n.operands[0]);
    const TensorType& to = g_.type(n.results[0]);
    Place p = base;
    switch (n.op) {
      case Op::permute: {
        const std::vector<int64_t> dims = int_list_attr(n, "dims");
        p.strides.clear();
        for (const int64_t d : dims) p.strides.push_back(base.strides[static_cast<size_t>(d)]);
        return p;
      }
      case Op::reshape: {
        TensorType here = from;
        here.strides = base.strides;
        const auto strides = view_strides(here, to.sizes);
        OURJIT_CHECK(strides) << "%" << value(n.results[0]).name << " is not a view";
        p.strides = *strides;
        return p;
      }
      case Op::expand: {
        const size_t extra = to.sizes.size() - from.sizes.size();
        p.strides.assign(extra, Sym(0));
        for (size_t i = 0; i < from.sizes.size(); ++i)
          p.strides.push_back(from.sizes[i] == to.sizes[i + extra] ? base.strides[i] : Sym(0));
        return p;
      }
      case Op::slice: {
        const auto d = static_cast<size_t>(int_attr(n, "dim"));
        p.offset += attr<Sym>(n, "start") * base.strides[d];
        p.strides[d] *= attr<Sym>(n, "step");
        return p;
      }
      default:
        break;
    }
    OURJIT_CHECK(false) << op_name(n.op) << " has no place in memory";
    return p;
  }

  int tensor(ValueId v) {
    int& t = tensor_of_[static_cast<size_t>(v)];
    if (t >= 0) return t;
    const Place p = place(v);
    const TensorType& type = g_.type(v);
    plan_.tensors.push_back({p.buffer, type.dtype, type.sizes, p.strides, p.offset});
    return t = static_cast<int>(plan_.tensors.size()) - 1;
  }

  void launch(const StepKernel& s) {
    LaunchStep step;
    step.kernel = s.kernel;
    for (const ValueId v : s.lowered.buffers) step.tensors.push_back(tensor(v));
    for (const std::string& name : s.lowered.kernel.sizes) step.sizes.push_back(Sym::symbol(name));
    step.extent = s.lowered.extent;
    step.cost_ns = s.cost_ns;
    plan_.steps.emplace_back(std::move(step));
  }

  void call(const Node& n) {
    CallStep step;
    step.target = call_target(n);
    step.loc = n.loc;
    for (const Arg& a : attr<ArgList>(n, "args"))
      step.args.push_back(
          to_call_arg(a, [&](int i) { return tensor(n.operands[static_cast<size_t>(i)]); }));
    step.into_results = writes_into_results_(step.target);
    for (const ValueId v : n.results) {
      if (v < 0) {
        step.results.push_back(-1);
        continue;
      }
      if (!step.into_results)
        places_[static_cast<size_t>(v)] = {add_buffer(BufferKind::CallResult, v), 0,
                                           g_.type(v).strides};
      step.results.push_back(tensor(v));
    }
    plan_.steps.emplace_back(std::move(step));
  }

  const Graph& g_;
  const Fusion& f_;
  const std::function<bool(const std::string&)>& writes_into_results_;
  Plan plan_;
  std::vector<Place> places_;
  std::vector<int> tensor_of_;
  std::vector<bool> leaves_;
  std::map<ValueId, std::pair<ValueId, Sym>> joined_;
};

}  // namespace

CallArg to_call_arg(const Arg& a, const std::function<int(int operand)>& tensor) {
  struct Convert {
    const std::function<int(int)>& tensor;
    CallArg operator()(const NoneArg&) const { return {CallNone{}}; }
    CallArg operator()(const OperandRef& r) const { return {CallTensor{tensor(r.index)}}; }
    CallArg operator()(bool x) const { return {x}; }
    CallArg operator()(const Sym& x) const { return {x}; }
    CallArg operator()(double x) const { return {x}; }
    CallArg operator()(const std::string& x) const { return {x}; }
    CallArg operator()(const EnumArg& x) const { return {CallEnum{x.kind, x.name}}; }
    CallArg operator()(const ArgList& x) const {
      std::vector<CallArg> out;
      for (const Arg& i : x) out.push_back(to_call_arg(i, tensor));
      return {std::move(out)};
    }
  };
  return std::visit(Convert{tensor}, a.v);
}

Plan build_plan(const Graph& g, const Fusion& f, const std::vector<StepKernel>& steps,
                const std::function<bool(const std::string&)>& writes_into_results) {
  return PlanBuilder(g, f, writes_into_results).run(steps);
}

}  // namespace ourjit
