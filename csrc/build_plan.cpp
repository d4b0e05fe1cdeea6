#include "build_plan.h"

#include <algorithm>
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
  PlanBuilder(const Graph& g, const Fusion& f, const PlannedKernels& kernels,
              const WritesIntoResults& writes_into_results)
      : g_(g),
        f_(f),
        kernels_(kernels),
        writes_into_results_(writes_into_results),
        root_(g, f, kernels.in_place),
        places_(g.values.size()),
        tensor_of_(g.values.size(), -1),
        leaves_(g.values.size(), false) {
    plan_.name = g.name;
  }

  Plan run() {
    find_homes();
    mark_leaving();
    add_inputs();
    mark_written();
    for (const PlannedStep& s : kernels_.steps)
      s.kernel >= 0 ? launch(s) : call(g_.node(f_.steps[s.steps.front()].node));
    for (const GraphOutput& o : g_.outputs)
      plan_.outputs.push_back(o.value >= 0 ? PlanOutput{tensor(o.value), {}, -1, -1}
                                           : PlanOutput{-1, o.number, -1, -1});
    return std::move(plan_);
  }

 private:
  const Value& value(ValueId v) const { return g_.values[static_cast<size_t>(v)]; }

  /// Values that are made right in the memory of a concat or of an input.
  void find_homes() {
    for (const auto& [v, input] : kernels_.in_place) homes_[v] = {input, 0};
    for (const FusedStep& s : f_.steps) {
      if (s.group || g_.node(s.node).op != Op::concat) continue;
      const Node& n = g_.node(s.node);
      const auto dim = static_cast<size_t>(int_attr(n, "dim"));
      Sym at = 0;
      for (const ValueId o : n.operands) {
        homes_[o] = {n.results[0], at * g_.type(n.results[0]).strides[dim]};
        at += g_.type(o).sizes[dim];
      }
    }
  }

  /// Memory that graph outputs are in leaves the call.
  void mark_leaving() {
    for (const GraphOutput& o : g_.outputs)
      if (o.value >= 0) leaves_[static_cast<size_t>(root_(o.value))] = true;
  }

  /// Inputs that copy_to or a mutating call (its name ends in _) writes to.
  void mark_written() {
    for (const Node& n : g_.nodes) {
      bool writes = n.op == Op::copy_to;
      if (n.op == Op::call) writes = is_in_place(call_target(n));
      if (!writes || n.operands.empty()) continue;
      const ValueId memory = root_(n.operands[0]);
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
    const auto home = homes_.find(v);
    const Node* n = g_.def(v);
    if (home != homes_.end()) {
      const Place whole = place(home->second.first);
      p = {whole.buffer, whole.offset + home->second.second, whole.strides};
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

  void launch(const PlannedStep& s) {
    LaunchStep step;
    step.kernel = s.kernel;
    step.cost_ns = s.cost_ns;
    step.silent = s.silent;
    for (const size_t i : s.steps) {
      const LoweredKernel& lowered = kernels_.lowered[i];
      LaunchRow& row = step.rows.emplace_back();
      for (const ValueId v : lowered.buffers) row.tensors.push_back(tensor(v));
      row.sizes = lowered.sizes;
      row.extent = lowered.extent;
      for (const std::string& line : lowered.kernel.provenance)
        if (std::find(step.provenance.begin(), step.provenance.end(), line) ==
            step.provenance.end())
          step.provenance.push_back(line);
    }
    plan_.steps.emplace_back(std::move(step));
  }

  void call(const Node& n) {
    CallStep step;
    step.target = call_target(n);
    step.loc = n.loc;
    for (const Arg& a : attr<ArgList>(n, "args"))
      step.args.push_back(
          to_call_arg(a, [&](int i) { return tensor(n.operands[static_cast<size_t>(i)]); }));
    const bool all =
        std::all_of(n.results.begin(), n.results.end(), [](ValueId v) { return v >= 0; });
    step.into_results = writes_into_results_(step.target, all);
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
  const PlannedKernels& kernels_;
  const WritesIntoResults& writes_into_results_;
  const MemoryRoots root_;
  Plan plan_;
  std::vector<Place> places_;
  std::vector<int> tensor_of_;
  std::vector<bool> leaves_;
  std::map<ValueId, std::pair<ValueId, Sym>> homes_;  // whose memory, and the offset in it
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

PlannedKernels plan_kernels(const Graph& g, const Fusion& f, const LowerOptions& options) {
  PlannedKernels out;
  out.lowered.resize(f.steps.size());
  for (size_t i = 0; i < f.steps.size(); ++i) {
    const FusedStep& s = f.steps[i];
    const Op op = s.group ? Op::reduce : g.node(s.node).op;
    if (!s.group && (op == Op::call || op == Op::concat)) continue;
    out.lowered[i] = s.group ? lower_group(g, f, *s.group, "k", options)
                             : lower_barrier(g, f, s.node, "k", options);
  }
  out.in_place = write_in_place(g, f, out.lowered);
  for (Batch& batch : batch_steps(g, f, out.in_place, options, out.lowered))
    out.steps.push_back({std::move(batch.steps), batch.silent});
  return out;
}

Plan build_plan(const Graph& g, const Fusion& f, const PlannedKernels& kernels,
                const WritesIntoResults& writes_into_results) {
  return PlanBuilder(g, f, kernels, writes_into_results).run();
}

}  // namespace ourjit
