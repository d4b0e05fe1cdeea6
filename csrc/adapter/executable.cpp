#include "adapter/executable.h"

#include <torch/csrc/autograd/forward_grad.h>

#include <algorithm>

#include "adapter/call_frame.h"
#include "adapter/dtypes.h"
#include "adapter/profiling.h"
#include "base/error.h"
#include "runtime/plan_table.h"

namespace ourjit {

namespace {

/// True for plain memory of a device. Everything else (sparse, quantized, conjugate or negated
/// views, subclasses with a Python dispatch, functorch wrappers) is more than its address.
bool is_plain(const at::Tensor& t) {
  static const c10::DispatchKeySet plain = c10::DispatchKeySet(
      {c10::DispatchKey::CPU, c10::DispatchKey::AutogradCPU, c10::DispatchKey::AutocastCPU,
       c10::DispatchKey::CUDA, c10::DispatchKey::AutogradCUDA, c10::DispatchKey::AutocastCUDA,
       c10::DispatchKey::ADInplaceOrView});
  return (t.key_set() | plain) == plain && t.has_storage();
}

std::string shape(const std::vector<int64_t>& sizes) {
  std::string s = "[";
  for (size_t i = 0; i < sizes.size(); ++i) s += (i ? ", " : "") + std::to_string(sizes[i]);
  return s + "]";
}

std::string type_of(const CallValue& v) {
  if (v.number) return "the number " + std::to_string(*v.number);
  if (!v.tensor.defined()) return "None";
  const at::Tensor& t = v.tensor;
  std::string s = std::string(c10::toString(t.scalar_type())) + shape(t.sizes().vec()) + " on " +
                  t.device().str();
  if (t.layout() != c10::kStrided) return "a tensor of another layout, " + s;
  const bool known = t.device().is_cpu() || t.device().is_cuda();
  return is_plain(t) || !known ? s : "a tensor subclass or a lazy view, " + s;
}

/// True for a strided tensor of the dtype that is expected, on this device.
bool has_type(const at::Tensor& t, const InstanceInput& expected, c10::Device device) {
  return t.defined() && t.device() == device && t.scalar_type() == to_torch(expected.dtype) &&
         t.layout() == c10::kStrided;
}

/// A graph computes values alone: derivatives that inputs carry along would be lost in silence.
void refuse_tangents(const std::vector<CallValue>& inputs) {
  if (!torch::autograd::ForwardADLevel::try_get_by_idx(0)) return;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].tensor.defined() && inputs[i].tensor._fw_grad(0).defined())
      OURJIT_RAISE(UserError) << "input " << i << " carries a forward-mode derivative, which does "
                              << "not pass through a compiled graph: take it inside of the "
                              << "compiled function";
}

}  // namespace

Executable::Sized::~Sized() = default;

Executable::Executable(std::shared_ptr<Session> session, std::shared_ptr<const CompiledGraph> graph,
                       std::vector<at::Tensor> constants)
    : session_(std::move(session)),
      graph_(std::move(graph)),
      constants_(std::move(constants)),
      device_(graph_->plan.tensors_on) {
  OURJIT_CHECK(constants_.size() <= graph_->plan.inputs.size()) << graph_->plan.name;
  install_allocator();
}

Executable::~Executable() = default;

std::vector<CallValue> Executable::run(std::vector<CallValue>& inputs) {
  return execute(inputs, nullptr);
}

std::vector<double> Executable::time_steps(const std::vector<CallValue>& inputs) {
  std::vector<CallValue> copies = inputs;
  for (size_t i = 0; i < std::min(copies.size(), graph_->plan.inputs.size()); ++i) {
    at::Tensor& t = copies[i].tensor;
    if (graph_->plan.inputs[i].written && t.defined())
      t = copy_with_strides(t.detach(), t.strides());
  }
  std::vector<double> seconds;
  execute(copies, &seconds);
  return seconds;
}

