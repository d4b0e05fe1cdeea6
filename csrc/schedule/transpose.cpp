#include "schedule/transpose.h"

#include <algorithm>

#include "loop/simplify.h"
#include "loop/visit.h"
#include "schedule/access.h"
#include "schedule/cost.h"
#include "schedule/transform.h"

namespace ourjit::loop {
namespace {

constexpr int64_t kLeastTile = 16;  // shorter loops are not tiled
constexpr int64_t kOuterTile = 64;  // iterations of the outer loop in a tile

class Transposer {
 public:
  Transposer(Kernel& k, int width) : k_(k), width_(width), values_(guesses(k)) {}

  void run() { tile_transposes(k_.body, {}); }

 private:
  /// The inner loop of a nest of two that holds all effects of the outer one; null if it is not
  /// like that.
  static For* inner_of(For& outer) {
    if (outer.kind != LoopKind::Serial || !outer.reductions.empty() || outer.body.empty())
      return nullptr;
    For* inner = std::get_if<For>(&outer.body.back().v);
    if (!inner || inner->kind != LoopKind::Serial || !inner->reductions.empty()) return nullptr;
    if (!std::all_of(outer.body.begin(), outer.body.end() - 1, is_pure)) return nullptr;
    return inner;
  }

  bool long_enough(const For& f) const { return trips(f, values_) >= kLeastTile; }

  /// One access runs along the outer loop and jumps along the inner one, and another the other way
  /// round.
  static bool is_transpose(const For& outer, const For& inner) {
    const Varying o = varying_in(outer), i = varying_in(inner);
    bool along_outer = false, along_inner = false;
    const auto look = [&](const Sym& index) {
      const Step a = step_of(index, o), b = step_of(index, i);
      along_outer |= a == Step::Next && b == Step::Far;
      along_inner |= a != Step::Next && b == Step::Next;
    };
    for_each_node(inner.body, [&](const Node& n) {
      if (const Load* l = std::get_if<Load>(&n.v)) look(l->index);
      if (const Store* s = std::get_if<Store>(&n.v)) look(s->index);
    });
    return along_outer && along_inner;
  }

  /// `for o { for i }` becomes `for i_b { for o_b { for o { for i } } }`: lines that are read
  /// across stay in cache until all of them is used.
  void tile_transposes(std::vector<Node>& body, const SymBounds& bounds) {
    std::vector<Node> out;
    for (Node& n : body) {
      For* f = std::get_if<For>(&n.v);
      if (!f) {
        out.push_back(std::move(n));
        continue;
      }
      for (For& part : distributed(std::move(*f), bounds)) {
        const SymBounds inside = bounds_in(part, bounds);
        if (wants_tiles(part, bounds, inside))
          tile(part);
        else
          tile_transposes(part.body, inside);
        out.push_back({std::move(part)});
      }
    }
    body = std::move(out);
  }

  bool wants_tiles(For& f, const SymBounds& bounds, const SymBounds& inside) {
    For* inner = inner_of(f);
    return inner && long_enough(f) && long_enough(*inner) && !inner->begin.mentions(f.var) &&
           !inner->end.mentions(f.var) && is_transpose(f, *inner) && can_vectorize(f, bounds) &&
           can_vectorize(*inner, inside);
  }

  /// `for o { for a {..} for b {..} }` as `for o { for a {..} } for o { for b {..} }` if a or b is
  /// to be tiled with o.
  std::vector<For> distributed(For f, const SymBounds& bounds) {
    std::vector<size_t> loops;
    for (size_t i = 0; i < f.body.size(); ++i) {
      const For* inner = std::get_if<For>(&f.body[i].v);
      if (inner && !inner->reductions.empty()) return {std::move(f)};
      if (inner) loops.push_back(i);
      if (!inner && !is_pure(f.body[i])) return {std::move(f)};
    }
    if (f.kind != LoopKind::Serial || !f.reductions.empty() || loops.size() < 2)
      return {std::move(f)};
    bool any = false;
    for (const size_t i : loops) any |= is_transpose(f, std::get<For>(f.body[i].v));
    if (!any || !can_vectorize(f, bounds)) return {std::move(f)};
    std::vector<For> out;
    for (const size_t i : loops) {
      For part = f;
      part.body.clear();
      for (size_t j = 0; j <= i; ++j)
        if (j == i || is_pure(f.body[j])) part.body.push_back(f.body[j]);
      if (!out.empty()) part.body = cloned(k_, part.body);
      out.push_back(std::move(part));
    }
    return out;
  }

  void tile(For& outer) {
    For& inner = std::get<For>(outer.body.back().v);
    const std::string inner_blocks = fresh_name(k_, inner.var + "_b"),
                      outer_blocks = fresh_name(k_, outer.var + "_b");
    For blocks = tiled(k_, std::move(inner), width_, inner_blocks);
    inner = std::move(std::get<For>(blocks.body.back().v));
    blocks.body.clear();
    if (!at_most(outer, kOuterTile) && trips(outer, values_) > kOuterTile)
      outer = tiled(k_, std::move(outer), kOuterTile, outer_blocks);
    blocks.body.push_back({std::move(outer)});
    outer = std::move(blocks);
  }

  /// True if the loop has no more than n iterations whatever the symbols are.
  static bool at_most(const For& f, int64_t n) {
    const auto most = most_iterations(f);
    return most && *most <= n;
  }

  Kernel& k_;
  int width_;
  SymEnv values_;
};

}  // namespace

void tile_transposes(Kernel& k, int width) { Transposer(k, width).run(); }

}  // namespace ourjit::loop
