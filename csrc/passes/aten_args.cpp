#include "passes/aten_args.h"

#include <algorithm>

#include "base/error.h"

namespace ourjit {
namespace {

/// The state of torch.result_type: the promoted dtype of each priority.
struct Promotion {
  std::optional<DType> dim, zero_dim, number;

  static void meet(std::optional<DType>& slot, DType t) { slot = slot ? promote(*slot, t) : t; }
};

int category(DType t) { return is_bool(t) ? 0 : is_integer(t) ? 1 : 2; }

/// A higher priority wins unless the lower one is of a higher category (bool, integer, float).
std::optional<DType> combine(std::optional<DType> higher, std::optional<DType> lower) {
  if (!higher || !lower) return higher ? higher : lower;
  return category(*higher) >= category(*lower) ? higher : promote(*higher, *lower);
}

}  // namespace

std::optional<DType> foreign_dtype(const Graph& g, const Node& n) {
  for (const std::vector<ValueId>* values : {&n.operands, &n.results})
    for (const ValueId v : *values)
      if (v >= 0 && !is_native(g.type(v).dtype)) return g.type(v).dtype;
  return std::nullopt;
}

void require(bool cond, std::string_view reason) {
  if (!cond) OURJIT_RAISE(Unsupported) << reason;
}

int64_t wrap_dim(int64_t d, int rank) {
  const int64_t n = std::max(rank, 1);
  require(d >= -n && d < n, "dim out of range");
  return d < 0 ? d + n : d;
}

AtenCall::AtenCall(Rewriter& rewriter, const Node& node, const AtenRule& rule, bool exact_rounding)
    : b(rewriter.b),
      op(rule.op),
      rewriter_(rewriter),
      node_(node),
      args_(&attr<ArgList>(node, "args")),
      exact_rounding_(exact_rounding),
      first_new_(static_cast<ValueId>(rewriter.b.graph().values.size())) {}

const Arg& AtenCall::arg(int i) const {
  static const Arg absent{NoneArg{}};
  return static_cast<size_t>(i) < args_->size() ? (*args_)[static_cast<size_t>(i)] : absent;
}

bool AtenCall::none(int i) const { return std::holds_alternative<NoneArg>(arg(i).v); }
bool AtenCall::is_tensor(int i) const { return std::holds_alternative<OperandRef>(arg(i).v); }
bool AtenCall::is_list(int i) const { return std::holds_alternative<ArgList>(arg(i).v); }
bool AtenCall::is_integer(int i) const {
  return std::holds_alternative<Sym>(arg(i).v) || std::holds_alternative<bool>(arg(i).v);
}

ValueId AtenCall::tensor(int i) const {
  const auto* ref = std::get_if<OperandRef>(&arg(i).v);
  require(ref != nullptr, "a tensor was expected");
  return rewriter_(node_.operands[static_cast<size_t>(ref->index)]);
}

Expr AtenCall::expr(int i, DType t) {
  const Arg& a = arg(i);
  if (std::holds_alternative<OperandRef>(a.v)) return cast(expr(i), t);
  if (const auto* s = std::get_if<Sym>(&a.v)) return number(b, *s, t);
  return number(b, real(i), t);
}

Expr AtenCall::wide(int i) { return expr(i, compute()); }

DType AtenCall::compute() const {
  for (int k = 0; k < results(); ++k)
    if (wanted(k)) return compute_dtype(out(k).dtype);
  OURJIT_RAISE(Unsupported) << "no result is used";
}

std::vector<std::optional<ValueId>> AtenCall::tensors(int i) const {
  const auto* list = std::get_if<ArgList>(&arg(i).v);
  require(list != nullptr, "a list of tensors was expected");
  std::vector<std::optional<ValueId>> values;
  for (const Arg& a : *list) {
    if (std::holds_alternative<NoneArg>(a.v)) {
      values.push_back(std::nullopt);
      continue;
    }
    const auto* ref = std::get_if<OperandRef>(&a.v);
    require(ref != nullptr, "a list of tensors was expected");
    values.push_back(rewriter_(node_.operands[static_cast<size_t>(ref->index)]));
  }
  return values;
}

const TensorType& AtenCall::captured(int i) const {
  const auto* ref = std::get_if<OperandRef>(&arg(i).v);
  require(ref != nullptr, "a tensor was expected");
  return rewriter_.old.type(node_.operands[static_cast<size_t>(ref->index)]);
}

const Node* AtenCall::producer(int i) const {
  const auto* ref = std::get_if<OperandRef>(&arg(i).v);
  require(ref != nullptr, "a tensor was expected");
  const Node* n = rewriter_.old.def(node_.operands[static_cast<size_t>(ref->index)]);
  return n && n->op == Op::call ? n : nullptr;
}

bool AtenCall::flag(int i) const {
  const auto* v = std::get_if<bool>(&arg(i).v);
  if (v) return *v;
  require(none(i), "a bool was expected");
  return false;
}

Sym AtenCall::sym(int i) const {
  const auto* v = std::get_if<Sym>(&arg(i).v);
  require(v != nullptr, "an integer was expected");
  return *v;
}

int64_t AtenCall::integer(int i) const {
  const Sym s = sym(i);
  require(s.is_const(), "a known integer was expected");
  return s.value();
}

double AtenCall::real(int i) const {
  const Arg& a = arg(i);
  if (const auto* v = std::get_if<double>(&a.v)) return *v;
  if (const auto* v = std::get_if<bool>(&a.v)) return *v ? 1 : 0;
  return static_cast<double>(integer(i));
}

const std::string& AtenCall::text(int i) const {
  const auto* v = std::get_if<std::string>(&arg(i).v);
  require(v != nullptr, "a string was expected");
  return *v;
}

std::optional<DType> AtenCall::dtype(int i) const {
  if (none(i)) return std::nullopt;
  const auto* v = std::get_if<EnumArg>(&arg(i).v);
  require(v != nullptr && v->kind == "dtype", "a dtype was expected");
  const std::optional<DType> t = parse_dtype(v->name);
  require(t.has_value(), "unknown dtype");
  return t;
}

std::vector<Sym> AtenCall::syms(int i) const {
  const auto* list = std::get_if<ArgList>(&arg(i).v);
  require(list != nullptr, "a list of integers was expected");
  std::vector<Sym> values;
  for (const Arg& a : *list) {
    const auto* v = std::get_if<Sym>(&a.v);
    require(v != nullptr, "a list of integers was expected");
    values.push_back(*v);
  }
  return values;
}

std::vector<int64_t> AtenCall::integers(int i) const {
  std::vector<int64_t> values;
  for (const Sym& s : syms(i)) {
    require(s.is_const(), "known integers were expected");
    values.push_back(s.value());
  }
  return values;
}

std::vector<bool> AtenCall::flags(int i) const {
  const auto* list = std::get_if<ArgList>(&arg(i).v);
  require(list != nullptr, "a list of bools was expected");
  std::vector<bool> values;
  for (const Arg& a : *list) {
    const auto* v = std::get_if<bool>(&a.v);
    require(v != nullptr, "a list of bools was expected");
    values.push_back(*v);
  }
  return values;
}

int64_t AtenCall::dim(int i, int rank) const { return wrap_dim(integer(i), rank); }

std::vector<int64_t> AtenCall::dims(int i, int rank) const {
  if (none(i)) return all_dims(rank);
  std::vector<int64_t> dims = is_list(i) ? integers(i) : std::vector<int64_t>{integer(i)};
  if (dims.empty() || rank == 0) return all_dims(rank);
  for (int64_t& d : dims) d = wrap_dim(d, rank);
  std::sort(dims.begin(), dims.end());
  return dims;
}

DType AtenCall::promoted(const std::vector<int>& args) const {
  Promotion p;
  for (const int i : args) {
    const Arg& a = arg(i);
    if (std::holds_alternative<OperandRef>(a.v)) {
      const TensorType& t = captured(i);
      Promotion::meet(t.rank() > 0 ? p.dim : p.zero_dim, t.dtype);
    } else if (std::holds_alternative<bool>(a.v)) {
      Promotion::meet(p.number, DType::boolean);
    } else {
      Promotion::meet(p.number, std::holds_alternative<Sym>(a.v) ? DType::i64 : DType::f32);
    }
  }
  const std::optional<DType> t = combine(p.dim, combine(p.zero_dim, p.number));
  require(t.has_value(), "no operand");
  return *t;
}

int AtenCall::results() const { return static_cast<int>(node_.results.size()); }

bool AtenCall::wanted(int k) const {
  return k < results() && node_.results[static_cast<size_t>(k)] >= 0;
}

const TensorType& AtenCall::out(int k) const {
  require(wanted(k), "the result is not used");
  return rewriter_.old.type(node_.results[static_cast<size_t>(k)]);
}

/// Casts and broadcasts to the captured type; sizes that are only equal in value are renamed.
Expr AtenCall::fit(Expr e, int k) const {
  const TensorType& want = out(k);
  require(b.type(e.v).device == want.device || e.rank() == 0, "the result is on another device");
  e = cast(e, want.dtype);
  if (e.sizes() == want.sizes) return e;
  bool broadcasts = e.rank() < want.rank();
  if (e.rank() == want.rank())
    for (size_t d = 0; d < want.sizes.size(); ++d)
      broadcasts |= e.sizes()[d].is_const(1) && !want.sizes[d].is_const(1);
  return broadcasts ? expand(e, want.sizes) : reshape(e, want.sizes);
}

Expr AtenCall::stored(const Expr& e) const {
  for (int k = 0; exact_rounding_ && k < results(); ++k) {
    if (!wanted(k)) continue;
    const DType t = out(k).dtype;
    if (compute_dtype(t) == t) return e;
    return e.dtype() == t ? rounded(e) : cast(cast(e, t), e.dtype());
  }
  return e;
}

bool AtenCall::aliases_operand(ValueId v) const {
  for (;;) {
    if (v < first_new_) return true;
    const Node* def = b.graph().def(v);
    if (op_category(def->op) != OpCategory::View) return false;
    v = def->operands[0];
  }
}

void AtenCall::done(const Expr& e, int k) {
  if (!wanted(k)) return;
  Expr r = fit(e, k);
  if (exact_rounding_ && compute_dtype(r.dtype()) != r.dtype())
    r = rounded(r);
  else if (aliases_operand(r.v))
    r.v = b.emit(Op::cast, {r.v}, {{"dtype", r.dtype()}});
  const TensorType& want = out(k);
  const bool view = op_category(b.graph().def(r.v)->op) == OpCategory::View;
  if (!view && b.type(r.v).strides != want.strides) b.set_strides(r.v, want.strides);
  rewriter_.replace(node_, r.v, k);
}

void AtenCall::done_view(const Expr& e, int k) {
  if (wanted(k)) rewriter_.replace(node_, fit(e, k).v, k);
}

AtenRules::AtenRules(const std::vector<std::vector<AtenRule>>& families) {
  for (const auto& family : families) rules_.insert(rules_.end(), family.begin(), family.end());
  const auto before = [](const AtenRule& x, const AtenRule& y) { return x.target < y.target; };
  std::sort(rules_.begin(), rules_.end(), before);
  for (size_t i = 1; i < rules_.size(); ++i)
    OURJIT_CHECK(rules_[i - 1].target != rules_[i].target) << rules_[i].target << " has two rules";
}

const AtenRule* AtenRules::find(std::string_view target) const {
  const auto it =
      std::lower_bound(rules_.begin(), rules_.end(), target,
                       [](const AtenRule& x, std::string_view y) { return x.target < y; });
  return it != rules_.end() && it->target == target ? &*it : nullptr;
}

namespace {

/// Applies `rule`; says why where it does not apply.
std::optional<std::string> try_rule(Rewriter& r, const Node& n, const AtenRule& rule,
                                    bool exact_rounding = false) {
  try {
    AtenCall c(r, n, rule, exact_rounding);
    rule.apply(c);
    return std::nullopt;
  } catch (const Unsupported& e) {
    return e.what();
  } catch (const UserError& e) {
    return e.what();  // the builder cannot prove that symbolic shapes fit
  }
}

}  // namespace

Graph rewrite_calls(const Graph& g, const AtenRules& rules, bool exact_rounding) {
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    const AtenRule* rule = n.op == Op::call ? rules.find(call_target(n)) : nullptr;
    if (rule == nullptr || foreign_dtype(g, n) || try_rule(r, n, *rule, exact_rounding)) r.keep(n);
  });
}

std::optional<std::string> why_unsupported(const Graph& g, const Node& n, const AtenRules& rules) {
  const AtenRule* rule = rules.find(call_target(n));
  if (rule == nullptr) return std::nullopt;
  Rewriter scratch{g, Builder(g.name), std::vector<ValueId>(g.values.size(), -1)};
  for (const ValueId v : n.operands)
    if (scratch(v) < 0) scratch.map[static_cast<size_t>(v)] = scratch.b.input("x", g.type(v));
  return try_rule(scratch, n, *rule);
}

}  // namespace ourjit
