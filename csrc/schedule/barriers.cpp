#include "schedule/barriers.h"

#include <algorithm>
#include <set>
#include <string>

#include "loop/simplify.h"
#include "loop/visit.h"
#include "schedule/access.h"

namespace ourjit::loop {
namespace {

/// A serial loop of the block; the number tells loops with equal variables apart.
struct Around {
  int number;
  For loop;
};

/// A thread loop as a whole, or a load or store that all threads of a block come to.
struct Item {
  std::set<std::string> reads, writes;
  For loop;                    // a thread loop; without a variable otherwise
  std::vector<Around> around;  // from the outside in

  bool is_loop() const { return !loop.var.empty(); }
};

bool meet(const std::set<std::string>& a, const std::set<std::string>& b) {
  return std::any_of(a.begin(), a.end(), [&](const std::string& x) { return b.contains(x); });
}

class BarrierInserter {
 public:
  explicit BarrierInserter(Kernel& k) : k_(k) {
    for (const Local& l : k.locals)
      if (l.space == Space::Thread) private_.insert(l.name);
  }

  void run() { block(k_.body, {}); }

 private:
  /// Statements of one block in their order. Loops over blocks and over rows of axis y begin with
  /// nothing to wait for.
  void block(std::vector<Node>& body, const SymBounds& bounds) {
    std::vector<Node> out;
    for (Node& n : body) {
      For* f = std::get_if<For>(&n.v);
      if (f && (f->kind == LoopKind::Parallel || f->kind == LoopKind::ThreadY)) {
        block(f->body, bounds_in(*f, bounds));
        pending_.clear();
      } else if (f && !is_thread_loop(*f)) {
        around_.push_back({loops_++, *f});
        // The second time, what the iteration before left behind is pending.
        block(f->body, bounds_in(*f, bounds));
        block(f->body, bounds_in(*f, bounds));
        around_.pop_back();
      } else if (std::optional<Item> item = item_of(n)) {
        const bool wait = std::any_of(pending_.begin(), pending_.end(), [&](const Item& earlier) {
          return conflict(earlier, *item, bounds);
        });
        if (wait) {
          out.push_back({Barrier{}});
          pending_.clear();
        }
        pending_.push_back(std::move(*item));
      } else if (std::holds_alternative<Barrier>(n.v)) {
        pending_.clear();
      }
      out.push_back(std::move(n));
    }
    body = std::move(out);
  }

  std::optional<Item> item_of(const Node& n) const {
    Item item;
    const auto look = [&](const Node& x) {
      if (const Load* l = std::get_if<Load>(&x.v); l && !private_.contains(l->buffer))
        item.reads.insert(l->buffer);
      if (const Store* s = std::get_if<Store>(&x.v); s && !private_.contains(s->buffer))
        item.writes.insert(s->buffer);
    };
    if (const For* f = std::get_if<For>(&n.v)) {
      item.loop = *f;
      for_each_node(f->body, look);
    } else {
      look(n);
    }
    if (item.reads.empty() && item.writes.empty()) return std::nullopt;
    item.around = around_;
    return item;
  }

  bool conflict(const Item& a, const Item& b, const SymBounds& bounds) const {
    if (!meet(a.writes, b.reads) && !meet(a.writes, b.writes) && !meet(a.reads, b.writes))
      return false;
    // Stores of all threads alike are made by the same one.
    if (!a.is_loop() && !b.is_loop()) return !a.reads.empty() || !b.reads.empty();
    if (!a.is_loop() || !b.is_loop()) return true;
    return !same_owners(a, b, bounds);
  }

  /// True if the threads that take an iteration of `a` and of `b` are the same ones, and no thread
  /// meets what another one writes, whatever the iterations of the loops around both.
  bool same_owners(const Item& a, const Item& b, const SymBounds& bounds) const {
    if (a.loop.kind != b.loop.kind || a.loop.begin != b.loop.begin || a.loop.end != b.loop.end ||
        a.loop.width != b.loop.width)
      return false;
    std::vector<Node> second = b.loop.body;
    if (b.loop.var != a.loop.var)
      map_syms(second, [&](const Sym& s) {
        return s.substitute([&](std::string_view name) -> std::optional<Sym> {
          if (name == b.loop.var) return Sym::symbol(a.loop.var);
          return std::nullopt;
        });
      });
    // One loop over the thread's iterations, with the loops around inside: its lanes are the
    // threads.
    size_t common = 0;
    while (common < std::min(a.around.size(), b.around.size()) &&
           a.around[common].number == b.around[common].number)
      ++common;
    For both = a.loop;
    both.kind = LoopKind::Serial;
    both.width = 1;
    both.reductions.clear();
    both.body = wrapped(a.loop.body, a.around, common);
    for (Node& n : wrapped(std::move(second), b.around, common)) both.body.push_back(std::move(n));
    std::vector<Around> shared(a.around.begin(), a.around.begin() + static_cast<int64_t>(common));
    both.body = wrapped(std::move(both.body), shared, 0);
    return can_vectorize(both, bounds, private_);
  }

  /// `body` in the loops of `around` from the one numbered `from` on.
  static std::vector<Node> wrapped(std::vector<Node> body, const std::vector<Around>& around,
                                   size_t from) {
    for (size_t i = around.size(); i-- > from;) {
      For f = around[i].loop;
      f.body = std::move(body);
      f.reductions.clear();
      body.clear();
      body.push_back({std::move(f)});
    }
    return body;
  }

  Kernel& k_;
  std::set<std::string> private_;
  std::vector<Item> pending_;
  std::vector<Around> around_;  // serial loops that are open
  int loops_ = 0;
};

}  // namespace

void insert_barriers(Kernel& k) { BarrierInserter(k).run(); }

}  // namespace ourjit::loop
