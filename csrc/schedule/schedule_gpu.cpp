#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/error.h"
#include "loop/simplify.h"
#include "loop/visit.h"
#include "schedule/access.h"
#include "schedule/barriers.h"
#include "schedule/cost.h"
#include "schedule/online_softmax.h"
#include "schedule/registers.h"
#include "schedule/schedule.h"
#include "schedule/transform.h"
#include "schedule/transpose_gpu.h"
#include "schedule/unblock.h"
#include "schedule/widen_halves.h"

namespace ourjit::loop {
namespace {

constexpr int kBlockThreads = 256;
constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;
constexpr int64_t kVectorBytes = 16;  // of one memory access
constexpr int kMostWidth = 8;         // elements of a thread side by side
constexpr int kLongBody = 24;         // operations from which a thread takes half as many
constexpr double kVectorsOfThread =
    2;                             // of one row, as long as there are more threads: few registers
constexpr int64_t kFewWords = 24;  // of a thread's registers
constexpr int64_t kThreadLocalBytes = 16 * 1024;
constexpr int kColumns = 32, kColumnRows = 8;  // threads of a block that reduces columns
constexpr double kBlocksWanted = 2;            // blocks for each multiprocessor

// What an access costs each element of a loop, in elements moved.
constexpr double kSame = 1.0 / 32, kNext = 1, kFar = 8;
constexpr double kOnceARow = 2, kAlike = 256;  // where all threads do the same
constexpr double kOperation = 0.25;
constexpr double kThreadReduction = 64;  // combining a reduction over threads
constexpr double kNever = std::numeric_limits<double>::infinity();

int64_t power_of_two_from(double x) {
  int64_t n = 1;
  while (static_cast<double>(n) < x) n *= 2;
  return n;
}

bool holds_loop(const std::vector<Node>& body) {
  return std::any_of(body.begin(), body.end(),
                     [](const Node& n) { return std::holds_alternative<For>(n.v); });
}

const Sym* accessed(const Node& n) {
  if (const Load* l = std::get_if<Load>(&n.v)) return &l->index;
  if (const Store* s = std::get_if<Store>(&n.v)) return &s->index;
  return nullptr;
}

class GpuScheduler {
 public:
  GpuScheduler(Kernel k, const GpuTarget& target) : k_(std::move(k)), target_(target) {}

  Kernel run() {
    remove_unused(k_);
    simplify_indices(k_);
    unblock_parallel_loop(k_);
    if (tile_through_shared(k_, target_)) {
      simplify_indices(k_);
      return std::move(k_);
    }
    values_ = guesses(k_);
    k_.threads_x = k_.threads_y = 1;
    For* p = parallel_loop(k_);
    if (p && cost_of_iterations(*p) <= nests_cost(p->body, bounds_in(*p, {}), kOnceARow))
      deal_out_iterations(*p);
    else
      deal_out_rows(p);
    widen_half_locals(k_);
    remove_unused(k_);
    insert_barriers(k_);
    simplify_indices(k_);
    return std::move(k_);
  }

 private:
  // --- which loop runs along the threads of axis x ---

  /// What `body` costs, in elements moved, when neighbouring threads take neighbouring iterations
  /// of the loop of `v`.
  double work(const std::vector<Node>& body, const Varying& v) const {
    double sum = 0;
    for (const Node& n : body) {
      if (const For* f = std::get_if<For>(&n.v)) sum += trips(*f, values_) * work(f->body, v);
      if (const Sym* index = accessed(n)) {
        const Step step = step_of(*index, v);
        sum += step == Step::Same ? kSame : step == Step::Next ? kNext : kFar;
      }
      if (std::holds_alternative<Compute>(n.v)) sum += kOperation;
    }
    return sum;
  }

  bool can_deal_out(const For& f, const SymBounds& bounds) const {
    const std::set<std::string> own = shared_locals(k_, f);
    return f.kind == LoopKind::Serial && local_bytes(own) <= kThreadLocalBytes &&
           can_vectorize(f, bounds, own);
  }

