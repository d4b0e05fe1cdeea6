#include "schedule/widen_halves.h"

#include <map>
#include <set>
#include <string>
#include <utility>

#include "loop/visit.h"

namespace ourjit::loop {
namespace {

class Widener {
 public:
  explicit Widener(Kernel& k) : k_(k) {}

  void run() {
    for (const Local& l : k_.locals)
      if (l.space == Space::Thread && is_half(l.dtype)) names_.insert(l.name);
    for_each_node(std::as_const(k_.body), [&](const Node& n) {
      if (const Store* s = std::get_if<Store>(&n.v); s && s->accumulate) names_.erase(s->buffer);
      if (const Load* l = std::get_if<Load>(&n.v); l && l->mask != kNone) names_.erase(l->buffer);
    });
    if (names_.empty()) return;
    for (Local& l : k_.locals)
      if (names_.contains(l.name)) l.dtype = DType::f32;
    k_.body = rewritten(std::move(k_.body), {});
  }

 private:
  using Twins = std::map<ValueId, ValueId>;  // halves that are known as f32, in a body

  std::vector<Node> rewritten(std::vector<Node> body, Twins twins) {
    std::vector<Node> out;
    for (Node& n : body) {
      // The values that a loop's reductions read are its body's.
      if (For* f = std::get_if<For>(&n.v)) f->body = rewritten(std::move(f->body), twins);
      map_operands(n, [&](ValueId v) {
        const auto it = same_.find(v);
        return it == same_.end() ? v : it->second;
      });
      if (Load* l = std::get_if<Load>(&n.v); l && names_.contains(l->buffer)) {
        const ValueId half = std::exchange(l->result, new_value());
        twins[half] = l->result;
        const Compute narrow{
            half, ScalarOp::cast, k_.types[static_cast<size_t>(half)], {l->result}};
        const int line = n.line;
        out.push_back(std::move(n));
        out.push_back({narrow, line});
        continue;
      } else if (Store* s = std::get_if<Store>(&n.v); s && names_.contains(s->buffer)) {
        s->value = twin(s->value, twins, out);
      } else if (const Compute* c = std::get_if<Compute>(&n.v);
                 c && c->op == ScalarOp::cast && c->dtype == DType::f32 &&
                 is_half(k_.types[static_cast<size_t>(c->args[0])])) {
        same_[c->result] = twin(c->args[0], twins, out);
        continue;
      }
      out.push_back(std::move(n));
    }
    return out;
  }

  /// The f32 that equals `half`, cast at the end of `out` if there is none yet.
  ValueId twin(ValueId half, Twins& twins, std::vector<Node>& out) {
    const auto [it, is_new] = twins.emplace(half, kNone);
    if (is_new) {
      it->second = new_value();
      out.push_back({Compute{it->second, ScalarOp::cast, DType::f32, {half}}});
    }
    return it->second;
  }

  ValueId new_value() {
    k_.types.push_back(DType::f32);
    return static_cast<ValueId>(k_.types.size() - 1);
  }

  Kernel& k_;
  std::set<std::string> names_;
  std::map<ValueId, ValueId> same_;  // casts that are gone, and what they equal
};

}  // namespace

void widen_half_locals(Kernel& k) { Widener(k).run(); }

}  // namespace ourjit::loop
