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

/// A comparison of var + offset with a constant.
struct Comparison {
  ScalarOp op;
  int64_t constant;  // offset subtracted

  /// The first value of the variable for which the result may differ from that of the one before.
  int64_t boundary() const {
    return op == ScalarOp::lt || op == ScalarOp::ge ? constant : constant + 1;
  }
  /// What it is for all values in [begin, end) if boundary() is not inside.
  bool holds(int64_t begin) const {
    return (op == ScalarOp::lt || op == ScalarOp::le) == (begin < boundary());
  }
};

bool is_ordering(ScalarOp op) {
  return op == ScalarOp::lt || op == ScalarOp::le || op == ScalarOp::gt || op == ScalarOp::ge;
}

/// Integer constants and plain indices of a kernel, by value.
struct Facts {
  std::map<ValueId, int64_t> constants;
  std::map<ValueId, Sym> indices;

  void add(const std::vector<Node>& body) {
    for_each_node(body, [&](const Node& n) {
      if (const Const* c = std::get_if<Const>(&n.v); c && !is_float(c->dtype))
        constants[c->result] = static_cast<int64_t>(c->bits);
      if (const Index* i = std::get_if<Index>(&n.v)) indices[i->result] = i->expr;
    });
  }

  std::optional<Comparison> comparison(const Compute& c, const std::string& var) const {
    if (!is_ordering(c.op)) return std::nullopt;
    const auto left = indices.find(c.args[0]);
    const auto right = constants.find(c.args[1]);
    if (left == indices.end() || right == constants.end()) return std::nullopt;
    const Sym offset = left->second - Sym::symbol(var);
    if (!offset.is_const()) return std::nullopt;
    return Comparison{c.op, right->second - offset.value()};
  }
};

/// Replaces what is known by constants and by other values, in one walk.
class Folder {
 public:
  Folder(const Facts& facts, const std::vector<DType>& types, const std::string& var, int64_t begin)
      : facts_(facts), types_(types), var_(var), begin_(begin) {}

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
      return decide(c, n, comparison->holds(begin_));
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
  int64_t begin_;
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
      std::vector<int64_t> cuts;
      if (f) cuts = boundaries(*f);
      if (cuts.empty()) {
        out.push_back(std::move(n));
        continue;
      }
      changed_ = true;
      cuts.push_back(f->end.value());
      int64_t begin = f->begin.value();
      for (const int64_t end : cuts) {
        out.push_back({piece(*f, begin, end)});
        facts_.add(std::get<For>(out.back().v).body);
        begin = end;
      }
    }
    body = std::move(out);
  }

  /// Where to cut the loop; empty if it stays whole.
  std::vector<int64_t> boundaries(const For& f) const {
    if (f.kind != LoopKind::Serial || !f.reductions.empty() || !f.begin.is_const() ||
        !f.end.is_const())
      return {};
    std::set<int64_t> all;
    size_t nodes = 0;
    for_each_node(f.body, [&](const Node& n) {
      ++nodes;
      const Compute* c = std::get_if<Compute>(&n.v);
      const auto comparison = c ? facts_.comparison(*c, f.var) : std::nullopt;
      if (!comparison) return;
      const int64_t at = comparison->boundary();
      if (at > f.begin.value() && at < f.end.value()) all.insert(at);
    });
    int64_t last = f.begin.value();
    for (const int64_t at : all) {
      if (at - last < kLeastPiece) return {};
      last = at;
    }
    if (f.end.value() - last < kLeastPiece || all.size() >= kMostPieces ||
        nodes * (all.size() + 1) > kMostNodes)
      return {};
    return {all.begin(), all.end()};
  }

  For piece(const For& f, int64_t begin, int64_t end) {
    For p = f;
    p.begin = begin;
    p.end = end;
    // Pieces share the variable's name, as siblings may.
    p.body = cloned(k_, f.body);
    Facts facts = facts_;
    facts.add(p.body);
    Folder(facts, k_.types, f.var, begin).fold(p.body);
    return p;
  }

  Kernel& k_;
  Facts facts_;
  bool changed_ = false;
};

}  // namespace

void partition_loops(Kernel& k) { Partitioner(k).run(); }

}  // namespace ourjit::loop