  std::set<std::string> all_locals() const {
    std::set<std::string> names;
    for (const Local& l : k_.locals) names.insert(l.name);
    return names;
  }

  int64_t local_bytes(const std::set<std::string>& names) const {
    int64_t bytes = 0;
    for (const Local& l : k_.locals)
      if (names.contains(l.name)) bytes += l.size * dtype_bytes(l.dtype);
    return bytes;
  }

  /// Each thread takes whole iterations of the parallel loop.
  double cost_of_iterations(const For& p) const {
    if (local_bytes(all_locals()) > kThreadLocalBytes) return kNever;
    if (!holds_loop(p.body)) return 0;
    const double n = trips(p, values_), wanted = kWarp * kBlocksWanted * target_.multiprocessors;
    const double idle = reduces_columns(p) ? kColumnRows : 1;
    return work(p.body, varying_in(p)) * std::max(1.0, wanted / std::max(1.0, n * idle));
  }

  double dealt_cost(const For& f, const SymBounds& bounds) const {
    if (!can_deal_out(f, bounds)) return kNever;
    const double n = trips(f, values_);
    return n * work(f.body, varying_in(f)) * std::max(1.0, 8 / std::max(1.0, n)) +
           kThreadReduction * static_cast<double>(f.reductions.size());
  }

  double nests_cost(const std::vector<Node>& body, const SymBounds& bounds, double alike) const {
    double sum = 0;
    for (const Node& n : body) {
      if (const For* f = std::get_if<For>(&n.v))
        sum += std::min(dealt_cost(*f, bounds), around_cost(*f, bounds));
      if (accessed(n)) sum += alike;
      if (std::holds_alternative<Compute>(n.v)) sum += alike * kOperation;
    }
    return sum;
  }

  double around_cost(const For& f, const SymBounds& bounds) const {
    return trips(f, values_) * nests_cost(f.body, bounds_in(f, bounds), kAlike);
  }

  /// Chooses loops for axis x in `body`.
  void deal_out_nests(std::vector<Node>& body, const SymBounds& bounds, bool single_row) {
    for (Node& n : body) {
      For* f = std::get_if<For>(&n.v);
      if (!f) continue;
      if (dealt_cost(*f, bounds) <= around_cost(*f, bounds)) {
        make_private(shared_locals(k_, *f));
        f->width = width_of(*f, single_row);
        f->kind = LoopKind::ThreadX;
      } else {
        deal_out_nests(f->body, bounds_in(*f, bounds), single_row);
      }
    }
  }

  void make_private(const std::set<std::string>& names) {
    for (Local& l : k_.locals)
      if (names.contains(l.name)) l.space = Space::Thread;
  }

  /// Adjacent iterations that a thread takes, for 128-bit accesses: of the narrowest elements, but
  /// bytes beside wider ones do not count.
  int width_of(const For& f, bool single_row) const {
    if (holds_loop(f.body) || !shared_locals(k_, f).empty()) return 1;
    const Varying v = varying_in(f);
    int64_t narrowest = 0;
    int operations = 0;
    for (const Node& n : f.body) {
      operations += std::holds_alternative<Compute>(n.v);
      const Sym* index = accessed(n);
      if (!index || step_of(*index, v) != Step::Next) continue;
      const Load* l = std::get_if<Load>(&n.v);
      const int64_t bytes =
          dtype_bytes(memory_dtype(k_, l ? l->buffer : std::get<Store>(n.v).buffer));
      if (narrowest <= 1 || bytes > 1)
        narrowest = narrowest <= 1 ? bytes : std::min(narrowest, bytes);
    }
    if (narrowest == 0) return 1;
    int64_t width = std::min<int64_t>(kVectorBytes / narrowest, kMostWidth);
    if (operations > kLongBody) width = std::min<int64_t>(width, kMostWidth / 2);
    const Sym length = f.end - f.begin;
    // A row that has the device to itself is dealt out to a warp at least.
    const double threads = single_row ? kWarp : 2;
    while (width > 1 && (trips(f, values_) < threads * static_cast<double>(width) ||
                         (!single_row && length.is_const() && length.value() % width != 0)))
      width /= 2;
    return static_cast<int>(width);
  }

