#include "schedule/registers.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "base/error.h"
#include "loop/simplify.h"
#include "loop/visit.h"

namespace ourjit::loop {
namespace {

constexpr int64_t kWords = 48;  // registers of 32 bits that a thread may keep values in

/// A loop over threads and the serial loops around it within a block, from the outside in.
struct Site {
  For* loop;
  std::vector<const For*> around;
};

/// A load or store that stands directly in a thread loop.
struct Use {
  size_t site;
  size_t node;  // in the loop's body
  bool is_store;
  Sym index;  // with the loop's variable named kVariable
};

/// All uses of a memory.
struct Uses {
  std::vector<Use> uses;   // in program order
  bool elsewhere = false;  // it is used outside of thread loops, masked, added to or in inner loops
};

const std::string kVariable = "@v";

Sym renamed(const Sym& s, const std::string& from, const std::string& to) {
  if (!s.mentions(from)) return s;
  return s.substitute([&](std::string_view name) -> std::optional<Sym> {
    if (name == from) return Sym::symbol(to);
    return std::nullopt;
  });
}

class RegisterKeeper {
 public:
  explicit RegisterKeeper(Kernel& k) : k_(k) {}

  int64_t run() {
    std::vector<Node>* body = &k_.body;
    // The statements of one block, or of one row of a block.
    if (For* p = parallel_loop(k_)) body = &p->body;
    locals_of_block(*body);
    across_rows(*body);
    across_loops(*body);
    return words_;
  }

 private:
  using Key = std::tuple<std::string, Sym, Sym, int, Sym>;  // memory, begin, end, width, index

  // --- what is there ---

  void look(std::vector<Node>& body) {
    sites_.clear();
    memories_.clear();
    variables_.clear();
    collect(body, {});
  }

  void collect(std::vector<Node>& body, std::vector<const For*> around) {
    for (Node& n : body) {
      if (For* f = std::get_if<For>(&n.v)) {
        if (f->kind == LoopKind::ThreadX) {
          sites_.push_back({f, around});
          collect_loop(*f, sites_.size() - 1);
        } else {
          variables_.insert(f->var);
          auto inner = around;
          inner.push_back(f);
          collect(f->body, std::move(inner));
        }
      } else if (const Bind* b = std::get_if<Bind>(&n.v)) {
        variables_.insert(b->symbol);
      } else {
        elsewhere(n);
      }
    }
  }

  void elsewhere(const Node& n) {
    if (const Load* l = std::get_if<Load>(&n.v)) memories_[l->buffer].elsewhere = true;
    if (const Store* s = std::get_if<Store>(&n.v)) memories_[s->buffer].elsewhere = true;
  }

  void collect_loop(const For& f, size_t site) {
    std::set<std::string> inner;  // symbols that the loop's body defines
    for (size_t i = 0; i < f.body.size(); ++i) {
      const Node& n = f.body[i];
      if (const For* nested = std::get_if<For>(&n.v))
        for_each_node(nested->body, [&](const Node& x) { elsewhere(x); });
      if (const Bind* b = std::get_if<Bind>(&n.v)) inner.insert(b->symbol);
      const Load* l = std::get_if<Load>(&n.v);
      const Store* s = std::get_if<Store>(&n.v);
      if (!l && !s) continue;
      const Sym& index = l ? l->index : s->index;
      const bool plain = (l ? l->mask == kNone : s->mask == kNone && !s->accumulate) &&
                         std::none_of(inner.begin(), inner.end(),
                                      [&](const std::string& x) { return index.mentions(x); }) &&
                         slots(f) > 0 && is_own(index, f);
      if (plain)
        memories_[l ? l->buffer : s->buffer].uses.push_back(
            {site, i, s != nullptr, renamed(index, f.var, kVariable)});
      else
        elsewhere(n);
    }
  }

  /// Different iterations meet different elements.
  static bool is_own(const Sym& index, const For& f) {
    const auto linear = index.linear_in(f.var);
    return linear && linear->first.is_const() && !linear->first.is_const(0);
  }

  /// The most iterations of one thread; 0 if that is not a number.
  int64_t slots(const For& f) const {
    const std::optional<int64_t> most = most_iterations(f);
    const int64_t stride = int64_t{k_.threads_x} * f.width;
    return most ? (*most + stride - 1) / stride * f.width : 0;
  }

