#include "compiler.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "build_plan.h"
#include "fusion/group.h"
#include "graph/text.h"
#include "graph/verify.h"
#include "loop/text.h"
#include "loop/verify.h"
#include "loop/visit.h"
#include "lower/lower.h"
#include "passes/library_ops.h"
#include "passes/passes.h"
#include "schedule/cost.h"
#include "stored_graph.h"

namespace ourjit {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A kernel to compile, or found compiled.
struct Unique {
  loop::Kernel kernel;  // scheduled
  std::string text;     // canonical
  std::shared_ptr<const KernelCode> code;
};

/// Outputs that were one value in the captured graph are one object; passes also merge others.
void relate_outputs(const std::vector<ValueId>& returned, Plan& plan) {
  std::unordered_map<ValueId, int> of_value;
  std::unordered_map<int, int> of_tensor, of_buffer;
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    PlanOutput& o = plan.outputs[i];
    if (o.tensor < 0) continue;
    const int at = static_cast<int>(i);
    const int value = of_value.emplace(returned[i], at).first->second;
    const int tensor = of_tensor.emplace(o.tensor, at).first->second;
    const int buffer =
        of_buffer.emplace(plan.tensors[static_cast<size_t>(o.tensor)].buffer, at).first->second;
    if (value < at && plan.outputs[static_cast<size_t>(value)].tensor == o.tensor)
      o.same_as = value;
    if (buffer < at) o.shares = tensor < at ? tensor : buffer;
  }
}

/// Raises Unsupported in strict mode if calls are fallbacks.
void check_fallbacks(const std::map<std::string, Fallback>& fallbacks, const Options& options) {
  if (!options.strict || fallbacks.empty()) return;
  std::string list;
  for (const auto& [target, f] : fallbacks)
    list += "\n  " + target + " (" + std::to_string(f.count) + "x): " + f.reason;
  OURJIT_RAISE(Unsupported) << "option 'strict' is set and these operators would run through ATen:"
                            << list << "\nunset it to let them fall back";
}

/// Counts calls that are not kernels.
void count_calls(const Graph& g, const Options& options, const CallInfo& info, CompiledGraph& out) {
  for (const Node& n : g.nodes) {
    if (n.op != Op::call) continue;
    const std::string& target = call_target(n);
    if (is_runtime_op(target)) continue;
    if (sees_storage(target))
      OURJIT_RAISE(Unsupported) << target << " at " << (n.loc.empty() ? "an unknown line" : n.loc)
                                << ": sees memory beyond its operand, which calls do not get";
    const bool as_asked = options.fallback_random && is_random_op(target);
    const auto reason = as_asked ? std::nullopt : fallback_reason(g, n, info.is_pointwise(target));
    if (!reason) {
      ++out.library_calls[target];
      continue;
    }
    Fallback& f = out.fallbacks[target];
    ++f.count;
    if (f.reason.empty()) f.reason = *reason;
  }
}

/// False for a plan with calls of operators that programs define: they can differ where graphs are
/// equal, and those of higher-order operators go by numbers of this process.
bool calls_the_library_only(const Plan& plan) {
  return std::ranges::all_of(plan.steps, [](const PlanStep& s) {
    const auto* call = std::get_if<CallStep>(&s);
    if (!call) return true;
    const std::string& target = call->target;
    return target.starts_with("aten.") || target.starts_with("prims.") ||
           target.starts_with("mkldnn.") || is_runtime_op(target);
  });
}

std::vector<BufferUse> buffer_uses(const loop::Kernel& k) {
  std::vector<BufferUse> uses;
  for (const loop::Buffer& b : k.buffers)
    uses.push_back({b.access != loop::Access::Out, b.access != loop::Access::In});
  return uses;
}

std::string print(const std::vector<Phase>& phases) {
  std::string text;
  for (const Phase& p : phases) text += p.name + " " + std::to_string(p.seconds * 1e3) + " ms\n";
  return text;
}

std::string kernel_name(const Graph& g, const FusedStep& s, size_t number) {
  std::string name = "k" + std::to_string(number);
  if (!s.group) return name + "_" + std::string(op_name(g.node(s.node).op));
  // The first few different operators say what the kernel does.
  std::string last;
  int parts = 0;
  for (const NodeId n : s.group->members) {
    const Node& node = g.node(n);
    std::string part(op_name(node.op));
    if (node.op == Op::reduce || node.op == Op::partial_reduce)
      part = attr<std::string>(node, "op");
    if (part == last || part == "cast") continue;
    name += "_" + part;
    last = part;
    if (++parts == 4) break;
  }
  return name;
}

}  // namespace