std::vector<CallValue> Executable::execute(std::vector<CallValue>& inputs,
                                           std::vector<double>* step_seconds) {
  if (inputs.size() != this->inputs())
    OURJIT_RAISE(UserError) << graph_->plan.name << " takes " << this->inputs() << " inputs, not "
                            << inputs.size();
  refuse_tangents(inputs);
  const bool profiled = is_profiled();
  std::optional<ProfilerRecord> record;
  if (profiled) record.emplace().begin(graph_->plan.name, {});
  for (const at::Tensor& c : constants_) inputs.push_back({c, std::nullopt});
  const std::shared_ptr<Sized> s = sized(bind_symbols(inputs));
  check_inputs(*s->instance, inputs);

  std::unique_ptr<CallFrame> frame;
  {
    const std::lock_guard lock(s->mutex);
    if (!s->idle.empty()) {
      frame = std::move(s->idle.back());
      s->idle.pop_back();
    }
  }
  if (!frame) frame = std::make_unique<CallFrame>(*s->instance);
  // After an error the frame is not used again: a library call may have left it in any state.
  std::vector<CallValue> outputs = step_seconds
                                       ? frame->run_timed(inputs, session_->arenas, *step_seconds)
                                       : frame->run(inputs, session_->arenas, profiled);
  const std::lock_guard lock(s->mutex);
  s->idle.push_back(std::move(frame));
  return outputs;
}

void Executable::raise_reported() {
  for (const std::shared_ptr<Sized>& s : instances_.all()) {
    const std::lock_guard lock(s->mutex);
    for (const std::unique_ptr<CallFrame>& frame : s->idle) frame->raise_reported();
  }
}

std::vector<int64_t> Executable::bind_symbols(const std::vector<CallValue>& inputs) const {
  const Plan& plan = graph_->plan;
  std::vector<int64_t> values;
  for (const SymbolSource& s : plan.symbols) {
    const CallValue& v = inputs[static_cast<size_t>(s.input)];
    if (s.dim < 0 && v.number) {
      values.push_back(*v.number);
    } else if (s.dim >= 0 && v.tensor.defined() && s.dim < v.tensor.dim()) {
      values.push_back(v.tensor.size(s.dim));
    } else {
      OURJIT_RAISE(UserError) << plan.name << ": input " << s.input << " ("
                              << plan.inputs[static_cast<size_t>(s.input)].name << ") must be "
                              << (s.dim < 0 ? std::string("a number")
                                            : "a tensor with at least " +
                                                  std::to_string(s.dim + 1) + " dimensions")
                              << ", but got " << type_of(v);
    }
  }
  return values;
}

std::shared_ptr<Executable::Sized> Executable::sized(const std::vector<int64_t>& symbol_values) {
  return instances_.get(symbol_values, [&](const std::vector<int64_t>& values) {
    auto s = std::make_shared<Sized>();
    s->instance = instantiate(graph_->plan, values);
    return s;
  });
}

void Executable::check_inputs(const PlanInstance& instance, std::vector<CallValue>& inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const InstanceInput& expected = instance.inputs[i];
    CallValue& v = inputs[i];
    if (expected.is_number) {
      if (!v.number) wrong_input(instance, i, v);
      continue;
    }
    at::Tensor& t = v.tensor;
    fit_scalar(expected, i, t);
    if (!has_type(t, expected, device_)) wrong_input(instance, i, v);
    if (!is_plain(t)) {
      if (graph_->plan.inputs[i].written) wrong_input(instance, i, v);
      // Lazy conjugation and negation become memory; what is left then is a subclass.
      t = t.resolve_conj().resolve_neg();
      if (!is_plain(t)) wrong_input(instance, i, v);
    }
    if (t.sizes() != c10::IntArrayRef(expected.sizes)) wrong_input(instance, i, v);
    if (!same_strides(expected.sizes, t.strides(), expected.strides)) fit_strides(instance, i, t);
  }
}

/// Eager takes scalars on the CPU beside tensors of other devices. And Dynamo traces a Python float
/// that it reads anew at each call (random.random()) as a tensor of the default dtype, and passes
/// one of fp64.
void Executable::fit_scalar(const InstanceInput& expected, size_t i, at::Tensor& t) const {
  const PlanInput& input = graph_->plan.inputs[i];
  if (!t.defined() || t.dim() != 0 || input.written || !expected.sizes.empty()) return;
  const c10::ScalarType dtype = to_torch(expected.dtype);
  const bool narrows =
      t.scalar_type() == c10::kDouble && dtype != c10::kDouble && c10::isFloatingType(dtype);
  const bool moves = t.is_cpu() && !device_.is_cpu();
  if (narrows)
    guard_missed(i, "of dtype " + std::string(dtype_name(expected.dtype)),
                 c10::toString(t.scalar_type()), "converted");
  // Not blocking: the copy has read the scalar when it returns, as it is in no pinned memory.
  if (narrows || moves)
    t = t.detach().to(device_, narrows ? dtype : t.scalar_type(), /*non_blocking=*/true);
}

