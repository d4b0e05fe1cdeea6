#include "passes/decompose_rules.h"
#include "passes/passes.h"

namespace ourjit {

const AtenRules& decompose_rules() {
  static const AtenRules rules({activation_rules(), activation_backward_rules(), softmax_rules(),
                                row_norm_rules(), batch_norm_rules(), elementwise_loss_rules(),
                                nll_loss_rules(), matmul_rules(), pooling_rules(),
                                pooling_backward_rules(), interpolation_rules(), special_rules(),
                                bessel_rules(), zeta_rules()});
  return rules;
}

Graph decompose(const Graph& g, const PassContext& ctx) {
  return rewrite_calls(g, decompose_rules(), ctx.exact_rounding);
}

}  // namespace ourjit