  Key key(const std::string& memory, const Use& u) const {
    const For& f = *sites_[u.site].loop;
    return {memory, f.begin, f.end, f.width, u.index};
  }

  bool one_key(const std::string& memory, const std::vector<Use>& uses) const {
    return std::all_of(uses.begin(), uses.end(),
                       [&](const Use& u) { return key(memory, u) == key(memory, uses[0]); });
  }

  bool mentions_loop(const Sym& index) const {
    return std::any_of(variables_.begin(), variables_.end(),
                       [&](const std::string& v) { return index.mentions(v); });
  }

  /// True if a thread meets the same elements in all iterations of the loops around.
  bool stays(const Use& u) const {
    const For& f = *sites_[u.site].loop;
    return !mentions_loop(u.index) && !mentions_loop(f.begin) && !mentions_loop(f.end);
  }

  static bool has_store(const std::vector<Use>& uses) {
    return std::any_of(uses.begin(), uses.end(), [](const Use& u) { return u.is_store; });
  }

  // --- registers ---

  bool take(DType t, int64_t slots) {
    const int64_t words = slots * std::max<int64_t>(1, dtype_bytes(t) / 4);
    if (slots == 0 || words_ + words > kWords) return false;
    words_ += words;
    return true;
  }

  std::string new_local(DType t, int64_t size) {
    const std::string name = fresh_name(k_, "t" + std::to_string(k_.locals.size()));
    k_.locals.push_back({name, t, size, Space::Thread});
    return name;
  }

  Sym slot(For& f) {
    if (f.slot.empty()) f.slot = fresh_name(k_, f.var + "_s");
    return Sym::symbol(f.slot);
  }

  void redirect(const Use& u, const std::string& local) {
    For& f = *sites_[u.site].loop;
    const Sym at = slot(f);
    Node& n = f.body[u.node];
    if (Load* l = std::get_if<Load>(&n.v)) {
      l->buffer = local;
      l->index = at;
    } else {
      Store& s = std::get<Store>(n.v);
      s.buffer = local;
      s.index = at;
    }
  }

  /// `for v threads { to[..] = from[..] }` over the range of `like`, between memory (at `index`)
  /// and a local.
  Node copy_loop(const For& like, const std::string& memory, const Sym& index,
                 const std::string& local, bool to_memory) {
    For f;
    f.kind = LoopKind::ThreadX;
    f.width = like.width;
    f.begin = like.begin;
    f.end = like.end;
    f.var = fresh_name(k_, "e");
    f.slot = fresh_name(k_, "e_s");
    const auto value = static_cast<ValueId>(k_.types.size());
    k_.types.push_back(memory_dtype(k_, memory));
    const Sym at = renamed(index, kVariable, f.var), in_local = Sym::symbol(f.slot);
    f.body.push_back({Load{value, to_memory ? local : memory, to_memory ? in_local : at}});
    f.body.push_back({Store{to_memory ? memory : local, to_memory ? at : in_local, value}});
    return {std::move(f)};
  }

  // --- what is kept ---

  /// Locals of the block of which each thread meets its own elements only.
  void locals_of_block(std::vector<Node>& body) {
    look(body);
    for (Local& l : k_.locals) {
      if (l.space != Space::Task) continue;
      const auto it = memories_.find(l.name);
      if (it == memories_.end() || it->second.elsewhere) continue;
      const std::vector<Use>& uses = it->second.uses;
      if (!one_key(l.name, uses) || !stays(uses[0])) continue;
      const int64_t size = slots(*sites_[uses[0].site].loop);
      if (!take(l.dtype, size)) continue;
      for (const Use& u : uses) redirect(u, l.name);
      l.space = Space::Thread;
      l.size = size;
    }
  }

