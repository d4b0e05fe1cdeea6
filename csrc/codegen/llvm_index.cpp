#include "codegen/llvm_index.h"

#include <algorithm>

#include "base/error.h"

namespace ourjit {

namespace {

constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
constexpr int64_t kHighest = std::numeric_limits<int64_t>::max();

int64_t saturate(__int128 x) {
  return static_cast<int64_t>(std::clamp<__int128>(x, kLowest, kHighest));
}

Interval add(Interval a, Interval b) {
  Interval r;
  if (a.low != kLowest && b.low != kLowest) r.low = saturate(static_cast<__int128>(a.low) + b.low);
  if (a.high != kHighest && b.high != kHighest)
    r.high = saturate(static_cast<__int128>(a.high) + b.high);
  return r;
}

Interval multiply(Interval a, Interval b) {
  const bool bounded =
      a.low != kLowest && a.high != kHighest && b.low != kLowest && b.high != kHighest;
  if (!bounded) return a.non_negative() && b.non_negative() ? Interval{0, kHighest} : Interval{};
  const __int128 p[] = {static_cast<__int128>(a.low) * b.low, static_cast<__int128>(a.low) * b.high,
                        static_cast<__int128>(a.high) * b.low,
                        static_cast<__int128>(a.high) * b.high};
  return {saturate(*std::min_element(p, p + 4)), saturate(*std::max_element(p, p + 4))};
}

}  // namespace

void IndexBuilder::open() { scopes_.emplace_back(); }

void IndexBuilder::close() {
  for (const std::string& name : scopes_.back().symbols) {
    symbols_.erase(name);
    if (name == lane_variable_) {
      lane_variable_.clear();
      lane_count_ = 1;
    }
  }
  scopes_.pop_back();
}

void IndexBuilder::insert(const std::string& name, Symbol s) {
  s.order = ++defined_;
  const bool fresh = symbols_.emplace(name, s).second;
  OURJIT_CHECK(fresh) << "symbol " << name << " is defined twice";
  scopes_.back().symbols.push_back(name);
}

void IndexBuilder::define(const std::string& name, Value* value, Interval range) {
  insert(name, {value, nullptr, 1, range, 0});
}

void IndexBuilder::define_lanes(const std::string& name, Value* first, unsigned lanes,
                                Interval range) {
  insert(name, {first, nullptr, lanes, range, 0});
  lane_variable_ = name;
  lane_count_ = lanes;
}

void IndexBuilder::define_vector(const std::string& name, Value* values, Interval range) {
  insert(name, {nullptr, values, lanes_of(values), range, 0});
}

const IndexBuilder::Symbol& IndexBuilder::symbol(std::string_view name) const {
  const auto it = symbols_.find(name);
  OURJIT_CHECK(it != symbols_.end()) << "symbol " << name << " is not in scope";
  return it->second;
}

bool IndexBuilder::varies(const Sym& s) const {
  if (lane_count_ == 1) return false;
  return std::any_of(s.terms().begin(), s.terms().end(),
                     [&](const SymTerm& t) { return varies(t); });
}

bool IndexBuilder::varies(const SymTerm& t) const {
  return std::any_of(t.atoms.begin(), t.atoms.end(), [&](const auto& a) {
    return a->kind == SymAtomKind::Symbol ? symbol(a->name).lanes > 1
                                          : varies(a->a) || varies(a->b);
  });
}

int IndexBuilder::order(const SymTerm& t) const {
  int r = 0;
  for (const auto& a : t.atoms) {
    if (a->kind == SymAtomKind::Symbol) {
      r = std::max(r, symbol(a->name).order);
      continue;
    }
    for (const Sym* s : {&a->a, &a->b})
      for (const SymTerm& inner : s->terms()) r = std::max(r, order(inner));
  }
  return r;
}

Interval IndexBuilder::range(const Sym& s) const {
  Interval r{s.constant(), s.constant()};
  for (const SymTerm& t : s.terms()) r = add(r, range(t));
  return r;
}

Interval IndexBuilder::range(const SymTerm& t) const {
  Interval r{t.coefficient, t.coefficient};
  for (const auto& a : t.atoms) r = multiply(r, range(*a));
  return r;
}

Interval IndexBuilder::range(const SymAtom& atom) const {
  if (atom.kind == SymAtomKind::Symbol) return symbol(atom.name).range;
  const Interval a = range(atom.a), b = range(atom.b);
  switch (atom.kind) {
    case SymAtomKind::Min:
      return {std::min(a.low, b.low), std::min(a.high, b.high)};
    case SymAtomKind::Max:
      return {std::max(a.low, b.low), std::max(a.high, b.high)};
    case SymAtomKind::Mod: {
      if (b.low < 0) return {};
      const int64_t last = b.high == kHighest ? kHighest : std::max<int64_t>(b.high - 1, 0);
      return {0, a.non_negative() ? std::min(a.high, last) : last};
    }
    case SymAtomKind::FloorDiv: {
      if (b.low < 0 || !a.non_negative()) return {};
      const int64_t least = std::max<int64_t>(b.low, 1);
      return {0, a.high == kHighest ? kHighest : a.high / least};
    }
    case SymAtomKind::Symbol:
      break;
  }
  return {};
}

bool IndexBuilder::narrow(const Sym& s) const {
  if (!range(s).fits_i32() || !Interval{s.constant(), s.constant()}.fits_i32()) return false;
  return std::all_of(s.terms().begin(), s.terms().end(), [&](const SymTerm& t) {
    return range(t).fits_i32() && Interval{t.coefficient, t.coefficient}.fits_i32() &&
           std::all_of(t.atoms.begin(), t.atoms.end(), [&](const auto& a) {
             if (!range(*a).fits_i32()) return false;
             return a->kind == SymAtomKind::Symbol || (narrow(a->a) && narrow(a->b));
           });
  });
}

Value* IndexBuilder::number(int64_t n, unsigned bits, bool vector) {
  llvm::Constant* c = llvm::ConstantInt::get(ir_.getIntNTy(bits), static_cast<uint64_t>(n), true);
  return vector ? llvm::ConstantVector::getSplat(llvm::ElementCount::getFixed(lane_count_), c) : c;
}

Value* IndexBuilder::uniform(const Sym& s) {
  if (s.is_const()) return number(s.value(), 64, false);
  for (const Scope& scope : scopes_)
    if (const auto it = scope.made.find(s); it != scope.made.end()) return it->second;
  Value* v = make(s, 64, false);
  scopes_.back().made.emplace(s, v);
  return v;
}

Value* IndexBuilder::value(const Sym& s) { return varies(s) ? make(s, 64, true) : uniform(s); }

// Terms of outer loops come first, so that their sum can move out of the inner loops.
Value* IndexBuilder::make(const Sym& s, unsigned bits, bool vector) {
  std::vector<std::pair<int, const SymTerm*>> terms;
  for (const SymTerm& t : s.terms()) terms.emplace_back(order(t), &t);
  std::stable_sort(terms.begin(), terms.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Value* sum = nullptr;
  for (const auto& [order, t] : terms) {
    Value* x = make(*t, bits, vector);
    sum = sum ? ir_.CreateAdd(sum, x) : x;
  }
  if (!sum) return number(s.constant(), bits, vector);
  return s.constant() == 0 ? sum : ir_.CreateAdd(sum, number(s.constant(), bits, vector));
}

Value* IndexBuilder::make(const SymTerm& t, unsigned bits, bool vector) {
  Value* product = t.coefficient == 1 ? nullptr : number(t.coefficient, bits, vector);
  for (const auto& a : t.atoms) {
    Value* x = make(*a, bits, vector);
    product = product ? ir_.CreateMul(x, product) : x;
  }
  return product;
}

Value* IndexBuilder::make(const SymAtom& a, unsigned bits, bool vector) {
  if (a.kind == SymAtomKind::Symbol) {
    const Symbol& s = symbol(a.name);
    Value* v = s.vector ? s.vector : s.value;
    llvm::Type* integer = ir_.getIntNTy(bits);
    v = ir_.CreateSExtOrTrunc(v, s.vector ? llvm::FixedVectorType::get(integer, s.lanes) : integer);
    if (!vector) {
      OURJIT_CHECK(s.lanes == 1) << a.name << " differs between lanes";
      return v;
    }
    v = values_.broadcast(v, lane_count_);
    return s.lanes > 1 && !s.vector ? ir_.CreateAdd(v, values_.iota(s.lanes, bits)) : v;
  }
  Value* x = make(a.a, bits, vector);
  Value* y = make(a.b, bits, vector);
  switch (a.kind) {
    case SymAtomKind::Min:
      return ir_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, x, y);
    case SymAtomKind::Max:
      return ir_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, x, y);
    case SymAtomKind::FloorDiv:
    case SymAtomKind::Mod:
      return divide(a, x, y);
    case SymAtomKind::Symbol:
      break;
  }
  OURJIT_CHECK(false) << "a symbol is not an operation";
  return nullptr;
}

