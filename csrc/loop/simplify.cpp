#include "loop/simplify.h"

#include <algorithm>
#include <set>
#include <vector>

#include "loop/visit.h"

namespace ourjit::loop {
namespace {

bool mentions_variable(const Sym& x, const SymBounds& bounds) {
  for (const std::string& name : x.symbols())
    if (bounds.extent(name)) return true;
  return false;
}

/// What a factor is at most; with `positive` unset only factors that do not vary have a bound that
/// helps.
std::optional<Sym> greatest_factor(const SymAtom& f, bool positive, const SymBounds& bounds) {
  if (f.kind == SymAtomKind::Symbol) {
    const auto extent = bounds.extent(f.name);
    if (!extent) return Sym::symbol(f.name);
    return positive ? std::optional(*extent - 1) : std::nullopt;
  }
  if (f.kind == SymAtomKind::Min && positive) {
    const auto a = greatest(f.a, bounds), b = greatest(f.b, bounds);
    if (!a || !b) return a ? a : b;
    // Either is a bound: the shorter expression is the more useful one.
    if (a->is_const() && b->is_const()) return min(*a, *b);
    return a->str().size() <= b->str().size() ? a : b;
  }
  if (mentions_variable(f.a, bounds) || mentions_variable(f.b, bounds)) return std::nullopt;
  return to_sym(f);
}

void simplify_block(std::vector<Node>& body, SymBounds bounds) {
  for (Node& n : body) {
    map_syms(n, [&](const Sym& s) { return bounds.simplify(s); });
    if (const Bind* b = std::get_if<Bind>(&n.v)) bounds.set_extent(b->symbol, b->extent);
    if (For* f = std::get_if<For>(&n.v)) simplify_block(f->body, bounds_in(*f, bounds));
  }
}

bool may_fail(const Compute& c) {
  const bool divides = c.op == ScalarOp::floor_div || c.op == ScalarOp::trunc_div ||
                       c.op == ScalarOp::mod || c.op == ScalarOp::fmod;
  return divides && !is_float(c.dtype);
}

void remove_unused(std::vector<Node>& body, std::set<ValueId>& used) {
  // Readers come behind what they read.
  for (size_t i = body.size(); i-- > 0;) {
    Node& n = body[i];
    const Compute* c = std::get_if<Compute>(&n.v);
    const bool removable = std::holds_alternative<Const>(n.v) ||
                           std::holds_alternative<Index>(n.v) ||
                           std::holds_alternative<Load>(n.v) || (c && !may_fail(*c));
    const std::vector<ValueId> defined = results(n);
    if (removable &&
        std::none_of(defined.begin(), defined.end(), [&](ValueId v) { return used.contains(v); })) {
      body.erase(body.begin() + static_cast<int64_t>(i));
      continue;
    }
    const std::vector<ValueId> read = operands(n);
    used.insert(read.begin(), read.end());
    if (For* f = std::get_if<For>(&n.v)) remove_unused(f->body, used);
  }
}

}  // namespace

std::optional<Sym> greatest(const Sym& x, const SymBounds& bounds) {
  Sym sum = x.constant();
  for (const SymTerm& t : x.terms()) {
    Sym product = t.coefficient;
    for (const auto& f : t.atoms) {
      const std::optional<Sym> top = greatest_factor(*f, t.coefficient > 0, bounds);
      if (!top) return std::nullopt;
      product *= *top;
    }
    sum += product;
  }
  return sum;
}

std::optional<Sym> variable_extent(const For& f, const SymBounds& bounds) {
  if (!nonnegative(f.begin)) return std::nullopt;
  return greatest(f.end, bounds);
}

SymBounds bounds_in(const For& f, SymBounds around) {
  if (const auto extent = variable_extent(f, around)) around.set_extent(f.var, *extent);
  return around;
}

std::optional<int64_t> most_iterations(const For& f) {
  const auto ends = f.end.as_min().value_or(std::pair(f.end, f.end));
  for (const Sym& length : {ends.first - f.begin, ends.second - f.begin})
    if (length.is_const()) return length.value();
  return std::nullopt;
}

void simplify_indices(Kernel& k) { simplify_block(k.body, {}); }

void remove_unused(Kernel& k) {
  std::set<ValueId> used;
  remove_unused(k.body, used);
  remove_unused(k.epilogue, used);
}

}  // namespace ourjit::loop