  /// Elements that every iteration of a serial loop loads, or loads and stores again.
  void across_rows(std::vector<Node>& body) {
    look(body);
    std::vector<Node> before, after;
    std::map<Key, std::vector<Use>> groups;
    std::set<std::string> written;
    for (const auto& [memory, m] : memories_) {
      if (is_local(k_, memory)) continue;
      if (has_store(m.uses) || (m.elsewhere && is_written(memory))) {
        written.insert(memory);
        if (m.elsewhere || !one_key(memory, m.uses)) continue;
      }
      for (const Use& u : m.uses)
        if (stays(u)) groups[key(memory, u)].push_back(u);
    }
    for (const auto& [key, uses] : groups) {
      const std::string& memory = std::get<0>(key);
      if (written.contains(memory) && uses.size() != memories_.at(memory).uses.size()) continue;
      const bool repeated = std::any_of(
          uses.begin(), uses.end(), [&](const Use& u) { return !sites_[u.site].around.empty(); });
      const For& loop = *sites_[uses[0].site].loop;
      const DType t = memory_dtype(k_, memory);
      if (!repeated || !take(t, slots(loop))) continue;
      const std::string local = new_local(t, slots(loop));
      // Before a first store in a serial loop, which may not run, the old values must be there.
      if (!uses[0].is_store || !sites_[uses[0].site].around.empty())
        before.push_back(copy_loop(loop, memory, uses[0].index, local, false));
      for (const Use& u : uses) redirect(u, local);
      if (has_store(uses)) after.push_back(copy_loop(loop, memory, uses[0].index, local, true));
    }
    body.insert(body.begin() + first_loop(body), before.begin(), before.end());
    body.insert(body.end(), after.begin(), after.end());
  }

  /// Where the first loop of `body` stands: everything that ranges and indices need is defined
  /// before.
  static int64_t first_loop(const std::vector<Node>& body) {
    const auto it = std::find_if(body.begin(), body.end(),
                                 [](const Node& n) { return std::holds_alternative<For>(n.v); });
    return it - body.begin();
  }

  bool is_written(const std::string& memory) const {
    for (const Buffer& b : k_.buffers)
      if (b.name == memory) return b.access != Access::In;
    return true;
  }

  /// Elements that several loops of one row load, or load after storing them.
  void across_loops(std::vector<Node>& body) {
    look(body);
    std::map<Key, std::vector<Use>> groups;
    for (const auto& [memory, m] : memories_) {
      if (is_local(k_, memory)) continue;
      // Stores through other indices might change what is kept.
      if (is_written(memory) && (m.elsewhere || !one_key(memory, m.uses))) continue;
      for (const Use& u : m.uses) groups[key(memory, u)].push_back(u);
    }
    std::map<size_t, std::vector<std::pair<size_t, Node>>> insertions;  // by site: after which node
    for (const auto& [key, uses] : groups) {
      const Site& first = sites_[uses[0].site];
      const bool together = std::all_of(uses.begin(), uses.end(), [&](const Use& u) {
        return sites_[u.site].around == first.around;
      });
      const bool again = std::any_of(uses.begin() + 1, uses.end(), [&](const Use& u) {
        return !u.is_store && u.site != uses[0].site;
      });
      const DType t = memory_dtype(k_, std::get<0>(key));
      if (!together || !again || !take(t, slots(*first.loop))) continue;
      const std::string local = new_local(t, slots(*first.loop));
      for (const Use& u : uses) {
        For& f = *sites_[u.site].loop;
        const Node& n = f.body[u.node];
        if (u.is_store || u.site == uses[0].site) {
          const ValueId value =
              u.is_store ? std::get<Store>(n.v).value : std::get<Load>(n.v).result;
          insertions[u.site].push_back({u.node, {Store{local, slot(f), value}}});
        } else {
          redirect(u, local);
        }
      }
    }
    for (auto& [site, list] : insertions) {
      std::stable_sort(list.begin(), list.end(),
                       [](const auto& a, const auto& b) { return a.first > b.first; });
      std::vector<Node>& nodes = sites_[site].loop->body;
      for (auto& [at, n] : list)
        nodes.insert(nodes.begin() + static_cast<int64_t>(at) + 1, std::move(n));
    }
  }

  Kernel& k_;
  std::vector<Site> sites_;
  std::map<std::string, Uses> memories_;
  std::set<std::string> variables_;  // of serial loops, and bound symbols
  int64_t words_ = 0;
};

}  // namespace

int64_t keep_in_registers(Kernel& k) { return RegisterKeeper(k).run(); }

}  // namespace ourjit::loop
