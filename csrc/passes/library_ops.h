// Which ATen calls are meant to stay calls.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace ourjit {

/// Calls that are no tensor work at all: drawing a seed (ourjit.rng_seed.default), run-time
/// assertions (aten._assert_async.msg). Neither library calls nor fallbacks.
bool is_runtime_op(std::string_view target);
/// Operators that may read all of the storage that a tensor lies in.
bool sees_storage(std::string_view target);
/// Random operators of ATen, which are called on purpose under option fallback_random.
bool is_random_op(std::string_view target);
/// Why call `n`, which is no runtime call, is a fallback: kernels were to compute it, but "no rule
/// for this operator", "dtype u16 is not native", ... Nothing if it is work for a library: matrix
/// products, convolutions, attention, sorting, linear algebra, complex numbers, operators of users.
/// `pointwise`: the operator computes each element on its own.
std::optional<std::string> fallback_reason(const Graph& g, const Node& n, bool pointwise);

}  // namespace ourjit
