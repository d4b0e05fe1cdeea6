#include "passes/library_ops.h"

#include <algorithm>
#include <iterator>

#include "passes/canonicalize_rules.h"
#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

// Sorted names of overload packets. Rules take some of these calls; the others are meant to stay.
constexpr std::string_view kLibrary[] = {
    "aten.addbmm", "aten.addmm", "aten.addmv", "aten.baddbmm", "aten.bmm",
    "aten.dot",    "aten.mm",    "aten.mv",    "aten.vdot",
};

// Pointwise, but each element takes as many steps as its operands say.
constexpr std::string_view kIterated[] = {
    "aten.igamma",
    "aten.igammac",
    "aten.special_chebyshev_polynomial_t",
    "aten.special_chebyshev_polynomial_u",
    "aten.special_chebyshev_polynomial_v",
    "aten.special_chebyshev_polynomial_w",
    "aten.special_hermite_polynomial_h",
    "aten.special_hermite_polynomial_he",
    "aten.special_laguerre_polynomial_l",
    "aten.special_legendre_polynomial_p",
    "aten.special_shifted_chebyshev_polynomial_t",
    "aten.special_shifted_chebyshev_polynomial_u",
    "aten.special_shifted_chebyshev_polynomial_v",
    "aten.special_shifted_chebyshev_polynomial_w",
};

constexpr std::string_view kRuntime[] = {
    "aten._assert_async",
    "aten._assert_scalar",
    "aten._assert_tensor_metadata",
    "aten.sym_constrain_range",
    "aten.sym_constrain_range_for_size",
    "ourjit.rng_seed",
};

constexpr std::string_view kStorage[] = {
    "aten.as_strided",
    "aten.as_strided_copy",
    "aten.as_strided_scatter",
};

constexpr std::string_view kRandom[] = {
    "aten.bernoulli",
    "aten.cauchy",
    "aten.exponential",
    "aten.geometric",
    "aten.log_normal",
    "aten.native_dropout",
    "aten.normal",
    "aten.normal_functional",
    "aten.rand",
    "aten.rand_like",
    "aten.randint",
    "aten.randint_like",
    "aten.randn",
    "aten.randn_like",
    "aten.random",
    "aten.rrelu_with_noise",
    "aten.rrelu_with_noise_functional",
    "aten.uniform",
};

/// "aten.mm.default" is of packet "aten.mm".
std::string_view packet(std::string_view target) {
  const size_t space = target.find('.');
  const size_t overload = space == std::string_view::npos ? space : target.find('.', space + 1);
  return target.substr(0, overload);
}

template <size_t N>
bool contains(const std::string_view (&names)[N], std::string_view target) {
  const std::string_view name = packet(target);
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

bool is_runtime_op(std::string_view target) { return contains(kRuntime, target); }
bool sees_storage(std::string_view target) { return contains(kStorage, target); }
bool is_random_op(std::string_view target) { return contains(kRandom, target); }

std::optional<std::string> fallback_reason(const Graph& g, const Node& n, bool pointwise) {
  const std::string& target = call_target(n);
  const std::optional<DType> foreign = foreign_dtype(g, n);
  if (contains(kLibrary, target) || contains(kIterated, target)) return std::nullopt;
  if (foreign && is_complex(*foreign)) return std::nullopt;
  if (foreign) return "dtype " + std::string(dtype_name(*foreign)) + " is not native";
  if (is_random_op(target)) return "random operator without a rule";
  for (const AtenRules* rules : {&canonicalize_rules(), &decompose_rules()})
    if (const std::optional<std::string> reason = why_unsupported(g, n, *rules)) return *reason;
  if (pointwise) return "no rule for this operator";
  return std::nullopt;
}

}  // namespace ourjit