struct Compiler::State {
  Options options;
  const CallInfo* calls;
  mutable std::mutex mutex;
  std::vector<std::string> warnings;
  std::shared_ptr<cache::Store> store;  // null: nothing is kept
  std::unique_ptr<CodeTarget> target;
  Stats stats;
  int64_t variants_before = 0, loaded_before = 0;  // of the target, when `stats` began
  std::unordered_map<std::string, std::weak_ptr<const KernelCode>> kernels;  // by canonical text
  int64_t graphs_started = 0;

  void schedule(const Graph& g, const Fusion& f, PlannedKernels& planned, size_t table_rows,
                StageLog& log, CompiledGraph& out, std::vector<Unique>& unique);
  void find_loaded(std::vector<Unique>& unique);
  void compile_missing(std::vector<Unique>& unique);
  void finish(Plan& plan) const;
  void count(const CompiledGraph& graph);

  /// Empty if graphs are not kept: somebody wants to see each stage.
  cache::Key stored_key(const std::string& captured, size_t table_rows) const;
  std::shared_ptr<CompiledGraph> find_stored(const cache::Key& key);
  void keep(const cache::Key& key, const CompiledGraph& graph, const std::vector<Unique>& unique);
};

Compiler::Compiler(Options options, const CallInfo& calls) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  state_->calls = &calls;
  State& s = *state_;
  if (s.options.cache)
    s.store = cache::Store::open(s.options.cache_dir, s.options.cache_limit_mb << 20,
                                 [&s](const std::string& message) {
                                   const std::lock_guard lock(s.mutex);
                                   s.warnings.push_back(message);
                                 });
  s.target = make_code_target(s.options, s.store);
}

Compiler::~Compiler() = default;

const Options& Compiler::options() const { return state_->options; }
const CodeTarget& Compiler::target() const { return *state_->target; }

Stats Compiler::stats() const {
  const std::lock_guard lock(state_->mutex);
  Stats stats = state_->stats;
  stats.kernels_loaded = state_->target->loaded() - state_->loaded_before;
  stats.kernels_compiled +=
      state_->target->variants() - state_->variants_before - stats.kernels_loaded;
  if (state_->store) stats.disk_cache = state_->store->counters();
  return stats;
}

std::vector<std::string> Compiler::take_warnings() {
  const std::lock_guard lock(state_->mutex);
  return std::exchange(state_->warnings, {});
}

void Compiler::add_guard_miss(const std::string& label, const std::string& reason) {
  // Sizes that change from call to call must not fill the memory.
  constexpr size_t kReasons = 256;
  if (state_->options.logs("guards")) log_line(label, "guards", reason);
  const std::lock_guard lock(state_->mutex);
  ++state_->stats.guard_misses;
  auto& reasons = state_->stats.guard_miss_reasons;
  const bool known = reasons.size() < kReasons || reasons.contains(reason);
  ++reasons[known ? reason : "others"];
}

void Compiler::reset() {
  const std::lock_guard lock(state_->mutex);
  state_->stats = {};
  state_->variants_before = state_->target->variants();
  state_->loaded_before = state_->target->loaded();
  state_->kernels.clear();
}

/// Schedules the kernels; equal ones share an entry of `unique`.
void Compiler::State::schedule(const Graph& g, const Fusion& f, PlannedKernels& planned,
                               size_t table_rows, StageLog& log, CompiledGraph& out,
                               std::vector<Unique>& unique) {
  std::unordered_map<std::string, int> number;
  for (PlannedStep& step : planned.steps) {
    const FusedStep& s = f.steps[step.steps.front()];
    loop::Kernel& lowered = planned.lowered[step.steps.front()].kernel;
    if (lowered.body.empty()) continue;
    if (const size_t rows = step.steps.size() * table_rows; rows > 1)
      lowered.table_rows = target->table_rows(lowered, rows);
    if (options.verify) loop::verify(lowered);
    const std::string text = loop::canonical_text(lowered);
    auto [at, is_new] = number.emplace(text, static_cast<int>(unique.size()));
    step.kernel = at->second;
    if (is_new) {
      lowered.name = kernel_name(g, s, unique.size());
      KernelReport report;
      report.provenance = lowered.provenance;
      report.lowered = loop::print(lowered);
      if (log.wants("loop"))
        log.write("loop", lowered.name + ".loop", loop::print(lowered, /*with_provenance=*/true));
      report.kernel = target->schedule(lowered);
      if (options.verify) loop::verify(report.kernel);
      if (log.wants("schedule"))
        log.write("schedule", lowered.name + ".scheduled",
                  loop::print(report.kernel, /*with_provenance=*/true));
      unique.push_back({report.kernel, text, nullptr});
      out.kernels.push_back(std::move(report));
    }
    KernelReport& report = out.kernels[static_cast<size_t>(step.kernel)];
    ++report.launches;
    step.cost_ns = loop::iteration_cost_ns(report.kernel);
    // Scheduling may put many iterations into one.
    for (const size_t i : step.steps)
      planned.lowered[i].extent = loop::parallel_extent(report.kernel, planned.lowered[i].sizes);
  }
}

