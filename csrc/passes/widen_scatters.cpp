#include <optional>

#include "graph/builder.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

/// The type to add in instead of `t`, in which a GPU cannot add atomically.
std::optional<DType> wide_type(DType t) {
  if (is_narrow_float(t)) return compute_dtype(t);
  // Modulo a power of two, so that narrowing the sum gives what narrow additions give.
  if (is_integer(t) && dtype_bytes(t) < dtype_bytes(DType::i32)) return DType::i32;
  return std::nullopt;
}

bool adds(const Node& n) {
  return op_category(n.op) == OpCategory::Scatter && attr<std::string>(n, "mode") == "add";
}

}  // namespace

Graph widen_scatters(const Graph& g, const PassContext& ctx) {
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    const std::optional<DType> wide =
        ctx.atomic_adds && adds(n) ? wide_type(g.type(n.results[0]).dtype) : std::nullopt;
    if (!wide) return r.keep(n);
    std::vector<ValueId> operands;
    for (const ValueId v : n.operands) operands.push_back(r(v));
    const size_t updates = n.op == Op::scatter ? 2 : 1;
    for (const size_t i : {size_t{0}, updates}) operands[i] = r.b.cast(operands[i], *wide);
    const ValueId sum = r.b.emit(n.op, std::move(operands), n.attrs);
    r.replace(n, r.b.cast(sum, g.type(n.results[0]).dtype));
  });
}

}  // namespace ourjit
