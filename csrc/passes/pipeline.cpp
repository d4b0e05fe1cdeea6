#include <array>
#include <chrono>

#include "base/error.h"
#include "graph/verify.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

#define PASS(name) \
  Pass { #name, name }
constexpr std::array kPipeline = {
    PASS(canonicalize),
    PASS(decompose),
    PASS(widen_scatters),
    PASS(simplify_matmul),
    PASS(dce),
    PASS(const_fold),
    PASS(simplify_views),
    PASS(simplify_casts),
    PASS(simplify_algebra),
    PASS(sink_gathers),
    PASS(simplify_views),
    PASS(cse),
    PASS(linear_sums),
    PASS(split_softmax),
    PASS(dce),
    PASS(merge_products),
    PASS(choose_layout),
    PASS(split_reductions),
};
#undef PASS

}  // namespace

Graph run_passes(Graph g, const PassContext& ctx, const AfterPass& after) {
  verify(g);
  for (const Pass& pass : kPipeline) {
    const auto begin = std::chrono::steady_clock::now();
    Graph next = pass.run(g, ctx);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    try {
      verify(next);
    } catch (const InternalError& e) {
      OURJIT_RAISE(InternalError) << "after pass " << pass.name << ": " << e.what();
    }
    if (after) after(pass, g, next, seconds.count());
    g = std::move(next);
  }
  return g;
}

const Pass* find_pass(std::string_view name) {
  for (const Pass& pass : kPipeline)
    if (pass.name == name) return &pass;
  return nullptr;
}

}  // namespace ourjit