void Compiler::State::find_loaded(std::vector<Unique>& unique) {
  const std::lock_guard lock(mutex);
  for (Unique& u : unique)
    if (const auto it = kernels.find(u.text); it != kernels.end()) u.code = it->second.lock();
}

/// No lock is held while the backend works.
void Compiler::State::compile_missing(std::vector<Unique>& unique) {
  std::vector<Unique*> todo;
  std::vector<const loop::Kernel*> missing;
  for (Unique& u : unique) {
    if (u.code) continue;
    todo.push_back(&u);
    missing.push_back(&u.kernel);
  }
  if (todo.empty()) return;
  const size_t threads = options.compile_threads
                             ? static_cast<size_t>(options.compile_threads)
                             : std::max(1u, std::thread::hardware_concurrency());
  const auto codes = target->compile(missing, threads);
  const std::lock_guard lock(mutex);
  for (size_t i = 0; i < todo.size(); ++i) kernels[todo[i]->text] = todo[i]->code = codes[i];
  stats.kernels_compiled += static_cast<int64_t>(todo.size());
}

/// What a plan takes from the options.
void Compiler::State::finish(Plan& plan) const {
  plan.guarded = options.guard_pages;
  plan.matmul = options.matmul;
  plan.check_nan = options.check_nan;
  plan.device = target->device();
  if (const std::string on = target->tensors_on(); !on.empty()) plan.tensors_on = on;
}

void Compiler::State::count(const CompiledGraph& graph) {
  const std::lock_guard lock(mutex);
  ++stats.graphs;
  stats.backend_seconds += graph.seconds;
  for (const auto& [target, count] : graph.library_calls) stats.library_calls[target] += count;
  for (const auto& [target, f] : graph.fallbacks) {
    Fallback& total = stats.fallbacks[target];
    total.count += f.count;
    total.reason = f.reason;
  }
}

cache::Key Compiler::State::stored_key(const std::string& captured, size_t table_rows) const {
  const CodeStore* codes = target->codes();
  if (!codes || !codes->store || !options.log.empty() || !options.dump.empty()) return {};
  return codes->key({{"graph", captured},
                     {"library", calls->build()},
                     {"table rows", std::to_string(table_rows)}});
}

std::shared_ptr<CompiledGraph> Compiler::State::find_stored(const cache::Key& key) {
  const std::optional<cache::Entry> entry = key.empty() ? std::nullopt : store->load(key);
  if (!entry) return nullptr;
  auto graph = std::make_shared<CompiledGraph>();
  int64_t found = 0;
  bool complete = true;
  try {
    StoredGraph stored = decode_graph(entry->payload);
    *graph = std::move(stored.graph);
    for (size_t i = 0; complete && i < stored.code_keys.size(); ++i) {
      PlanKernel& k = graph->plan.kernels[i];
      const std::shared_ptr<const KernelCode> code = target->find(stored.code_keys[i], k.name);
      complete = code != nullptr;
      if (complete) k.code = {code->function, code->device, code}, ++found;
    }
  } catch (const Error&) {  // bad bytes, or a bad size expression
    complete = false;
  }
  {
    const std::lock_guard lock(mutex);
    // Code that is found only to be found again when the graph is compiled, which replaces it, does
    // not count. Of what counts as compiled, what was loaded is taken off.
    complete ? stats.kernels_compiled += found : loaded_before += found;
  }
  if (!complete) return nullptr;
  finish(graph->plan);
  check_fallbacks(graph->fallbacks, options);
  return graph;
}

