#include "schedule/transpose_gpu.h"

#include <algorithm>
#include <set>
#include <string>

#include "loop/simplify.h"
#include "loop/visit.h"
#include "schedule/access.h"
#include "schedule/cost.h"
#include "schedule/transform.h"

namespace ourjit::loop {
namespace {

constexpr int64_t kTile = 32;
constexpr int64_t kPitch = kTile + 1;  // of a tile: its columns lie in different banks
constexpr int kTileRows = 8;           // threads of axis y

/// Two loops, one in the other, that hold everything the kernel does.
struct Nest {
  For outer, inner;
  std::vector<Node> before;        // pure statements outside of `inner`
  std::optional<For> around;       // a parallel loop around both
  std::vector<Node> before_outer;  // pure statements in it
};

bool all_pure_but_last(const std::vector<Node>& body) {
  return !body.empty() && std::all_of(body.begin(), body.end() - 1, is_pure);
}

std::vector<Node> but_last(const std::vector<Node>& body) { return {body.begin(), body.end() - 1}; }

bool is_plain_loop(const Node& n) {
  const For* f = std::get_if<For>(&n.v);
  return f && f->kind == LoopKind::Serial && f->reductions.empty();
}

std::optional<Nest> nest_of(const Kernel& k) {
  const For* p = parallel_loop(k);
  if (!p || !all_pure_but_last(p->body) || !is_plain_loop(p->body.back())) return std::nullopt;
  const For& first = std::get<For>(p->body.back().v);
  const auto flat = [](const For& f) {
    return std::none_of(f.body.begin(), f.body.end(),
                        [](const Node& n) { return std::holds_alternative<For>(n.v); });
  };
  Nest n;
  if (flat(first)) {
    n.outer = *p;
    n.inner = first;
    n.before = but_last(p->body);
  } else {
    if (!all_pure_but_last(first.body) || !is_plain_loop(first.body.back())) return std::nullopt;
    n.around = *p;
    n.before_outer = but_last(p->body);
    n.outer = first;
    n.inner = std::get<For>(first.body.back().v);
    n.before = but_last(first.body);
    if (!flat(n.inner)) return std::nullopt;
  }
  if (n.inner.begin.mentions(n.outer.var) || n.inner.end.mentions(n.outer.var)) return std::nullopt;
  // The grid counts the tiles of both loops alike for all iterations around them.
  for (const Sym& s : {n.outer.begin, n.outer.end, n.inner.begin, n.inner.end})
    if (n.around && s.mentions(n.around->var)) return std::nullopt;
  return n;
}

class SharedTiler {
 public:
  SharedTiler(Kernel& k, Nest nest, const GpuTarget& target)
      : k_(k), nest_(std::move(nest)), target_(target) {}

  bool run() {
    if (!worth_it()) return false;
    const SymEnv values = guesses(k_);
    if (trips(nest_.outer, values) < kTile / 2 || trips(nest_.inner, values) < kTile / 2)
      return false;
    Kernel made = k_;
    made.threads_x = static_cast<int>(kTile);
    made.threads_y = kTileRows;
    build(made);
    int64_t bytes = 0;
    for (const Local& l : made.locals) bytes += l.size * dtype_bytes(l.dtype);
    if (bytes > target_.shared_bytes) return false;
    k_ = std::move(made);
    return true;
  }

 private:
  /// Some loads run along one of the loops and all stores along the other, which becomes axis x.
  bool worth_it() {
    const Varying o = varying_in(nest_.outer), i = varying_in(nest_.inner);
    std::set<std::string> bound;
    for_each_node(nest_.outer.body, [&](const Node& n) {
      if (const Bind* b = std::get_if<Bind>(&n.v)) bound.insert(b->symbol);
    });
    bool outer_stores = true, inner_stores = true;
    std::vector<ValueId> along_outer, along_inner;
    for_each_node(nest_.outer.body, [&](const Node& n) {
      const Load* l = std::get_if<Load>(&n.v);
      const Store* s = std::get_if<Store>(&n.v);
      if (!l && !s) return;
      const Sym& index = l ? l->index : s->index;
      const Step a = step_of(index, o), b = step_of(index, i);
      if (s) {
        outer_stores &= a == Step::Next && b != Step::Next && !s->accumulate;
        inner_stores &= b == Step::Next && !s->accumulate;
      } else if (l->mask == kNone &&
                 std::none_of(bound.begin(), bound.end(),
                              [&](const std::string& x) { return index.mentions(x); })) {
        if (a == Step::Next && b == Step::Far) along_outer.push_back(l->result);
        if (b == Step::Next && a == Step::Far) along_inner.push_back(l->result);
      }
    });
    if (inner_stores && !along_outer.empty()) {
      staged_.insert(along_outer.begin(), along_outer.end());
      return true;
    }
    if (outer_stores && !along_inner.empty()) {
      staged_.insert(along_inner.begin(), along_inner.end());
      // The stores run along the outer loop: the two change places.
      std::swap(nest_.outer.var, nest_.inner.var);
      std::swap(nest_.outer.begin, nest_.inner.begin);
      std::swap(nest_.outer.end, nest_.inner.end);
      return true;
    }
    return false;
  }

