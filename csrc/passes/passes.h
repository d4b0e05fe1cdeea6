// Every graph pass: a free function in a file of its name.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace ourjit {

/// What passes may depend on.
struct PassContext {
  bool deterministic_layout = false;  // keep every layout as captured (no channels-last)
  int64_t parallel_rows = 32;         // independent rows that keep the target busy
  bool atomic_adds = false;           // scatters may add in any order
  bool exact_rounding = false;        // the result of each ATen call is rounded to its dtype
};

/// Turns ATen calls that are one primitive operator into that operator: pointwise with type
/// promotion made explicit by casts, views, reductions, generators, gathers and scatters. Calls it
/// does not know stay.
Graph canonicalize(const Graph& g, const PassContext& ctx);
/// Expands composite ATen calls (softmax, norms, losses, activations and their backward) into
/// primitives.
Graph decompose(const Graph& g, const PassContext& ctx);
/// Scatters that add as many narrow floats as their result has, or more, add in f32, which rounds
/// once. Where they add atomically, they do so in types for which there are atomics: f32 for any
/// narrow floats, i32 for narrow integers.
Graph widen_scatters(const Graph& g, const PassContext& ctx);
/// Products with a vector (in batches) or over one element become pointwise operators and sums,
/// which fuse.
Graph simplify_matmul(const Graph& g, const PassContext& ctx);
/// Evaluates operators on constants, and those whose results have no elements.
Graph const_fold(const Graph& g, const PassContext& ctx);
/// Merges nodes without effects that compute the same.
Graph cse(const Graph& g, const PassContext& ctx);
/// Drops nodes whose results nothing needs and that have no effect.
Graph dce(const Graph& g, const PassContext& ctx);
/// x*1, x+0, double negation, where of constants, pow to multiplication, sums of disjoint pads to
/// concat and the like; exact rewrites only.
Graph simplify_algebra(const Graph& g, const PassContext& ctx);
/// Removes cast pairs that lose nothing and moves casts out of views.
Graph simplify_casts(const Graph& g, const PassContext& ctx);
/// Where one element of each row of a computed value is gathered: computes it from elements that
/// are gathered before. A cross-entropy then needs no tensor of logarithms of probabilities.
Graph sink_gathers(const Graph& g, const PassContext& ctx);
/// Composes view chains, drops identities, and drops reshapes and expands that broadcasting does
/// anyway.
Graph simplify_views(const Graph& g, const PassContext& ctx);
/// Sums along long rows of values that are linear in reductions of these rows, as a cross-entropy
/// with label smoothing takes: as sums that need no such reduction, so that rows are read once.
Graph linear_sums(const Graph& g, const PassContext& ctx);
/// Cuts the long rows of softmaxes that have few of them into chunks with maxima of their own: a
/// chunk's maximum and sum of exponentials take one reading, and are then combined.
Graph split_softmax(const Graph& g, const PassContext& ctx);
/// Cuts reductions that need it into partial_reduce and reduce (two phases over a grid fixed by the
/// shape).
Graph split_reductions(const Graph& g, const PassContext& ctx);
/// Sums of products of matrices become one product of all their operands side by side, where these
/// are small beside the result: what the gradient of a weight that is used many times consists of.
Graph merge_products(const Graph& g, const PassContext& ctx);
/// Chooses the strides of intermediates: channels-last around convolutions where that pays,
/// contiguous otherwise.
Graph choose_layout(const Graph& g, const PassContext& ctx);
/// True if choose_layout is likely to make a captured value of type `image` channels-last.
bool prefers_channels_last(const Graph& g, const TensorType& image);

struct Pass {
  std::string_view name;
  Graph (*run)(const Graph&, const PassContext&);
};

/// Called after each pass with the graph before and after, and its time in seconds.
using AfterPass =
    std::function<void(const Pass&, const Graph& before, const Graph& after, double seconds)>;

/// The passes in order (pipeline.cpp is the list), verifying after each.
Graph run_passes(Graph g, const PassContext& ctx, const AfterPass& after = {});
/// The pass named so, for tests; null if there is none.
const Pass* find_pass(std::string_view name);

}  // namespace ourjit
