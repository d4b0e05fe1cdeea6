#include <optional>

#include "graph/builder.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

bool adds(const Node& n) {
  return op_category(n.op) == OpCategory::Scatter && attr<std::string>(n, "mode") == "add";
}

/// Which operand is added.
size_t updates(const Node& n) { return n.op == Op::scatter ? 2 : 1; }

/// The type to add in, if another than that of the result.
std::optional<DType> wide_type(const Graph& g, const Node& n, const PassContext& ctx) {
  const TensorType& sum = g.type(n.results[0]);
  if (is_narrow_float(sum.dtype)) {
    // Rounding each addition loses what is small beside the sum, which takes many additions to
    // one element; few additions to a large tensor are not worth converting all of it.
    const bool many = nonnegative(g.type(n.operands[updates(n)]).numel() - sum.numel());
    if (ctx.atomic_adds || many) return compute_dtype(sum.dtype);
  }
  // Modulo a power of two, so that narrowing the sum gives what narrow additions give.
  const bool narrow_integer =
      is_integer(sum.dtype) && dtype_bytes(sum.dtype) < dtype_bytes(DType::i32);
  if (ctx.atomic_adds && narrow_integer) return DType::i32;
  return std::nullopt;
}

}  // namespace

Graph widen_scatters(const Graph& g, const PassContext& ctx) {
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    const std::optional<DType> wide = adds(n) ? wide_type(g, n, ctx) : std::nullopt;
    if (!wide) return r.keep(n);
    std::vector<ValueId> operands;
    for (const ValueId v : n.operands) operands.push_back(r(v));
    for (const size_t i : {size_t{0}, updates(n)}) operands[i] = r.b.cast(operands[i], *wide);
    const ValueId sum = r.b.emit(n.op, std::move(operands), n.attrs);
    r.replace(n, r.b.cast(sum, g.type(n.results[0]).dtype));
  });
}

}  // namespace ourjit