/// Kernels were compiled for certain strides; a tensor with others is copied.
void Executable::fit_strides(const PlanInstance& instance, size_t i, at::Tensor& t) const {
  const PlanInput& input = graph_->plan.inputs[i];
  const InstanceInput& expected = instance.inputs[i];
  if (input.written)
    OURJIT_RAISE(UserError) << graph_->plan.name << ": input " << i << " (" << input.name
                            << ") is modified in place and must have strides "
                            << shape(expected.strides) << ", but has " << shape(t.strides().vec());
  guard_missed(i, "with strides " + shape(expected.strides), shape(t.strides().vec()), "copied");
  t = copy_with_strides(t, expected.strides);
}

void Executable::guard_missed(size_t i, const std::string& expected, const std::string& got,
                              const char* remedy) const {
  session_->compiler.add_guard_miss(
      graph_->label, graph_->plan.name + ": input " + std::to_string(i) + " (" +
                         graph_->plan.inputs[i].name + ") was expected " + expected + ", but has " +
                         got + " and is " + remedy);
}

void Executable::wrong_input(const PlanInstance& instance, size_t i, const CallValue& got) const {
  const PlanInput& input = graph_->plan.inputs[i];
  std::string symbols;
  for (size_t k = 0; k < graph_->plan.symbols.size(); ++k)
    symbols += (k ? ", " : " where ") + graph_->plan.symbols[k].symbol + " = " +
               std::to_string(instance.symbol_values[k]);
  std::string expected = "a number";
  if (!input.is_number)
    expected = std::string(c10::toString(to_torch(input.dtype))) + shape(instance.inputs[i].sizes) +
               " on " + device_.str() + symbols;
  OURJIT_RAISE(UserError) << graph_->plan.name << ": input " << i << " (" << input.name
                          << ") must be " << expected << ", but got " << type_of(got);
}

bool Executable::accepts(const std::vector<CallValue>& inputs) {
  if (inputs.size() != this->inputs() || !graph_->plan.symbols.empty()) return false;
  const std::shared_ptr<Sized> s = sized({});
  for (size_t i = 0; i < inputs.size(); ++i) {
    const InstanceInput& expected = s->instance->inputs[i];
    const at::Tensor& t = inputs[i].tensor;
    if (!has_type(t, expected, device_) || !is_plain(t) ||
        t.sizes() != c10::IntArrayRef(expected.sizes) ||
        !same_strides(expected.sizes, t.strides(), expected.strides))
      return false;
  }
  return true;
}

std::unique_ptr<Executable> Executable::over_table(
    const std::vector<std::vector<at::Tensor>>& rows) const {
  if (!constants_.empty()) OURJIT_RAISE(Unsupported) << graph_->plan.name << " has constants";
  std::vector<std::vector<TensorLayout>> layouts;
  for (const std::vector<at::Tensor>& row : rows) {
    std::vector<TensorLayout>& l = layouts.emplace_back();
    for (const at::Tensor& t : row) l.push_back({t.sizes().vec(), t.strides().vec()});
  }
  auto graph = std::make_shared<CompiledGraph>(*graph_);
  graph->plan = plan_over_table(graph_->plan, layouts);
  return std::make_unique<Executable>(session_, std::move(graph), std::vector<at::Tensor>());
}

std::vector<std::string> Executable::guards() const {
  const auto list = [](const std::vector<Sym>& xs) {
    std::string s = "[";
    for (size_t i = 0; i < xs.size(); ++i) s += (i ? ", " : "") + xs[i].str();
    return s + "]";
  };
  std::vector<std::string> lines;
  for (const PlanInput& in : graph_->plan.inputs)
    lines.push_back(in.name + (in.is_number
                                   ? " is a number"
                                   : " is " + std::string(dtype_name(in.dtype)) + list(in.sizes) +
                                         " on " + device_.str() + ", strides " + list(in.strides) +
                                         (in.written ? "" : " (others are copied)")));
  return lines;
}

std::shared_ptr<const PlanInstance> Executable::instance() {
  const auto can_run = [](const PlanKernel& k) { return k.code.function || k.code.device; };
  const auto& kernels = graph_->plan.kernels;
  if (!std::all_of(kernels.begin(), kernels.end(), can_run)) return nullptr;
  const bool is_static = graph_->plan.symbols.empty();
  if (!is_static && instances_.size() == 0) return nullptr;
  const std::shared_ptr<Sized> s = is_static ? sized({}) : instances_.latest();
  return {s, s->instance.get()};
}

std::string Executable::memory_report() {
  const std::shared_ptr<const PlanInstance> known = instance();
  return known ? print_memory(*known) : "known after the first call\n";
}

}  // namespace ourjit