  // --- threads take iterations of the parallel loop ---

  bool reduces_columns(const For& p) const {
    bool any = false;
    for (const Node& n : p.body) {
      const For* f = std::get_if<For>(&n.v);
      if (!f) continue;
      bool stores = false;
      for_each_node(f->body, [&](const Node& x) { stores |= std::holds_alternative<Store>(x.v); });
      if (f->reductions.empty() || stores || f->begin.mentions(p.var) || f->end.mentions(p.var) ||
          trips(*f, values_) < 2 * kColumnRows)
        return false;
      any = true;
    }
    return any;
  }

  void deal_out_iterations(For& p) {
    make_private(all_locals());
    const bool columns = reduces_columns(p);
    k_.threads_x = columns ? kColumns : kBlockThreads;
    k_.threads_y = columns ? kColumnRows : 1;
    if (columns)
      for (Node& n : p.body)
        if (For* f = std::get_if<For>(&n.v)) f->kind = LoopKind::ThreadY;
    const int width = holds_loop(p.body) ? 1 : width_of(p, true);
    const std::string outer = fresh_name(k_, p.var + "_b");
    p = tiled(k_, std::move(p), int64_t{k_.threads_x} * width, outer);
    For& threads = std::get<For>(p.body.back().v);
    threads.kind = LoopKind::ThreadX;
    threads.width = width;
  }

  // --- blocks or warps take rows ---

  void deal_out_rows(For* p) {
    // An unknown number of rows is taken to be large.
    const bool known = !p || (p->end - p->begin).is_const();
    const double rows = !p ? 1 : known ? trips(*p, values_) : kNever;
    const bool single_row = !p || (p->end - p->begin).is_const(1);
    std::vector<Node>& body = p ? p->body : k_.body;
    unblock_serial_loops(body);
    deal_out_nests(body, p ? bounds_in(*p, {}) : SymBounds(), single_row);
    equalize_widths(body);
    choose_threads(body, rows, p ? p->var : "");
    keep_rows();
    merge_softmax_passes(k_);
    p = parallel_loop(k_);
    while (k_.threads_y > 1 && shared_bytes() * k_.threads_y > target_.shared_bytes)
      k_.threads_y /= 2;
    OURJIT_CHECK(shared_bytes() <= target_.shared_bytes)
        << "@" << k_.name << " keeps " << shared_bytes() << " bytes of a row";
    if (!p || k_.threads_y == 1) return;
    const std::string outer = fresh_name(k_, p->var + "_b");
    const Sym row = Sym::symbol(p->var) - Sym::symbol(outer) * k_.threads_y;
    give_rows_locals(*p, row);
    *p = tiled(k_, std::move(*p), k_.threads_y, outer);
    std::get<For>(p->body.back().v).kind = LoopKind::ThreadY;
  }

  /// Threads that the longest row could use.
  double longest_row(const std::vector<Node>& body) const {
    double longest = 1;
    for_each_node(body, [&](const Node& n) {
      const For* f = std::get_if<For>(&n.v);
      if (f && f->kind == LoopKind::ThreadX)
        longest = std::max(longest, std::ceil(trips(*f, values_) / f->width));
    });
    return longest;
  }

  /// Keeps values of a row in registers; where that takes many, more threads share the row.
  void keep_rows() {
    const Kernel before = k_;
    const int64_t most = std::min<int64_t>(power_of_two_from(longest_row(k_.body)), kMostThreads);
    while (keep_in_registers(k_) > kFewWords && k_.threads_y == 1 && k_.threads_x < most) {
      const int x = k_.threads_x;
      k_ = before;
      k_.threads_x = 2 * x;
    }
  }

