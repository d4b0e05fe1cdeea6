// Reductions: partial results in each lane, combined in a fixed order.
#include <limits>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "codegen/llvm_kernel.h"

namespace ourjit {

bool KernelEmitter::is_arg(const loop::Reduction& r) {
  return r.op == ReduceOp::argmax || r.op == ReduceOp::argmin;
}

size_t KernelEmitter::carried_count(const loop::Reduction& r) { return is_arg(r) ? 2 : 1; }

Value* KernelEmitter::identity(const loop::Reduction& r) {
  return builder_.constant(r.dtype, reduce_identity(r.op, r.dtype).bits());
}

// The extreme of no elements is the identity at iteration 0, so that a first element equal to the
// identity, at iteration 0 or later, need not replace it: iteration 0 has then the same value.
KernelEmitter::Values KernelEmitter::initial_values(const loop::For& f, bool vector) {
  Values r;
  for (const loop::Reduction& x : f.reductions) {
    const unsigned lanes = vector                ? static_cast<unsigned>(f.width)
                           : is_varying(x.value) ? lanes_
                                                 : 1;
    r.push_back(builder_.broadcast(identity(x), lanes));
    if (is_arg(x)) r.push_back(builder_.broadcast(builder_.i64(0), lanes));
  }
  return r;
}

/// Whether `a` takes the place of `b`, wherever the two come from.
Value* KernelEmitter::is_better(const loop::Reduction& r, Value* a, Value* b) {
  const ScalarOp op = r.op == ReduceOp::argmax ? ScalarOp::gt : ScalarOp::lt;
  Value* better = nullptr;
  if (is_bool(r.dtype))
    better = r.op == ReduceOp::argmax ? ir_.CreateAnd(a, ir_.CreateNot(b))
                                      : ir_.CreateAnd(ir_.CreateNot(a), b);
  else
    better = builder_.compute(op, r.dtype, DType::boolean, {a, b});
  if (!is_float(r.dtype)) return better;
  Value* only_a_nan = ir_.CreateAnd(ir_.CreateFCmpUNO(a, a), ir_.CreateFCmpORD(b, b));
  return ir_.CreateOr(better, only_a_nan);
}

KernelEmitter::Values KernelEmitter::accumulate(const loop::For& f, const Values& carried,
                                                Value* var, Value* mask) {
  Values next;
  for (const loop::Reduction& r : f.reductions) {
    Value* old = carried[next.size()];
    const unsigned lanes = lanes_of(old);
    Value* x = builder_.broadcast(value(r.value), lanes);
    if (!is_arg(r)) {
      Value* sum = combine(r, {old}, {x})[0];
      next.push_back(mask ? ir_.CreateSelect(mask, sum, old) : sum);
      continue;
    }
    Value* iteration = f.begin.is_const(0) ? var : ir_.CreateSub(var, index_.uniform(f.begin));
    Value* at = builder_.broadcast(iteration, lanes);
    if (f.kind == loop::LoopKind::Vector && lanes > 1)
      at = ir_.CreateAdd(at, builder_.iota(lanes, 64));
    Value* old_at = carried[next.size() + 1];
    Value* wins = is_better(r, x, old);
    if (mask) wins = ir_.CreateAnd(mask, wins);
    next.push_back(ir_.CreateSelect(wins, x, old));
    next.push_back(ir_.CreateSelect(wins, at, old_at));
  }
  return next;
}

KernelEmitter::Values KernelEmitter::combine(const loop::Reduction& r, const Values& a,
                                             const Values& b) {
  const auto compute = [&](ScalarOp op) {
    return Values{builder_.compute(op, r.dtype, r.dtype, {a[0], b[0]})};
  };
  switch (r.op) {
    case ReduceOp::sum:
      return compute(ScalarOp::add);
    case ReduceOp::prod:
      return compute(ScalarOp::mul);
    case ReduceOp::max:
      return compute(ScalarOp::maximum);
    case ReduceOp::min:
      return compute(ScalarOp::minimum);
    case ReduceOp::argmax:
    case ReduceOp::argmin:
      break;
    case ReduceOp::exp_sum:
      OURJIT_CHECK(false) << "only kernels with threads have exp_sum";
  }
  Value* later_better = is_better(r, b[0], a[0]);
  Value* tied = ir_.CreateNot(ir_.CreateOr(later_better, is_better(r, a[0], b[0])));
  Value* wins = ir_.CreateOr(later_better, ir_.CreateAnd(tied, ir_.CreateICmpSLT(b[1], a[1])));
  return {ir_.CreateSelect(wins, b[0], a[0]), ir_.CreateSelect(wins, b[1], a[1])};
}

KernelEmitter::Values KernelEmitter::combine_lanes(const loop::Reduction& r, Values partial) {
  for (unsigned lanes = lanes_of(partial[0]); lanes > 1; lanes /= 2) {
    Values low, high;
    for (Value* v : partial) {
      low.push_back(builder_.slice(v, 0, lanes / 2));
      high.push_back(builder_.slice(v, lanes / 2, lanes / 2));
    }
    partial = combine(r, low, high);
  }
  return partial;
}

KernelEmitter::Values KernelEmitter::combine_partials(const loop::For& f, const Values& carried,
                                                      int copies) {
  const size_t size = carried.size() / static_cast<size_t>(copies);
  Values final;
  for (const loop::Reduction& r : f.reductions) {
    const auto count = static_cast<int64_t>(carried_count(r));
    std::vector<Values> partials;
    for (size_t u = 0; u < static_cast<size_t>(copies); ++u) {
      const auto first = carried.begin() + static_cast<int64_t>(size * u + final.size());
      partials.emplace_back(first, first + count);
    }
    for (size_t stride = 1; stride < partials.size(); stride *= 2)
      for (size_t u = 0; u + stride < partials.size(); u += 2 * stride)
        partials[u] = combine(r, partials[u], partials[u + stride]);
    const Values one = combine_lanes(r, partials[0]);
    final.insert(final.end(), one.begin(), one.end());
  }
  return final;
}

void KernelEmitter::define_results(const loop::For& f, const Values& final) {
  size_t at = 0;
  for (const loop::Reduction& r : f.reductions) {
    value(r.result) = final[at + (is_arg(r) ? 1 : 0)];
    at += carried_count(r);
  }
}

}  // namespace ourjit
