// Which ATen calls are meant to stay calls.
#pragma once

#include <string>
#include <string_view>

#include "graph/graph.h"

namespace ourjit {

/// Matrix products, convolutions, attention and pooling: work that a library does best.
bool is_library_op(std::string_view target);
/// Calls that are no tensor work at all: drawing a seed (ourjit.rng_seed.default), run-time
/// assertions (aten._assert_async.msg). Neither library calls nor fallbacks.
bool is_runtime_op(std::string_view target);
/// Random operators of ATen, which are called on purpose under option fallback_random.
bool is_random_op(std::string_view target);
/// Why call `n` was not compiled, for reports: "no rule for this operator", "dtype c64 is not
/// native", ...
std::string fallback_reason(const Graph& g, const Node& n);

}  // namespace ourjit
