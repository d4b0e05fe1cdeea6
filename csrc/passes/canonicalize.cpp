#include "passes/canonicalize_rules.h"
#include "passes/passes.h"

namespace ourjit {

const AtenRules& canonicalize_rules() {
  static const AtenRules rules({unary_rules(), binary_rules(), ternary_rules(), view_rules(),
                                storage_rules(), reshaping_copy_rules(), creation_rules(),
                                reduction_rules(), moment_rules(), indexing_rules(),
                                scatter_rules()});
  return rules;
}

Graph canonicalize(const Graph& g, const PassContext& ctx) {
  return rewrite_calls(g, canonicalize_rules(), ctx.exact_rounding);
}

}  // namespace ourjit
