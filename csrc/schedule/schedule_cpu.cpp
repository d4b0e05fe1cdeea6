#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "loop/simplify.h"
#include "loop/visit.h"
#include "schedule/access.h"
#include "schedule/cost.h"
#include "schedule/partition.h"
#include "schedule/schedule.h"
#include "schedule/transform.h"
#include "schedule/transpose.h"

namespace ourjit::loop {
namespace {

constexpr int64_t kLeastPart = 8;  // parts of a divided loop shorter than this are not worth a loop
constexpr int64_t kLocalBytes = 128 * 1024;  // what lanes' own copies of locals may take
constexpr double kShortLoop = 4;             // iterations below which vectors must pay clearly
constexpr double kClearly = 1.5;
constexpr double kShortRow = 256;        // iterations of loops that are turned outwards
constexpr int64_t kLargestBlock = 4096;  // iterations of a parallel loop that become one
constexpr double kBlockCycles = 16384;   // enough work for one of them
constexpr double kHideLatency = 4;       // cycles of one accumulating add
constexpr int kInterleaved = 4;  // vectors, as many as kernels/cpu computes functions of at once
constexpr int kMostChains = 4;   // functions in one body: beyond, code would become too long

class Scheduler {
 public:
  Scheduler(Kernel k, const Target& target)
      : k_(std::move(k)), width_(target.vector_bits / 32), values_(guesses(k_)) {}

  Kernel run() {
    simplify_indices(k_);
    partition_loops(k_);
    split_divided(k_.body);
    tile_transposes(k_, width_);
    values_ = guesses(k_);
    For* parallel = parallel_loop(k_);
    if (!parallel || !vectorize_parallel(*parallel)) choose_in(k_.body, {});
    simplify_indices(k_);
    return std::move(k_);
  }

 private:
  // --- loops whose variable is divided ---

  /// A part m of the loop for which an index in it has floordiv(.., m) or mod(.., m) of its
  /// variable, in which the quotient stays the same. Parts are shorter than the loop.
  static int64_t wanted_part(const Sym& s, const For& loop) {
    for (const SymTerm& t : s.terms())
      for (const auto& f : t.atoms) {
        if (f->kind == SymAtomKind::Symbol) continue;
        if (const int64_t inner = wanted_part(f->a, loop)) return inner;
        if (f->kind != SymAtomKind::FloorDiv && f->kind != SymAtomKind::Mod) continue;
        const auto linear = f->a.linear_in(loop.var);
        if (!linear || !linear->first.is_const() || !f->b.is_const()) continue;
        const int64_t step = linear->first.value();
        const int64_t divisor = std::gcd(f->b.value(), linear->second.constant());
        if (step <= 0 || divisor % step != 0) continue;
        const int64_t part = divisor / step;
        const bool shorter = !loop.end.is_const() || part < loop.end.value();
        if (part >= kLeastPart && shorter) return part;
      }
    return 0;
  }

  static int64_t wanted_part(const For& f) {
    int64_t part = 0;
    for_each_node(f.body, [&](const Node& n) {
      if (part) return;
      if (const Load* l = std::get_if<Load>(&n.v)) part = wanted_part(l->index, f);
      if (const Store* s = std::get_if<Store>(&n.v)) part = wanted_part(s->index, f);
      if (const Index* i = std::get_if<Index>(&n.v)) part = wanted_part(i->expr, f);
    });
    return part;
  }

  /// Serial loops become two where that frees indices of floordiv and mod.
  void split_divided(std::vector<Node>& body) {
    for (Node& n : body) {
      For* f = std::get_if<For>(&n.v);
      if (!f) continue;
      for (int rounds = 0; f->kind == LoopKind::Serial && rounds < 4; ++rounds) {
        const int64_t part = wanted_part(*f);
        if (!part) break;
        const std::string outer = fresh_name(k_, f->var + "_o"),
                          inner = fresh_name(k_, f->var + "_i");
        std::optional<For> two = split(k_, *f, part, outer, inner);
        if (!two) break;
        *f = std::move(*two);
        simplify_indices(k_);
      }
      split_divided(f->body);
    }
  }

  // --- vectors ---

  void choose_in(std::vector<Node>& body, const SymBounds& bounds) {
    for (Node& n : body)
      if (For* f = std::get_if<For>(&n.v)) choose(*f, bounds);
  }

  /// Vectorizes `f` or the best loops in it.
  void choose(For& f, const SymBounds& bounds) {
    const std::set<std::string> own = shared_locals(k_, f);
    std::optional<For> vector, turned;
    if (f.kind == LoopKind::Serial && copies_fit(f, own) && can_vectorize(f, bounds, own))
      vector = vectorized(f);
    const SymBounds inside = bounds_in(f, bounds);
    if (vector && own.empty()) turned = turned_reduction(f, inside);
    choose_in(f.body, inside);
    const double serial = loop_cycles(f, values_);
    const double along = vector ? loop_cycles(*vector, values_) * least_gain(f) : serial;
    const double across = turned ? loop_cycles(*turned, values_) * least_gain(*turned) : serial;
    if (across < serial && across < along) {
      f = std::move(*turned);
    } else if (along < serial) {
      f = std::move(*vector);
      if (!own.empty()) give_copies(f, own);
    }
  }

  double least_gain(const For& f) const { return trips(f, values_) < kShortLoop ? kClearly : 1; }