void Compiler::State::keep(const cache::Key& key, const CompiledGraph& graph,
                           const std::vector<Unique>& unique) {
  if (key.empty() || !calls_the_library_only(graph.plan)) return;
  std::vector<std::string> code_keys;
  for (const Unique& u : unique) code_keys.push_back(target->code_key(u.kernel));
  store->save(
      {key,
       {{"name", "graph " + graph.label}, {"compile ms", std::to_string(graph.seconds * 1e3)}},
       encode(graph, code_keys)});
}

std::shared_ptr<const CompiledGraph> Compiler::compile(Graph captured, size_t table_rows,
                                                       bool reports) {
  State& s = *state_;
  const double start = now();
  int64_t number = 0;
  {
    const std::lock_guard lock(s.mutex);
    number = s.graphs_started++;
  }
  auto out = std::make_shared<CompiledGraph>();
  out->label = std::to_string(number) + "_" + captured.name;
  StageLog log(s.options, out->label);
  double reached = start;
  const auto end_of = [&](std::string phase) {
    const double end = now();
    out->phases.push_back({std::move(phase), reached, end - reached});
    reached = end;
  };
  out->captured = print(captured);
  const cache::Key stored_key = reports ? cache::Key() : s.stored_key(out->captured, table_rows);
  if (std::shared_ptr<CompiledGraph> stored = s.find_stored(stored_key)) {
    stored->label = out->label;
    stored->captured = std::move(out->captured);
    stored->seconds = now() - start;
    s.count(*stored);
    return stored;
  }
  if (log.wants("graph")) log.write("graph", "captured.graph", out->captured);
  end_of("print");

  // Graph to graph.
  PassContext context;
  context.deterministic_layout = s.options.keep_layout;
  context.exact_rounding = s.options.exact_rounding;
  context.parallel_rows = s.target->parallel_rows();
  context.atomic_adds = s.target->lowering().atomics;
  std::vector<ValueId> returned;
  for (const GraphOutput& o : captured.outputs) returned.push_back(o.value);
  Graph g = run_passes(std::move(captured), context,
                       [&](const Pass& pass, const Graph&, const Graph& after, double) {
                         end_of(std::string(pass.name));
                         if (log.wants("passes"))
                           log.write("passes", std::string(pass.name) + ".graph", print(after));
                       });
  g = insert_copies(g);
  if (s.options.verify) verify(g);
  out->optimized = print(g);
  if (log.wants("graph")) log.write("graph", "optimized.graph", out->optimized);
  count_calls(g, s.options, *s.calls, *out);
  check_fallbacks(out->fallbacks, s.options);

  // Graph to groups, groups to kernels, kernels to machine code.
  FusionOptions fusion_options;
  // A kernel of one operator has one Python line.
  fusion_options.fuse = s.options.fusion && !s.options.check_nan;
  fusion_options.kept_row = s.target->lowering().kept_row;
  const Fusion fusion = fuse(g, fusion_options);
  out->groups = print(g, fusion);
  if (log.wants("fusion")) log.write("fusion", "groups.txt", out->groups);
  end_of("fusion");
  std::vector<Unique> unique;
  PlannedKernels planned = plan_kernels(g, fusion, s.target->lowering());
  end_of("lowering");
  s.schedule(g, fusion, planned, table_rows, log, *out, unique);
  end_of("scheduling");
  s.find_loaded(unique);
  s.compile_missing(unique);
  for (const Unique& u : unique) s.target->log(u.kernel, log);
  end_of("machine code");

  // Everything to a plan.
  out->plan = build_plan(g, fusion, planned, [&](const std::string& target, bool all) {
    return s.calls->writes_into_results(target, all);
  });
  for (const Unique& u : unique)
    out->plan.kernels.push_back(
        {u.kernel.name, {u.code->function, u.code->device, u.code}, buffer_uses(u.kernel)});
  s.finish(out->plan);
  relate_outputs(returned, out->plan);
  for (const PlanOutput& o : out->plan.outputs)
    out->output_strides.push_back(
        o.tensor < 0 ? std::nullopt
                     : std::optional(out->plan.tensors[static_cast<size_t>(o.tensor)].strides));
  if (log.wants("plan")) log.write("plan", "plan.txt", print(out->plan));
  out->nodes = report_nodes(g, fusion, planned);
  end_of("plan");
  if (log.wants("time")) log.write("time", "compile.time", print(out->phases));

  out->seconds = now() - start;
  s.keep(stored_key, *out, unique);
  s.count(*out);
  return out;
}

}  // namespace ourjit
