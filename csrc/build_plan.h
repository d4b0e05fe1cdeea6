// From fused steps and compiled kernels to a plan: buffers, views, launches and calls.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fusion/group.h"
#include "graph/graph.h"
#include "lower/lower.h"
#include "runtime/plan.h"

namespace ourjit {

/// The kernel that a step of the fusion launches.
struct StepKernel {
  int kernel = -1;  // index into Plan::kernels; -1 for calls and joined memory
  LoweredKernel lowered;
  double cost_ns = 0;
};

/// An argument of a call as plans state it; `tensor` gives the number by which the call knows its
/// i-th operand.
CallArg to_call_arg(const Arg& a, const std::function<int(int operand)>& tensor);

/// Builds the plan of `g` (plan.kernels stays empty). `steps` has one entry for each of f.steps;
/// `writes_into_results` tells whether a call's target has a genuine .out overload.
Plan build_plan(const Graph& g, const Fusion& f, const std::vector<StepKernel>& steps,
                const std::function<bool(const std::string&)>& writes_into_results);

}  // namespace ourjit
