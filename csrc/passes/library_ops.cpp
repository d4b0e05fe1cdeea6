#include "passes/library_ops.h"

#include <algorithm>
#include <iterator>

#include "passes/canonicalize_rules.h"
#include "passes/decompose_rules.h"

namespace ourjit {
namespace {

// Sorted names of overload packets: every overload of one is alike here.
constexpr std::string_view kLibrary[] = {
    "aten._adaptive_avg_pool2d",
    "aten._adaptive_avg_pool2d_backward",
    "aten._adaptive_avg_pool3d",
    "aten._adaptive_avg_pool3d_backward",
    "aten._addmm_activation",
    "aten._cdist_backward",
    "aten._cdist_forward",
    "aten._efficient_attention_backward",
    "aten._efficient_attention_forward",
    "aten._fft_c2c",
    "aten._fft_c2r",
    "aten._fft_r2c",
    "aten._flash_attention_backward",
    "aten._flash_attention_forward",
    "aten._grouped_mm",
    "aten._int_mm",
    "aten._scaled_dot_product_attention_math",
    "aten._scaled_dot_product_cudnn_attention",
    "aten._scaled_dot_product_cudnn_attention_backward",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_efficient_attention_backward",
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_flash_attention_backward",
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_flash_attention_for_cpu_backward",
    "aten._scaled_dot_product_fused_attention_overrideable",
    "aten._scaled_dot_product_fused_attention_overrideable_backward",
    "aten._scaled_mm",
    "aten._slow_conv2d_backward",
    "aten._slow_conv2d_forward",
    "aten._weight_int8pack_mm",
    "aten.adaptive_max_pool2d",
    "aten.adaptive_max_pool2d_backward",
    "aten.adaptive_max_pool3d",
    "aten.adaptive_max_pool3d_backward",
    "aten.addbmm",
    "aten.addmm",
    "aten.addmv",
    "aten.avg_pool2d",
    "aten.avg_pool2d_backward",
    "aten.avg_pool3d",
    "aten.avg_pool3d_backward",
    "aten.baddbmm",
    "aten.bmm",
    "aten.conv_depthwise3d",
    "aten.convolution",
    "aten.convolution_backward",
    "aten.convolution_backward_overrideable",
    "aten.convolution_overrideable",
    "aten.dot",
    "aten.fractional_max_pool2d",
    "aten.fractional_max_pool2d_backward",
    "aten.linalg_cholesky_ex",
    "aten.linalg_inv_ex",
    "aten.linalg_solve_triangular",
    "aten.max_pool2d_with_indices",
    "aten.max_pool2d_with_indices_backward",
    "aten.max_pool3d_with_indices",
    "aten.max_pool3d_with_indices_backward",
    "aten.max_unpool2d",
    "aten.mkldnn_rnn_layer",
    "aten.mkldnn_rnn_layer_backward",
    "aten.mm",
    "aten.mv",
    "aten.slow_conv3d_forward",
    "aten.vdot",
    "mkldnn._convolution_pointwise",
    "mkldnn._linear_pointwise",
};

constexpr std::string_view kRuntime[] = {
    "aten._assert_async",
    "aten._assert_scalar",
    "aten._assert_tensor_metadata",
    "aten.sym_constrain_range",
    "aten.sym_constrain_range_for_size",
    "ourjit.rng_seed",
};

constexpr std::string_view kRandom[] = {
    "aten.bernoulli",
    "aten.binomial",
    "aten.cauchy",
    "aten.exponential",
    "aten.geometric",
    "aten.log_normal",
    "aten.multinomial",
    "aten.native_dropout",
    "aten.normal",
    "aten.normal_functional",
    "aten.poisson",
    "aten.rand",
    "aten.rand_like",
    "aten.randint",
    "aten.randint_like",
    "aten.randn",
    "aten.randn_like",
    "aten.random",
    "aten.randperm",
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

bool is_library_op(std::string_view target) { return contains(kLibrary, target); }
bool is_runtime_op(std::string_view target) { return contains(kRuntime, target); }
bool is_random_op(std::string_view target) { return contains(kRandom, target); }

std::string fallback_reason(const Graph& g, const Node& n) {
  const std::string& target = call_target(n);
  const std::optional<DType> foreign = foreign_dtype(g, n);
  if (foreign) return "dtype " + std::string(dtype_name(*foreign)) + " is not native";
  if (is_random_op(target)) return "random operator without a rule";
  for (const AtenRules* rules : {&canonicalize_rules(), &decompose_rules()})
    if (const std::optional<std::string> reason = why_unsupported(g, n, *rules)) return *reason;
  return "no rule for this operator";
}

}  // namespace ourjit
