#include "schedule/partition.h"

#include <algorithm>
#include <map>
#include <set>

#include "loop/visit.h"
#include "schedule/transform.h"

namespace ourjit::loop {
namespace {

constexpr size_t kMostPieces = 8;
constexpr size_t kMostNodes = 400;  // in all pieces together
constexpr int64_t kLeastPiece = 8;  // iterations

/// A comparison of var + offset with a value that does not change in the loop.
struct Comparison {
  ScalarOp op;
  Sym value;  // offset subtracted

  /// The first value of the variable for which the result may differ from that of the one before.
  Sym boundary() const { return op == ScalarOp::lt || op == ScalarOp::ge ? value : value + Sym(1); }
  /// What it is for all values in [begin, end), if it is the same.
  std::optional<bool> holds(const Sym& begin, const Sym& end) const {
    const bool below = op == ScalarOp::lt || op == ScalarOp::le;
    if (nonnegative(boundary() - end)) return below;
    if (nonnegative(begin - boundary())) return !below;
    return std::nullopt;
  }
};

bool is_ordering(ScalarOp op) {
  return op == ScalarOp::lt || op == ScalarOp::le || op == ScalarOp::gt || op == ScalarOp::ge;
}

/// Integer constants and plain indices of a kernel, by value.
struct Facts {
  std::map<ValueId, Sym> indices;
  std::set<std::string, std::less<>> variables;  // of loops, and bound symbols

  void add(const std::vector<Node>& body) {
    for_each_node(body, [&](const Node& n) {
      if (const Const* c = std::get_if<Const>(&n.v); c && !is_float(c->dtype))
        indices[c->result] = Sym(static_cast<int64_t>(c->bits));
      if (const Index* i = std::get_if<Index>(&n.v)) indices[i->result] = i->expr;
      if (const For* f = std::get_if<For>(&n.v)) variables.insert(f->var);
      if (const Bind* b = std::get_if<Bind>(&n.v)) variables.insert(b->symbol);
    });
  }

  std::optional<Comparison> comparison(const Compute& c, const std::string& var) const {
    if (!is_ordering(c.op)) return std::nullopt;
    const auto left = indices.find(c.args[0]), right = indices.find(c.args[1]);
    if (left == indices.end() || right == indices.end()) return std::nullopt;
    const Sym value = right->second - (left->second - Sym::symbol(var));
    const auto varies = [&](const std::string& name) { return variables.contains(name); };
    if (std::ranges::any_of(value.symbols(), varies)) return std::nullopt;
    return Comparison{c.op, value};
  }
};

/// Replaces what is known by constants and by other values, in one walk.
class Folder {
 public:
  /// For a piece of a loop.
  Folder(const Facts& facts, const std::vector<DType>& types, const For& piece)
      : facts_(facts), types_(types), var_(piece.var), begin_(piece.begin), end_(piece.end) {}

  void fold(std::vector<Node>& body) {
    std::vector<Node> out;
    for (Node& n : body) {
      if (!zeros_.empty()) map_syms(n, [&](const Sym& x) { return without_zeros(x); });
      const bool keep = std::visit(Overloaded{
                                       [](Const&) { return true; },
                                       [](Index&) { return true; },
                                       [&](Compute& c) { return compute(c, n); },
                                       [&](Load& l) { return load(l, n); },
                                       [&](Store& s) {
                                         use(s.value);
                                         use(s.mask);
                                         return unmask(s.mask);
                                       },
                                       [&](Bind& b) {
                                         use(b.value);
                                         use(b.mask);
                                         if (unmask(b.mask)) return true;
                                         zeros_.insert(b.symbol);
                                         return false;
                                       },
                                       [](Barrier&) { return true; },
                                       [&](For& f) {
                                         fold(f.body);
                                         for (Reduction& r : f.reductions) use(r.value);
                                         return true;
                                       },
                                   },
                                   n.v);
      if (keep) out.push_back(std::move(n));
    }
    body = std::move(out);
  }

 private:
  void use(ValueId& v) const {
    if (const auto it = same_.find(v); it != same_.end()) v = it->second;
  }

  std::optional<bool> known(ValueId v) const {
    const auto it = known_.find(v);
    if (it == known_.end()) return std::nullopt;
    return it->second;
  }

  /// Drops a mask that is known to hold; false if it is known not to.
  bool unmask(ValueId& mask) const {
    if (mask == kNone) return true;
    const auto holds = known(mask);
    if (!holds.value_or(false)) return !holds;
    mask = kNone;
    return true;
  }

  bool decide(Compute& c, Node& n, bool value) {
    known_[c.result] = value;
    n.v = Const{c.result, DType::boolean, value};
    return true;
  }

  bool compute(Compute& c, Node& n) {
    for (ValueId& a : c.args) use(a);
    if (const auto comparison = facts_.comparison(c, var_))
      if (const auto holds = comparison->holds(begin_, end_)) return decide(c, n, *holds);
    const auto a = known(c.args[0]);
    const auto b = c.args.size() > 1 ? known(c.args[1]) : std::nullopt;
    switch (c.op) {
      case ScalarOp::where:
        if (!a) return true;
        same_[c.result] = c.args[*a ? 1 : 2];
        return false;
      case ScalarOp::bitwise_and:
      case ScalarOp::bitwise_or: {
        if (!a && !b) return true;
        const bool all = c.op == ScalarOp::bitwise_and;
        if ((a && *a != all) || (b && *b != all)) return decide(c, n, !all);
        if (a && b) return decide(c, n, all);
        same_[c.result] = c.args[a ? 1 : 0];
        return false;
      }
      case ScalarOp::bitwise_not:
      case ScalarOp::logical_not:
        return a ? decide(c, n, !*a) : true;
      default:
        return true;
    }
  }

