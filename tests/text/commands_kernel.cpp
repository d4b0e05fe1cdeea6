#include <charconv>
#include <map>
#include <string>

#include "base/error.h"
#include "build_plan.h"
#include "codegen/cuda_emitter.h"
#include "commands.h"
#include "fusion/group.h"
#include "graph/text.h"
#include "graph/verify.h"
#include "loop/text.h"
#include "loop/verify.h"
#include "lower/lower.h"
#include "schedule/schedule.h"

namespace ourjit::text_tests {

loop::Target cpu_target(std::string_view args) {
  loop::Target t;
  if (args.empty()) return t;
  const auto [end, error] = std::from_chars(args.data(), args.data() + args.size(), t.vector_bits);
  if (error != std::errc() || end != args.data() + args.size())
    OURJIT_RAISE(UserError) << "'" << args << "' is not a vector width";
  return t;
}

namespace {

std::string loop_parse(std::string_view, std::string_view body) {
  const std::string once = loop::print(loop::parse_kernel(body));
  const std::string twice = loop::print(loop::parse_kernel(once));
  OURJIT_CHECK(once == twice) << "printed text reads back as\n" << twice;
  return once;
}

std::string loop_verify(std::string_view, std::string_view body) {
  loop::verify(loop::parse_kernel(body));
  return "ok\n";
}

std::string loop_canonical(std::string_view, std::string_view body) {
  return loop::canonical_text(loop::parse_kernel(body));
}

std::string schedule_cpu(std::string_view args, std::string_view body) {
  loop::Kernel k = loop::parse_kernel(body);
  loop::verify(k);
  k = loop::schedule_cpu(std::move(k), cpu_target(args));
  loop::verify(k);
  return loop::print(k);
}

std::string schedule_gpu(std::string_view, std::string_view body) {
  loop::Kernel k = loop::schedule_gpu(loop::parse_kernel(body), {});
  loop::verify(k);
  return loop::print(k);
}

std::string emit_cuda(std::string_view, std::string_view body) {
  const loop::Kernel k = loop::parse_kernel(body);
  loop::verify(k);
  return emit_cuda_kernel(k);
}

/// A graph after its passes, prepared for fusion.
Graph prepared(std::string_view body) {
  Graph g = insert_copies(parse_graph(body));
  verify(g);
  return g;
}

std::string fuse_command(std::string_view, std::string_view body) {
  const Graph g = prepared(body);
  return print(g, fuse(g));
}

std::string lower_command(std::string_view, std::string_view body) {
  const Graph g = prepared(body);
  const Fusion f = fuse(g);
  std::string out;
  for (const FusedStep& s : f.steps) {
    const std::string name = "k" + std::to_string(&s - f.steps.data());
    const Op op = s.group ? Op::reduce : g.node(s.node).op;
    if (!s.group && (op == Op::call || op == Op::concat)) continue;
    const LoweredKernel k =
        s.group ? lower_group(g, f, *s.group, name) : lower_barrier(g, f, s.node, name);
    loop::verify(k.kernel);
    out += loop::print(k.kernel);
  }
  return out;
}

/// Kernels before scheduling, and the plan that launches them; `plan gpu` as for a GPU.
std::string plan_command(std::string_view args, std::string_view body) {
  LowerOptions options;
  options.epilogues = args == "gpu";
  const Graph g = prepared(body);
  const Fusion f = fuse(g);
  PlannedKernels planned = plan_kernels(g, f, options);
  std::map<std::string, int> number;
  std::vector<PlanKernel> kernels;
  std::string out;
  for (PlannedStep& step : planned.steps) {
    loop::Kernel& k = planned.lowered[step.steps.front()].kernel;
    if (k.body.empty()) continue;
    loop::verify(k);
    const auto [at, is_new] =
        number.emplace(loop::canonical_text(k), static_cast<int>(number.size()));
    step.kernel = at->second;
    if (!is_new) continue;
    k.name = "k" + std::to_string(step.kernel);
    kernels.push_back({k.name, {}});
    out += loop::print(k);
  }
  Plan plan = build_plan(g, f, planned, [](const std::string&, bool) { return false; });
  plan.kernels = std::move(kernels);
  return out + print(plan);
}

}  // namespace

std::vector<Command> kernel_commands() {
  // clang-format off
  return {
      {"loop parse", loop_parse},
      {"loop verify", loop_verify},
      {"loop canonical", loop_canonical},
      {"loop run", loop_run},
      {"schedule cpu", schedule_cpu},
      {"schedule gpu", schedule_gpu},
      {"schedule compare", schedule_compare},
      {"emit cuda", emit_cuda},
      {"fuse", fuse_command},
      {"lower", lower_command},
      {"plan", plan_command},
  };
  // clang-format on
}

}  // namespace ourjit::text_tests
