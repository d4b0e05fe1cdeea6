// From fused steps and compiled kernels to a plan: buffers, views, launches and calls.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fusion/group.h"
#include "graph/graph.h"
#include "lower/batches.h"
#include "lower/in_place.h"
#include "lower/lower.h"
#include "runtime/plan.h"

namespace ourjit {

/// What the plan launches or calls next.
struct PlannedStep {
  std::vector<size_t> steps;  // of the fusion
  size_t silent = 0;          // the first so many leave out the kernel's epilogue
  int kernel = -1;            // index into Plan::kernels; -1 for a call
  double cost_ns = 0;         // of one iteration of the kernel's parallel loop
};

/// A graph cut into kernels.
struct PlannedKernels {
  std::vector<LoweredKernel> lowered;  // one for each step of the fusion; empty for other steps
  InPlace in_place;
  std::vector<PlannedStep> steps;
};

/// Lowers each step that is a kernel, writes in place where that can be, and finds what is launched
/// together; `kernel` of the steps stays -1.
PlannedKernels plan_kernels(const Graph& g, const Fusion& f, const LowerOptions& options = {});

/// An argument of a call as plans state it; `tensor` gives the number by which the call knows its
/// i-th operand.
CallArg to_call_arg(const Arg& a, const std::function<int(int operand)>& tensor);

/// CallInfo::writes_into_results.
using WritesIntoResults = std::function<bool(const std::string& target, bool all)>;

/// Builds the plan of `g` (plan.kernels stays empty).
Plan build_plan(const Graph& g, const Fusion& f, const PlannedKernels& kernels,
                const WritesIntoResults& writes_into_results);

}  // namespace ourjit
