#include "schedule/unblock.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "loop/simplify.h"
#include "loop/visit.h"
#include "schedule/access.h"
#include "schedule/transform.h"

namespace ourjit::loop {
namespace {

/// The end of the whole loop of which `f` runs one block in each iteration of `around`.
std::optional<Sym> unblocked_end(const For& around, const For& f) {
  if (around.end.is_const(1) && f.begin.is_const(0)) return f.end;
  const auto block = f.begin.linear_in(around.var);
  if (!block || !block->first.is_const() || block->first.value() <= 0 || !block->second.is_const(0))
    return std::nullopt;
  const Sym next = f.begin + block->first;
  if (f.end == next) return around.end * block->first;
  if (const auto ends = f.end.as_min())
    for (const auto& [a, b] : {*ends, std::pair(ends->second, ends->first)})
      if (a == next && !b.mentions(around.var)) return b;
  return std::nullopt;
}

bool mentioned(const std::vector<Node>& body, const std::string& symbol) {
  bool found = false;
  for_each_node(body, [&](const Node& n) {
    for_each_sym(n, [&](const Sym& s) { found |= s.mentions(symbol); });
  });
  return found;
}

void unblock(const Kernel& k, For& p) {
  if (p.body.empty() || !p.begin.is_const(0)) return;
  For* f = std::get_if<For>(&p.body.back().v);
  if (!f || !f->reductions.empty() || f->kind != LoopKind::Serial ||
      !std::all_of(p.body.begin(), p.body.end() - 1, is_pure))
    return;
  const std::optional<Sym> n = unblocked_end(p, *f);
  const std::vector<Node> before(p.body.begin(), p.body.end() - 1);
  if (!n || mentioned(before, p.var) || mentioned(f->body, p.var) ||
      !can_vectorize(*f, bounds_in(p, {}), shared_locals(k, *f)))
    return;
  For flat = p;
  flat.var = f->var;
  flat.end = *n;
  flat.body.pop_back();
  for (Node& x : f->body) flat.body.push_back(std::move(x));
  p = std::move(flat);
}

/// True if `around` only passes on what `f` reduces.
bool passes_on(const For& around, const For& f) {
  return std::equal(
      around.reductions.begin(), around.reductions.end(), f.reductions.begin(), f.reductions.end(),
      [](const Reduction& a, const Reduction& b) { return a.op == b.op && a.value == b.result; });
}

}  // namespace

void unblock_serial_loops(std::vector<Node>& body) {
  for (Node& n : body) {
    For* around = std::get_if<For>(&n.v);
    if (!around) continue;
    unblock_serial_loops(around->body);
    For* f = around->body.size() == 1 ? std::get_if<For>(&around->body[0].v) : nullptr;
    if (!f || around->kind != LoopKind::Serial || f->kind != LoopKind::Serial ||
        !around->begin.is_const(0) || has_positions(*f) || !passes_on(*around, *f))
      continue;
    const std::optional<Sym> end = unblocked_end(*around, *f);
    if (!end || end->mentions(around->var) || mentioned(f->body, around->var)) continue;
    For flat = std::move(*f);
    flat.begin = 0;
    flat.end = *end;
    for (size_t i = 0; i < flat.reductions.size(); ++i)
      flat.reductions[i].result = around->reductions[i].result;
    n = {std::move(flat)};
  }
}

void unblock_parallel_loop(Kernel& k) {
  if (For* p = parallel_loop(k)) unblock(k, *p);
}

}  // namespace ourjit::loop
