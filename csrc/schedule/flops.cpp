#include "schedule/flops.h"

#include <algorithm>

#include "schedule/cost.h"

namespace ourjit::loop {
namespace {

double block_flops(const std::vector<Node>& body, const SymEnv& values) {
  double sum = 0;
  for (const Node& n : body) {
    if (const auto* c = std::get_if<Compute>(&n.v))
      sum += is_float(c->dtype) && c->op != ScalarOp::cast && c->op != ScalarOp::where ? 1 : 0;
    if (const auto* s = std::get_if<Store>(&n.v)) sum += s->accumulate ? 1 : 0;
    if (const auto* f = std::get_if<For>(&n.v)) {
      double once = block_flops(f->body, values);
      for (const Reduction& r : f->reductions) once += is_float(r.dtype) ? 1 : 0;
      sum += once * std::max(0.0, trips(*f, values));
    }
  }
  return sum;
}

}  // namespace

double kernel_flops(const Kernel& k, const SymEnv& sizes) {
  const SymEnv values = guesses(k, sizes);
  return block_flops(k.body, values) + block_flops(k.epilogue, values);
}

}  // namespace ourjit::loop