  /// The body of the nest with its statements outside of the inner loop.
  std::vector<Node> whole_body() const {
    std::vector<Node> body = nest_.before;
    body.insert(body.end(), nest_.inner.body.begin(), nest_.inner.body.end());
    return body;
  }

  /// for u in <one tile> threads(y) { for v in <one tile> threads(x) { body } }
  static Node tile_loops(const For& u, const Sym& u_tile, const For& v, const Sym& v_tile,
                         std::vector<Node> body) {
    const auto loop = [](const For& f, const Sym& tile, LoopKind kind) {
      For part;
      part.kind = kind;
      part.var = f.var;
      part.begin = f.begin + tile * kTile;
      const Sym next = part.begin + kTile;
      part.end = exact_div(f.end - f.begin, kTile) ? next : min(f.end, next);
      return part;
    };
    For x = loop(v, v_tile, LoopKind::ThreadX), y = loop(u, u_tile, LoopKind::ThreadY);
    x.body = std::move(body);
    y.body.push_back({std::move(x)});
    return {std::move(y)};
  }

  void build(Kernel& k) {
    const For &a = nest_.outer, &b = nest_.inner;
    const Sym tiles_a = ceildiv(a.end - a.begin, kTile), tiles_b = ceildiv(b.end - b.begin, kTile);
    For p;
    p.kind = LoopKind::Parallel;
    p.var = fresh_name(k, "tile");
    const Sym tile = Sym::symbol(p.var);
    const Sym around = nest_.around ? nest_.around->end - nest_.around->begin : Sym(1);
    p.begin = 0;
    p.end = around * tiles_a * tiles_b;
    const Sym b_tile = mod(tile, tiles_b), a_tile = mod(floordiv(tile, tiles_b), tiles_a);

    const std::vector<Node> body = whole_body();
    std::vector<Node> stage, main = body;
    for (Node& n : main)
      if (Load* l = std::get_if<Load>(&n.v); l && staged_.contains(l->result)) {
        const DType t = memory_dtype(k, l->buffer);
        const std::string shared = fresh_name(k, "tile" + std::to_string(k.locals.size()));
        k.locals.push_back({shared, t, kTile * kPitch});
        const Sym row = Sym::symbol(b.var) - b.begin - b_tile * kTile,
                  column = Sym::symbol(a.var) - a.begin - a_tile * kTile;
        const auto value = static_cast<ValueId>(k.types.size());
        k.types.push_back(t);
        stage.push_back({Load{value, l->buffer, l->index}});
        stage.push_back({Store{shared, row * kPitch + column, value}});
        l->buffer = shared;
        l->index = row * kPitch + column;
      }
    std::vector<Node> block = nest_.before_outer;
    block.push_back(tile_loops(b, b_tile, a, a_tile, std::move(stage)));
    block.push_back({Barrier{}});
    block.push_back(tile_loops(a, a_tile, b, b_tile, std::move(main)));
    if (nest_.around) {
      const Sym which = nest_.around->begin + floordiv(tile, tiles_a * tiles_b);
      map_syms(block, [&](const Sym& s) {
        return s.substitute([&](std::string_view name) -> std::optional<Sym> {
          if (name == nest_.around->var) return which;
          return std::nullopt;
        });
      });
    }
    p.body = std::move(block);
    *parallel_loop(k) = std::move(p);
  }

  Kernel& k_;
  Nest nest_;
  GpuTarget target_;
  std::set<ValueId> staged_;
};

}  // namespace

bool tile_through_shared(Kernel& k, const GpuTarget& target) {
  std::optional<Nest> nest = nest_of(k);
  return nest && SharedTiler(k, std::move(*nest), target).run();
}

}  // namespace ourjit::loop
