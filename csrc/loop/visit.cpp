#include "loop/visit.h"

#include <set>

#include "base/error.h"

namespace ourjit::loop {

void for_each_node(const std::vector<Node>& body, const std::function<void(const Node&)>& f) {
  for (const Node& n : body) {
    f(n);
    if (const For* loop = std::get_if<For>(&n.v)) for_each_node(loop->body, f);
  }
}

void for_each_node(std::vector<Node>& body, const std::function<void(Node&)>& f) {
  for (Node& n : body) {
    f(n);
    if (For* loop = std::get_if<For>(&n.v)) for_each_node(loop->body, f);
  }
}

void map_operands(Node& n, const std::function<ValueId(ValueId)>& f) {
  const auto map = [&](ValueId& v) {
    if (v != kNone) v = f(v);
  };
  std::visit(Overloaded{
                 [](Const&) {},
                 [](Index&) {},
                 [&](Compute& c) {
                   for (ValueId& v : c.args) map(v);
                 },
                 [&](Load& l) { map(l.mask); },
                 [&](Store& s) {
                   map(s.value);
                   map(s.mask);
                 },
                 [&](Bind& b) {
                   map(b.value);
                   map(b.mask);
                 },
                 [](Barrier&) {},
                 [&](For& l) {
                   for (Reduction& r : l.reductions) map(r.value);
                 },
             },
             n.v);
}

void map_results(Node& n, const std::function<ValueId(ValueId)>& f) {
  std::visit(Overloaded{
                 [&](Const& c) { c.result = f(c.result); },
                 [&](Index& i) { i.result = f(i.result); },
                 [&](Compute& c) { c.result = f(c.result); },
                 [&](Load& l) { l.result = f(l.result); },
                 [](Store&) {},
                 [](Bind&) {},
                 [](Barrier&) {},
                 [&](For& l) {
                   for (Reduction& r : l.reductions) r.result = f(r.result);
                 },
             },
             n.v);
}

std::vector<ValueId> operands(const Node& n) {
  std::vector<ValueId> out =
      std::visit(Overloaded{
                     [](const Const&) { return std::vector<ValueId>{}; },
                     [](const Index&) { return std::vector<ValueId>{}; },
                     [](const Compute& c) { return c.args; },
                     [](const Load& l) { return std::vector<ValueId>{l.mask}; },
                     [](const Store& s) { return std::vector<ValueId>{s.value, s.mask}; },
                     [](const Bind& b) { return std::vector<ValueId>{b.value, b.mask}; },
                     [](const Barrier&) { return std::vector<ValueId>{}; },
                     [](const For& f) {
                       std::vector<ValueId> values;
                       for (const Reduction& r : f.reductions) values.push_back(r.value);
                       return values;
                     },
                 },
                 n.v);
  std::erase(out, kNone);
  return out;
}

std::vector<ValueId> results(const Node& n) {
  return std::visit(Overloaded{
                        [](const Const& c) { return std::vector<ValueId>{c.result}; },
                        [](const Index& i) { return std::vector<ValueId>{i.result}; },
                        [](const Compute& c) { return std::vector<ValueId>{c.result}; },
                        [](const Load& l) { return std::vector<ValueId>{l.result}; },
                        [](const Store&) { return std::vector<ValueId>{}; },
                        [](const Bind&) { return std::vector<ValueId>{}; },
                        [](const Barrier&) { return std::vector<ValueId>{}; },
                        [](const For& f) {
                          std::vector<ValueId> values;
                          for (const Reduction& r : f.reductions) values.push_back(r.result);
                          return values;
                        },
                    },
                    n.v);
}

Touched::Touched(const std::vector<Node>& body) {
  for_each_node(body, [&](const Node& n) {
    if (const auto* l = std::get_if<Load>(&n.v)) read.insert(l->buffer);
    if (const auto* s = std::get_if<Store>(&n.v)) written.insert(s->buffer);
  });
}

bool is_pure(const Node& n) {
  return !std::holds_alternative<Store>(n.v) && !std::holds_alternative<Barrier>(n.v) &&
         !std::holds_alternative<For>(n.v);
}

void for_each_sym(const Node& n, const std::function<void(const Sym&)>& f) {
  std::visit(Overloaded{
                 [](const Const&) {},
                 [&](const Index& i) { f(i.expr); },
                 [](const Compute&) {},
                 [&](const Load& l) { f(l.index); },
                 [&](const Store& s) { f(s.index); },
                 [&](const Bind& b) { f(b.extent); },
                 [](const Barrier&) {},
                 [&](const For& loop) {
                   f(loop.begin);
                   f(loop.end);
                 },
             },
             n.v);
}

void map_syms(Node& n, const std::function<Sym(const Sym&)>& f) {
  std::visit(Overloaded{
                 [](Const&) {},
                 [&](Index& i) { i.expr = f(i.expr); },
                 [](Compute&) {},
                 [&](Load& l) { l.index = f(l.index); },
                 [&](Store& s) { s.index = f(s.index); },
                 [&](Bind& b) { b.extent = f(b.extent); },
                 [](Barrier&) {},
                 [&](For& loop) {
                   loop.begin = f(loop.begin);
                   loop.end = f(loop.end);
                 },
             },
             n.v);
}

void map_syms(std::vector<Node>& body, const std::function<Sym(const Sym&)>& f) {
  for_each_node(body, [&](Node& n) { map_syms(n, f); });
}

void shift_lines(std::vector<Node>& body, int by) {
  for_each_node(body, [&](Node& n) {
    if (n.line != kNone) n.line += by;
    if (For* f = std::get_if<For>(&n.v))
      for (Reduction& r : f->reductions)
        if (r.line != kNone) r.line += by;
  });
}

const For* parallel_loop(const Kernel& k) {
  for (const Node& n : k.body)
    if (const For* f = std::get_if<For>(&n.v); f && f->kind == LoopKind::Parallel) return f;
  return nullptr;
}

For* parallel_loop(Kernel& k) {
  return const_cast<For*>(parallel_loop(static_cast<const Kernel&>(k)));
}

Sym parallel_extent(const Kernel& k, const std::vector<Sym>& sizes) {
  const For* f = parallel_loop(k);
  if (!f) return 1;
  OURJIT_CHECK(sizes.size() == k.sizes.size()) << "@" << k.name << " takes other sizes";
  return (f->end - f->begin).substitute([&](std::string_view name) -> std::optional<Sym> {
    for (size_t i = 0; i < sizes.size(); ++i)
      if (k.sizes[i] == name) return sizes[i];
    return std::nullopt;
  });
}

std::vector<Sym> size_symbols(const Kernel& k) {
  std::vector<Sym> out;
  for (const std::string& name : k.sizes) out.push_back(Sym::symbol(name));
  return out;
}

std::string fresh_name(const Kernel& k, const std::string& base) {
  std::set<std::string> taken(k.sizes.begin(), k.sizes.end());
  for (const Buffer& b : k.buffers) taken.insert(b.name);
  for (const Local& l : k.locals) taken.insert(l.name);
  for_each_node(k.body, [&](const Node& n) {
    if (const For* loop = std::get_if<For>(&n.v)) taken.insert({loop->var, loop->slot});
    if (const Bind* bind = std::get_if<Bind>(&n.v)) taken.insert(bind->symbol);
  });
  if (!taken.contains(base)) return base;
  for (int i = 2;; ++i) {
    std::string name = base + "_" + std::to_string(i);
    if (!taken.contains(name)) return name;
  }
}

}  // namespace ourjit::loop
