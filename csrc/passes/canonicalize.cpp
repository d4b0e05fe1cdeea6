#include "passes/canonicalize_rules.h"
#include "passes/passes.h"

namespace ourjit {

Graph canonicalize(const Graph& g, const PassContext&) {
  static const AtenRules rules({unary_rules(), binary_rules(), ternary_rules(), view_rules(),
                                reshaping_copy_rules(), creation_rules(), reduction_rules(),
                                moment_rules(), indexing_rules(), scatter_rules()});
  return rewrite_calls(g, rules);
}

}  // namespace ourjit