Value* IndexBuilder::divide(const SymAtom& a, Value* x, Value* y) {
  const bool quotient = a.kind == SymAtomKind::FloorDiv;
  // A size of zero divides only where nothing is accessed; it must not trap there.
  if (!a.b.is_const())
    y = ir_.CreateSelect(ir_.CreateICmpEQ(y, values_.like_int(y, 0)), values_.like_int(y, 1), y);
  if (range(a.a).non_negative() && range(a.b).non_negative())
    return quotient ? ir_.CreateUDiv(x, y) : ir_.CreateURem(x, y);
  Value* zero = values_.like_int(x, 0);
  Value* r = ir_.CreateSRem(x, y);
  Value* differ =
      ir_.CreateAnd(ir_.CreateICmpNE(r, zero), ir_.CreateICmpSLT(ir_.CreateXor(r, y), zero));
  if (!quotient) return ir_.CreateSelect(differ, ir_.CreateAdd(r, y), r);
  return ir_.CreateAdd(ir_.CreateSDiv(x, y), ir_.CreateSExt(differ, x->getType()));
}

LaneAddress IndexBuilder::address(const Sym& s) {
  using Form = LaneAddress::Form;
  if (!varies(s)) return {Form::Uniform, uniform(s)};
  const auto linear = lane_variable_.empty() ? std::nullopt : s.linear_in(lane_variable_);
  if (linear && !varies(linear->first) && !varies(linear->second)) {
    const Symbol& v = symbol(lane_variable_);
    const Sym& stride = linear->first;
    const bool forward = stride.is_const(1), backward = stride.is_const(-1);
    // The outer part first: base + stride * v.
    Value* first = stride.is_const(1) ? v.value : ir_.CreateMul(v.value, uniform(stride));
    Value* base =
        linear->second.is_const(0) ? first : ir_.CreateAdd(uniform(linear->second), first);
    if (forward || backward) return {forward ? Form::Contiguous : Form::Reversed, base};
    if (stride.is_const() &&
        Interval{stride.value() * lane_count_, stride.value() * lane_count_}.fits_i32())
      return {Form::Scattered, base, values_.iota(lane_count_, 32, stride.value())};
    Value* step = values_.broadcast(uniform(stride), lane_count_);
    return {Form::Scattered, base, ir_.CreateMul(step, values_.iota(lane_count_, 64))};
  }
  // What is the same in all lanes is left to the scalar part.
  Sym rest, varying = s;
  for (const SymTerm& t : s.terms()) {
    if (varies(t)) continue;
    const Sym term = to_sym(t);
    rest += term;
    varying = varying - term;
  }
  rest += varying.constant();
  varying = varying - varying.constant();
  return {Form::Scattered, uniform(rest), make(varying, narrow(varying) ? 32 : 64, true)};
}

}  // namespace ourjit
