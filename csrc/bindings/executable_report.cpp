#include "bindings/executable_report.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <string>

#include "runtime/memory_plan.h"
#include "schedule/cost.h"
#include "schedule/flops.h"

namespace py = pybind11;

namespace ourjit {
namespace {

/// Bytes moved and operations done, over all rows of a launch.
struct Work {
  double read = 0, written = 0, flops = 0;
};

Work work_of(const PlanInstance& instance, const InstanceStep& step, const loop::Kernel& kernel) {
  Work sum;
  const int rows = step.starts.count - 1;
  const auto width = static_cast<size_t>(rows > 0 ? step.sizes.count / rows : 0);
  for (int r = 0; r < rows; ++r) {
    const int64_t* sizes =
        instance.sizes.data() + step.sizes.first + static_cast<size_t>(r) * width;
    const SymEnv env = [&](std::string_view name) -> std::optional<int64_t> {
      for (size_t i = 0; i < std::min(width, kernel.sizes.size()); ++i)
        if (kernel.sizes[i] == name) return sizes[i];
      return std::nullopt;
    };
    const loop::KernelBytes bytes = loop::kernel_bytes(kernel, env);
    sum.read += bytes.read;
    sum.written += bytes.written;
    sum.flops += loop::kernel_flops(kernel, env);
  }
  return sum;
}

double bytes_of(const InstanceTensor& t) {
  double elements = 1;
  for (const int64_t size : t.sizes) elements *= static_cast<double>(size);
  return elements * static_cast<double>(dtype_bytes(t.dtype));
}

py::tuple type_of(const InstanceTensor& t) {
  return py::make_tuple(std::string(dtype_name(t.dtype)), t.sizes);
}

py::dict call_dict(const PlanInstance& instance, const CallStep& call) {
  py::dict d;
  py::list operands, results;
  double read = 0, written = 0;
  const std::vector<int> tensors = step_tensors(call);
  const size_t outputs = static_cast<size_t>(
      std::count_if(call.results.begin(), call.results.end(), [](int t) { return t >= 0; }));
  for (size_t i = 0; i < tensors.size(); ++i) {
    const InstanceTensor& t = instance.tensors[static_cast<size_t>(tensors[i])];
    const bool is_result = i >= tensors.size() - outputs;
    (is_result ? results : operands).append(type_of(t));
    (is_result ? written : read) += bytes_of(t);
  }
  d["kernel"] = py::none();
  d["target"] = call.target;
  d["loc"] = call.loc;
  d["rows"] = 1;
  d["reads_bytes"] = read;
  d["writes_bytes"] = written;
  d["flops"] = py::none();
  d["operands"] = operands;
  d["results"] = results;
  return d;
}

py::dict launch_dict(const CompiledGraph& g, const PlanInstance& instance, size_t i) {
  const auto& launch = std::get<LaunchStep>(g.plan.steps[i]);
  const loop::Kernel& kernel = g.kernels[static_cast<size_t>(launch.kernel)].kernel;
  const Work work = work_of(instance, instance.steps[i], kernel);
  py::dict d;
  d["kernel"] = launch.kernel;
  d["target"] = kernel.name;
  d["loc"] = "";
  d["rows"] = launch.rows.size();
  d["reads_bytes"] = work.read;
  d["writes_bytes"] = work.written;
  d["flops"] = work.flops;
  d["operands"] = py::list();
  d["results"] = py::list();
  return d;
}

const char* kind_name(BufferKind kind) {
  switch (kind) {
    case BufferKind::Input:
      return "input";
    case BufferKind::Temp:
      return "temp";
    case BufferKind::Output:
      return "output";
    case BufferKind::CallResult:
      return "call result";
  }
  return "";
}

}  // namespace

PyObject* node_list(const CompiledGraph& g) {
  py::list nodes;
  for (const ReportNode& n : g.nodes) {
    py::dict d;
    d["op"] = n.op;
    d["text"] = n.text;
    d["loc"] = n.loc;
    d["reads"] = n.reads;
    d["defines"] = n.defines;
    d["step"] = n.step;
    nodes.append(d);
  }
  return nodes.release().ptr();
}

PyObject* phase_list(const CompiledGraph& g) {
  py::list phases;
  for (const Phase& p : g.phases) phases.append(py::make_tuple(p.name, p.start, p.seconds));
  return phases.release().ptr();
}

PyObject* step_list(Executable& e) {
  const auto instance = e.instance();
  if (!instance) return py::none().release().ptr();
  py::list steps;
  for (size_t i = 0; i < instance->steps.size(); ++i) {
    const auto* call = std::get_if<CallStep>(&e.graph().plan.steps[i]);
    steps.append(call ? call_dict(*instance, *call) : launch_dict(e.graph(), *instance, i));
  }
  return steps.release().ptr();
}

PyObject* memory_dict(Executable& e) {
  const auto instance = e.instance();
  if (!instance) return py::none().release().ptr();
  const Plan& plan = e.graph().plan;
  const std::vector<BufferLife> lives = buffer_lives(plan);
  py::list buffers;
  for (size_t b = 0; b < plan.buffers.size(); ++b) {
    py::dict d;
    d["name"] = plan.buffers[b].name;
    d["kind"] = kind_name(plan.buffers[b].kind);
    d["bytes"] = instance->buffer_bytes[b];
    d["offset"] = instance->temp_offsets[b];
    d["first"] = lives[b].first;
    d["last"] = lives[b].last;
    buffers.append(d);
  }
  py::dict memory;
  memory["arena_bytes"] = instance->arena_bytes;
  memory["buffers"] = buffers;
  return memory.release().ptr();
}

PyObject* step_seconds(Executable& e, const std::vector<CallValue>& inputs, int repeats) {
  std::vector<std::vector<double>> runs;
  {
    const py::gil_scoped_release released;
    for (int i = 0; i < repeats; ++i) runs.push_back(e.time_steps(inputs));
  }
  return py::cast(runs).release().ptr();
}

}  // namespace ourjit
