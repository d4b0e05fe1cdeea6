#include "lower/flat_loop.h"

#include <algorithm>
#include <set>
#include <string>

#include "loop/visit.h"

namespace ourjit {
namespace {

/// The only loop of `body`; null if there is none or another.
loop::For* only_loop(std::vector<loop::Node>& body) {
  loop::For* found = nullptr;
  for (loop::Node& n : body)
    if (auto* f = std::get_if<loop::For>(&n.v)) {
      if (found) return nullptr;
      found = f;
    }
  return found;
}

const loop::Buffer* find_buffer(const loop::Kernel& k, const std::string& name) {
  const auto at = std::find_if(k.buffers.begin(), k.buffers.end(),
                               [&](const loop::Buffer& b) { return b.name == name; });
  return at == k.buffers.end() ? nullptr : &*at;
}

/// The buffer that `n` reads or writes at `index`; empty if there is none.
std::string memory_at(const loop::Node& n, const Sym& index) {
  if (const auto* l = std::get_if<loop::Load>(&n.v); l && l->index == index) return l->buffer;
  if (const auto* s = std::get_if<loop::Store>(&n.v); s && s->index == index) return s->buffer;
  return "";
}

bool runs_over(const loop::For& blocks, const loop::For& elements, const Sym& n) {
  const BlockedLoop want = blocked_loop(n, kFlatBlock, Sym::symbol(blocks.var));
  return blocks.begin.is_const(0) && blocks.end == want.blocks && elements.begin == want.begin &&
         elements.end == want.end;
}

}  // namespace

BlockedLoop blocked_loop(const Sym& n, int64_t block, const Sym& p) {
  if (n.is_const() && n.value() <= block) return {1, 0, n};
  const Sym begin = p * block, end = begin + block;
  return {ceildiv(n, block), begin, exact_div(n, block) ? end : min(n, end)};
}

std::optional<LoweredKernel> with_free_length(const LoweredKernel& lowered) {
  LoweredKernel out = lowered;
  loop::Kernel& k = out.kernel;
  loop::For* blocks = only_loop(k.body);
  if (!blocks || blocks->kind != loop::LoopKind::Parallel) return std::nullopt;
  loop::For* elements = only_loop(blocks->body);
  if (!elements || elements->kind != loop::LoopKind::Serial || !elements->reductions.empty() ||
      only_loop(elements->body))
    return std::nullopt;
  // Buffers that are met at the loop's variable have the loop's length.
  const Sym c = Sym::symbol(elements->var);
  std::set<std::string> whole;
  for (const loop::Node& n : elements->body)
    if (const std::string name = memory_at(n, c); find_buffer(k, name)) whole.insert(name);
  if (whole.empty()) return std::nullopt;
  const Sym fixed = find_buffer(k, *whole.begin())->size;
  if (!fixed.is_const() || fixed.value() <= 0 || !runs_over(*blocks, *elements, fixed))
    return std::nullopt;

  const std::string name = loop::fresh_name(k, "n");
  const Sym n = Sym::symbol(name);
  for (loop::Buffer& b : k.buffers)
    if (whole.contains(b.name) && b.size == fixed) b.size = n;
  const BlockedLoop loop = blocked_loop(n, kFlatBlock, Sym::symbol(blocks->var));
  blocks->end = loop.blocks;
  elements->begin = loop.begin;
  elements->end = loop.end;
  k.sizes.push_back(name);
  out.sizes.push_back(fixed);
  out.extent = ceildiv(fixed, kFlatBlock);
  return out;
}

}  // namespace ourjit