  bool load(Load& l, Node& n) {
    use(l.mask);
    const DType t = types_[static_cast<size_t>(l.result)];
    // There are no constants of 16-bit floats.
    if (compute_dtype(t) != t || unmask(l.mask)) return true;
    n.v = Const{l.result, t, 0};
    return true;
  }

  Sym without_zeros(const Sym& x) const {
    return x.substitute([&](std::string_view name) -> std::optional<Sym> {
      if (zeros_.contains(name)) return Sym(0);
      return std::nullopt;
    });
  }

  const Facts& facts_;
  const std::vector<DType>& types_;
  std::string var_;
  Sym begin_, end_;
  std::map<ValueId, bool> known_;
  std::map<ValueId, ValueId> same_;
  std::set<std::string, std::less<>> zeros_;  // bound symbols that are masked off
};

bool has_effect(const Node& n) {
  if (std::holds_alternative<Store>(n.v) || std::holds_alternative<For>(n.v) ||
      std::holds_alternative<Bind>(n.v) || std::holds_alternative<Barrier>(n.v))
    return true;
  const Compute* c = std::get_if<Compute>(&n.v);
  return c && !is_float(c->dtype) &&
         (c->op == ScalarOp::floor_div || c->op == ScalarOp::trunc_div || c->op == ScalarOp::mod ||
          c->op == ScalarOp::fmod);
}

/// Removes statements that nobody needs; `used` grows from the end to the begin.
void drop_unused(std::vector<Node>& body, std::set<ValueId>& used) {
  std::vector<Node> kept;
  for (size_t i = body.size(); i-- > 0;) {
    Node& n = body[i];
    bool needed = has_effect(n);
    for (const ValueId r : results(n)) needed |= used.contains(r);
    if (!needed) continue;
    for (const ValueId v : operands(n)) used.insert(v);
    if (For* f = std::get_if<For>(&n.v)) drop_unused(f->body, used);
    kept.push_back(std::move(n));
  }
  std::reverse(kept.begin(), kept.end());
  body = std::move(kept);
}

class Partitioner {
 public:
  explicit Partitioner(Kernel& k) : k_(k) { facts_.add(k.body); }

  void run() {
    block(k_.body);
    if (!changed_) return;
    std::set<ValueId> used;
    drop_unused(k_.body, used);
  }

 private:
  void block(std::vector<Node>& body) {
    std::vector<Node> out;
    for (Node& n : body) {
      For* f = std::get_if<For>(&n.v);
      if (f) block(f->body);
      std::vector<Sym> cuts;
      if (f) cuts = boundaries(*f);
      if (cuts.empty()) {
        out.push_back(std::move(n));
        continue;
      }
      changed_ = true;
      cuts.push_back(f->end);
      Sym begin = f->begin;
      for (const Sym& end : cuts) {
        out.push_back({piece(*f, begin, end)});
        facts_.add(std::get<For>(out.back().v).body);
        begin = end;
      }
    }
    body = std::move(out);
  }

  /// Where to cut the loop; empty if it stays whole.
  std::vector<Sym> boundaries(const For& f) const {
    if (f.kind != LoopKind::Serial || !f.reductions.empty()) return {};
    std::vector<Sym> all{f.begin};  // in order, and f.end
    size_t nodes = 0;
    bool ordered = true;
    for_each_node(f.body, [&](const Node& n) {
      ++nodes;
      const Compute* c = std::get_if<Compute>(&n.v);
      const auto comparison = c ? facts_.comparison(*c, f.var) : std::nullopt;
      if (!comparison || comparison->holds(f.begin, f.end)) return;
      const Sym at = comparison->boundary();
      if (std::ranges::count(all, at) > 0) return;
      const auto after =
          std::ranges::find_if(all, [&](const Sym& other) { return nonnegative(other - at); });
      ordered = ordered && nonnegative(f.end - at) && nonnegative(at - *std::prev(after));
      all.insert(after, at);
    });
    all.push_back(f.end);
    const size_t pieces = all.size() - 1;
    const auto is_short = [](const Sym& from, const Sym& to) {
      const Sym length = to - from;
      return length.is_const() && length.value() < kLeastPiece;
    };
    if (!ordered || std::ranges::adjacent_find(all, is_short) != all.end() ||
        pieces > kMostPieces || nodes * pieces > kMostNodes)
      return {};
    return {all.begin() + 1, all.end() - 1};
  }

  For piece(const For& f, const Sym& begin, const Sym& end) {
    For p = f;
    p.begin = begin;
    p.end = end;
    // Pieces share the variable's name, as siblings may.
    p.body = cloned(k_, f.body);
    Facts facts = facts_;
    facts.add(p.body);
    Folder(facts, k_.types, p).fold(p.body);
    return p;
  }

  Kernel& k_;
  Facts facts_;
  bool changed_ = false;
};

}  // namespace

void partition_loops(Kernel& k) { Partitioner(k).run(); }

}  // namespace ourjit::loop