  /// `a = for o reduce { b = for i reduce { .. } }` as `a = for i vector reduce { b = for o reduce
  /// { .. } }`, which adds up the lanes once instead of once for each o. For short i: with a long
  /// one, o steps through memory in too many places at a time. `f` can be vectorized.
  std::optional<For> turned_reduction(const For& f, const SymBounds& inside) {
    if (f.reductions.empty() || has_positions(f) || f.body.empty()) return std::nullopt;
    const For* inner = std::get_if<For>(&f.body.back().v);
    if (!inner || inner->kind != LoopKind::Serial || trips(*inner, values_) > kShortRow ||
        inner->begin.mentions(f.var) || inner->end.mentions(f.var) ||
        inner->reductions.size() != f.reductions.size() ||
        !std::all_of(f.body.begin(), f.body.end() - 1, is_pure) || !can_vectorize(*inner, inside))
      return std::nullopt;
    for (size_t i = 0; i < f.reductions.size(); ++i)
      if (f.reductions[i].value != inner->reductions[i].result ||
          f.reductions[i].op != inner->reductions[i].op)
        return std::nullopt;
    For outside = *inner, within = f;
    within.body.pop_back();
    for (Node& n : outside.body) within.body.push_back(std::move(n));
    outside.body.clear();
    // The new inner loop combines the elements, the new outer one its results.
    outside.reductions = f.reductions;
    within.reductions = inner->reductions;
    outside.body.push_back({std::move(within)});
    return vectorized(outside);
  }

  /// `f` as a vector loop, with all loops in it serial.
  For vectorized(const For& f) const {
    For v = f;
    v.kind = LoopKind::Vector;
    v.width = width_;
    v.unroll = interleaves(v) ? kInterleaved : accumulators(v);
    return v;
  }

  bool copies_fit(const For& f, const std::set<std::string>& own) const {
    if (own.empty()) return true;
    int64_t bytes = 0;
    for (const Local& l : k_.locals)
      bytes += l.size * dtype_bytes(l.dtype) * (own.contains(l.name) ? width_ : 1);
    return bytes <= kLocalBytes && !has_positions(f);
  }

  /// Gives the lanes of vector loop `f` their own copies of locals; it becomes a loop over single
  /// vectors.
  void give_copies(For& f, const std::set<std::string>& own) {
    f.kind = LoopKind::Serial;
    f.width = f.unroll = 1;
    const std::string outer = fresh_name(k_, f.var + "_v");
    For blocks = tiled(k_, std::move(f), width_, outer);
    For& lanes = std::get<For>(blocks.body.back().v);
    lanes.kind = LoopKind::Vector;
    lanes.width = width_;
    privatize(k_, lanes, own, lanes.begin, width_);
    f = std::move(blocks);
  }

  /// Iterations of the parallel loop become lanes, many of them one iteration, where the loops
  /// inside are too short for vectors of their own. True if that pays.
  bool vectorize_parallel(For& f) {
    const double n = trips(f, values_);
    const std::set<std::string> own = shared_locals(k_, f);
    if (n < width_ || !copies_fit(f, own) || !can_vectorize(f, {}, own)) return false;
    const double lanes = loop_cycles(vectorized(f), values_) / n;
    For inside = f;
    const Kernel before = k_;
    choose_in(inside.body, bounds_in(f, {}));
    k_ = before;
    if (kClearly * lanes > block_cycles(inside.body, values_)) return false;
    int64_t block = 4 * width_;
    while (block < kLargestBlock && static_cast<double>(block) * lanes < kBlockCycles) block *= 2;
    const std::string outer = fresh_name(k_, f.var + "_b");
    For blocks = tiled(k_, std::move(f), block, outer);
    For& within = std::get<For>(blocks.body.back().v);
    within = vectorized(within);
    if (!own.empty()) give_copies(within, own);
    f = std::move(blocks);
    return true;
  }

  /// True if several vectors at a time are faster because the steps of one fill the latency of the
  /// others': where functions are computed in straight code on neighbouring f32 elements, and not
  /// so many that registers would run out for nothing.
  bool interleaves(const For& v) const {
    if (trips(v, values_) < kInterleaved * v.width) return false;
    const Varying varying = varying_in(v);
    const auto plain = [&](ValueId mask, const Sym& index) {
      return mask == kNone && step_of(index, varying) != Step::Far;
    };
    int chains = 0;
    for (const Node& n : v.body) {
      if (std::holds_alternative<For>(n.v) || std::holds_alternative<Bind>(n.v)) return false;
      if (const Load* l = std::get_if<Load>(&n.v); l && !plain(l->mask, l->index)) return false;
      if (const Store* s = std::get_if<Store>(&n.v); s && !plain(s->mask, s->index)) return false;
      const Compute* c = std::get_if<Compute>(&n.v);
      if (!c || !varying.value(c->result)) continue;
      if (dtype_bytes(c->dtype) == 8) return false;
      chains += is_chain(c->op);
    }
    return 0 < chains && chains <= kMostChains;
  }

  /// Enough accumulators to hide the latency of an add, but not more than there are vectors.
  int accumulators(const For& v) const {
    if (v.reductions.empty()) return 1;
    const double cycles = body_cycles(v, values_), vectors = trips(v, values_) / v.width;
    int unroll = 4;
    while (unroll > 1 && (cycles * unroll > 2 * kHideLatency || vectors < unroll)) unroll /= 2;
    return unroll;
  }

  Kernel k_;
  int width_;
  SymEnv values_;
};

}  // namespace

Kernel schedule_cpu(Kernel k, const Target& target) {
  return Scheduler(std::move(k), target).run();
}

}  // namespace ourjit::loop