  /// Loops over the same range get the same width, so that the same thread takes an iteration in
  /// each of them.
  static void equalize_widths(std::vector<Node>& body) {
    std::map<std::pair<Sym, Sym>, int> least;
    for_each_node(body, [&](Node& n) {
      const For* f = std::get_if<For>(&n.v);
      if (!f || f->kind != LoopKind::ThreadX) return;
      int& width = least.emplace(std::pair(f->begin, f->end), f->width).first->second;
      width = std::min(width, f->width);
    });
    for_each_node(body, [&](Node& n) {
      For* f = std::get_if<For>(&n.v);
      if (f && f->kind == LoopKind::ThreadX) f->width = least.at({f->begin, f->end});
    });
  }

  int64_t shared_bytes() const {
    int64_t bytes = 0;
    for (const Local& l : k_.locals)
      if (l.space == Space::Task) bytes += l.size * dtype_bytes(l.dtype);
    return bytes;
  }

  /// Threads of a row and rows of a block.
  void choose_threads(const std::vector<Node>& body, double rows, const std::string& row) {
    const double longest = longest_row(body);
    bool meet = false, even = true;
    int loops = 0;
    for_each_node(body, [&](const Node& n) {
      const For* f = std::get_if<For>(&n.v);
      if (!f) return;
      if (f->kind == LoopKind::ThreadX) {
        ++loops;
        meet |= !f->reductions.empty();
      } else {
        // Rows of one warp must agree on how often they go round.
        even &= row.empty() || (!f->begin.mentions(row) && !f->end.mentions(row));
      }
    });
    meet |= loops > 1 || shared_bytes() > 0;
    const double few = kBlocksWanted * target_.multiprocessors;
    int64_t x = 0, y = 1;
    if (meet && (longest > kWarp * kVectorsOfThread || rows < few || !even)) {
      x = std::clamp<int64_t>(power_of_two_from(longest / kVectorsOfThread), kWarp, kMostThreads);
    } else if (meet) {
      x = std::min<int64_t>(power_of_two_from(longest), kWarp);
      y = kBlockThreads / x;
    } else {
      x = least_waste(longest);
      y = kBlockThreads / x;
    }
    while (y > 1 && rows / static_cast<double>(y) < few) y /= 2;
    if (y == 1) x = std::max<int64_t>(x, kWarp);
    k_.threads_x = static_cast<int>(x);
    k_.threads_y = static_cast<int>(y);
  }

  /// The number of threads that leaves the fewest of them idle over a row of n pieces.
  static int64_t least_waste(double n) {
    const int64_t most = std::min<int64_t>(power_of_two_from(n), kBlockThreads);
    int64_t best = most;
    double least = kNever;
    for (int64_t x = most; x >= std::min<int64_t>(most, kWarp / 2); x /= 2) {
      const double used = std::ceil(n / static_cast<double>(x)) * static_cast<double>(x);
      if (used < 0.9 * least) {
        least = used;
        best = x;
      }
    }
    return best;
  }

  /// Each row of a block has its own part of the shared locals.
  void give_rows_locals(For& p, const Sym& row) {
    for (Local& l : k_.locals) {
      if (l.space != Space::Task) continue;
      const int64_t size = l.size;
      l.size *= k_.threads_y;
      for_each_node(p.body, [&](Node& n) {
        if (Load* x = std::get_if<Load>(&n.v); x && x->buffer == l.name)
          x->index = x->index + row * size;
        if (Store* x = std::get_if<Store>(&n.v); x && x->buffer == l.name)
          x->index = x->index + row * size;
      });
    }
  }

  Kernel k_;
  GpuTarget target_;
  SymEnv values_;
};

}  // namespace

Kernel schedule_gpu(Kernel k, const GpuTarget& target) {
  return GpuScheduler(std::move(k), target).run();
}

}  // namespace ourjit::loop
