// Loops of a kernel.
#include <algorithm>
#include <bit>
#include <optional>

#include "base/error.h"
#include "codegen/llvm_kernel.h"
#include "codegen/math.h"

namespace ourjit {

namespace {

/// Bodies beyond this many instructions are emitted once, with masks, rather than once without and
/// once for what is left over.
constexpr int kMaxCopiedWeight = 300;

/// A rough number of instructions.
int weight(const std::vector<loop::Node>& body) {
  int sum = 0;
  for (const loop::Node& n : body) {
    if (const auto* c = std::get_if<loop::Compute>(&n.v)) {
      const bool function = math_row(c->op).form == LlvmForm::Bitcode ||
                            c->op == ScalarOp::rand_uniform || c->op == ScalarOp::rand_normal;
      sum += function ? 30 : 1;
    } else if (const auto* f = std::get_if<loop::For>(&n.v)) {
      sum += 5 + weight(f->body);
    } else {
      ++sum;
    }
  }
  return sum;
}

/// True if `s` is surely a multiple of n.
bool is_multiple(const Sym& s, int64_t n) {
  if (s.constant() % n != 0) return false;
  return std::all_of(s.terms().begin(), s.terms().end(), [&](const SymTerm& t) {
    if (t.coefficient % n == 0) return true;
    return std::any_of(t.atoms.begin(), t.atoms.end(), [&](const auto& a) {
      const bool either = a->kind == SymAtomKind::Min || a->kind == SymAtomKind::Max;
      return either && is_multiple(a->a, n) && is_multiple(a->b, n);
    });
  });
}

/// True for straight code on whole vectors.
bool is_straight(const std::vector<loop::Node>& body) {
  return std::all_of(body.begin(), body.end(), [](const loop::Node& n) {
    if (const auto* l = std::get_if<loop::Load>(&n.v)) return l->mask == loop::kNone;
    if (const auto* s = std::get_if<loop::Store>(&n.v)) return s->mask == loop::kNone;
    return !std::holds_alternative<loop::For>(n.v) && !std::holds_alternative<loop::Bind>(n.v);
  });
}

/// end - begin if it is a number.
std::optional<int64_t> trip_count(const loop::For& f) {
  const Sym count = f.end - f.begin;
  return count.is_const() ? std::optional(std::max<int64_t>(count.value(), 0)) : std::nullopt;
}

}  // namespace

bool KernelEmitter::is_varying(const Sym& s) const {
  for (const std::string& name : s.symbols())
    if (varying_symbols_.contains(name)) return true;
  return false;
}

void KernelEmitter::mark_varying(const std::vector<loop::Node>& body) {
  const auto mark = [&](loop::ValueId id, bool varying) {
    varying_values_[static_cast<size_t>(id)] = varying;
  };
  const auto masked = [&](loop::ValueId mask) { return mask != loop::kNone && is_varying(mask); };
  for (const loop::Node& n : body)
    std::visit(
        loop::Overloaded{
            [&](const loop::Const&) {},
            [&](const loop::Index& i) { mark(i.result, is_varying(i.expr)); },
            [&](const loop::Compute& c) {
              bool varying = false;
              for (const loop::ValueId a : c.args) varying |= is_varying(a);
              mark(c.result, varying);
            },
            [&](const loop::Load& l) { mark(l.result, is_varying(l.index) || masked(l.mask)); },
            [&](const loop::Store&) {},
            [&](const loop::Bind& b) {
              if (is_varying(b.value) || masked(b.mask)) varying_symbols_.insert(b.symbol);
            },
            [](const loop::Barrier&) {},
            [&](const loop::For& f) {
              const bool vector = f.kind == loop::LoopKind::Vector;
              if (vector) varying_symbols_.insert(f.var);
              mark_varying(f.body);
              varying_symbols_.erase(f.var);
              for (const loop::Reduction& r : f.reductions)
                mark(r.result, !vector && is_varying(r.value));
            },
        },
        n.v);
}

Interval KernelEmitter::loop_range(const loop::For& f) const {
  const Interval begin = index_.range(f.begin), end = index_.range(f.end);
  constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();
  return {begin.low, end.high == kUnbounded ? kUnbounded : end.high - 1};
}

KernelEmitter::Values KernelEmitter::counted_loop(Value* begin, Value* end,
                                                  std::optional<int64_t> trips, int64_t step,
                                                  const Values& initial, const LoopBody& body) {
  if (trips && *trips <= 0) return initial;
  if (trips && *trips <= step) return body(begin, initial);
  llvm::BasicBlock* before = ir_.GetInsertBlock();
  llvm::BasicBlock* header = new_block("loop");
  llvm::BasicBlock* after = new_block("loop.end");
  if (trips)
    ir_.CreateBr(header);
  else
    ir_.CreateCondBr(ir_.CreateICmpSLT(begin, end), header, after);
  ir_.SetInsertPoint(header);
  llvm::PHINode* var = ir_.CreatePHI(ir_.getInt64Ty(), 2);
  var->addIncoming(begin, before);
  std::vector<llvm::PHINode*> phis;
  Values carried;
  for (Value* v : initial) {
    phis.push_back(ir_.CreatePHI(v->getType(), 2));
    phis.back()->addIncoming(v, before);
    carried.push_back(phis.back());
  }
  const Values next = body(var, carried);
  Value* next_var = ir_.CreateNSWAdd(var, builder_.i64(step));
  llvm::BasicBlock* latch = ir_.GetInsertBlock();
  ir_.CreateCondBr(ir_.CreateICmpSLT(next_var, end), header, after);
  var->addIncoming(next_var, latch);
  for (size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], latch);
  ir_.SetInsertPoint(after);
  if (trips) return next;
  Values final;
  for (size_t i = 0; i < phis.size(); ++i) {
    llvm::PHINode* phi = ir_.CreatePHI(initial[i]->getType(), 2);
    phi->addIncoming(initial[i], before);
    phi->addIncoming(next[i], latch);
    final.push_back(phi);
  }
  return final;
}

KernelEmitter::Values KernelEmitter::if_then(Value* condition, const Values& otherwise,
                                             const std::function<Values()>& then) {
  llvm::BasicBlock* before = ir_.GetInsertBlock();
  llvm::BasicBlock* inside = new_block("if");
  llvm::BasicBlock* after = new_block("if.end");
  ir_.CreateCondBr(condition, inside, after);
  ir_.SetInsertPoint(inside);
  const Values values = then();
  llvm::BasicBlock* last = ir_.GetInsertBlock();
  ir_.CreateBr(after);
  ir_.SetInsertPoint(after);
  Values merged;
  for (size_t i = 0; i < otherwise.size(); ++i) {
    llvm::PHINode* phi = ir_.CreatePHI(values[i]->getType(), 2);
    phi->addIncoming(otherwise[i], before);
    phi->addIncoming(values[i], last);
    merged.push_back(phi);
  }
  return merged;
}

void KernelEmitter::parallel_loop(const loop::For& f) {
  OURJIT_CHECK(f.reductions.empty()) << "a parallel loop cannot reduce";
  const auto from_begin = [&](Value* v) {
    return f.begin.is_const(0) ? v : ir_.CreateAdd(index_.uniform(f.begin), v);
  };
  counted_loop(from_begin(begin_), from_begin(end_), std::nullopt, 1, {},
               [&](Value* var, const Values&) {
                 index_.open();
                 var->setName(f.var);
                 index_.define(f.var, var, loop_range(f));
                 block(f.body);
                 index_.close();
                 return Values{};
               });
}

void KernelEmitter::serial_loop(const loop::For& f) {
  Value* begin = index_.uniform(f.begin);
  Value* end = index_.uniform(f.end);
  const Values final = counted_loop(begin, end, trip_count(f), 1, initial_values(f, false),
                                    [&](Value* var, const Values& carried) {
                                      index_.open();
                                      if (!llvm::isa<llvm::Constant>(var)) var->setName(f.var);
                                      index_.define(f.var, var, loop_range(f));
                                      block(f.body);
                                      Values next = accumulate(f, carried, var, nullptr);
                                      index_.close();
                                      return next;
                                    });
  define_results(f, final);
}

KernelEmitter::Values KernelEmitter::vector_body(const loop::For& f, int width, Value* first,
                                                 Value* mask, const Values& carried) {
  lanes_ = static_cast<unsigned>(width);
  lane_mask_ = mask;
  index_.open();
  index_.define_lanes(f.var, first, lanes_, loop_range(f));
  block(f.body);
  Values next = accumulate(f, carried, first, mask);
  index_.close();
  lanes_ = 1;
  lane_mask_ = nullptr;
  return next;
}

KernelEmitter::Values KernelEmitter::single_vectors(const loop::For& f, Value* from,
                                                    std::optional<int64_t> trips, bool exact,
                                                    bool at_most_one, const Values& carried) {
  const auto lanes = static_cast<unsigned>(f.width);
  Value* end = index_.uniform(f.end);
  const auto body = [&](Value* first, const Values& values) {
    if (exact) return vector_body(f, f.width, first, nullptr, values);
    Value* left = nullptr;
    if (trips && *trips < f.width)
      left = builder_.i64(*trips);
    else if (at_most_one)
      left = ir_.CreateSub(end, first);
    else
      left = ir_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, ir_.CreateSub(end, first),
                                       builder_.i64(f.width));
    Value* limit = builder_.broadcast(ir_.CreateTrunc(left, ir_.getInt32Ty()), lanes);
    return vector_body(f, f.width, first, ir_.CreateICmpULT(builder_.iota(lanes, 32), limit),
                       values);
  };
  if (!at_most_one || trips) return counted_loop(from, end, trips, f.width, carried, body);
  return if_then(ir_.CreateICmpSLT(from, end), carried, [&] { return body(from, carried); });
}

KernelEmitter::Values KernelEmitter::unrolled_vectors(const loop::For& f, Value* end,
                                                      std::optional<int64_t> trips, int copies,
                                                      const Values& carried) {
  Value* begin = index_.uniform(f.begin);
  const int64_t step = static_cast<int64_t>(f.width) * copies;
  const auto one = static_cast<int64_t>(carried.size()) / copies;
  if (copies > 1 && std::has_single_bit(static_cast<unsigned>(copies)) && is_straight(f.body)) {
    // One body of all lanes: its steps come out interleaved, and each fills the others' latency.
    Values wide, parts;
    for (int64_t i = 0; i < one; ++i) {
      Values same;
      for (int u = 0; u < copies; ++u) same.push_back(carried[static_cast<size_t>(one * u + i)]);
      wide.push_back(builder_.concat(same));
    }
    wide = counted_loop(begin, end, trips, step, wide, [&](Value* var, const Values& values) {
      if (!llvm::isa<llvm::Constant>(var)) var->setName(f.var);
      return vector_body(f, static_cast<int>(step), var, nullptr, values);
    });
    for (int u = 0; u < copies; ++u)
      for (Value* v : wide)
        parts.push_back(
            builder_.slice(v, static_cast<unsigned>(f.width * u), static_cast<unsigned>(f.width)));
    return parts;
  }
  return counted_loop(begin, end, trips, step, carried, [&](Value* var, const Values& values) {
    if (!llvm::isa<llvm::Constant>(var)) var->setName(f.var);
    Values next;
    for (int u = 0; u < copies; ++u) {
      const Values part(values.begin() + one * u, values.begin() + one * (u + 1));
      Value* first =
          u == 0 ? var : ir_.CreateNSWAdd(var, builder_.i64(static_cast<int64_t>(f.width) * u));
      const Values updated = vector_body(f, f.width, first, nullptr, part);
      next.insert(next.end(), updated.begin(), updated.end());
    }
    return next;
  });
}

void KernelEmitter::vector_loop(const loop::For& f) {
  if (f.width == 1) return serial_loop(f);
  OURJIT_CHECK(lanes_ == 1) << "a vector loop inside a vector loop";
  OURJIT_CHECK(f.width > 1 && (f.width & (f.width - 1)) == 0 && f.unroll >= 1)
      << "a vector loop of " << f.width << " lanes, unrolled " << f.unroll << " times";
  Value* begin = index_.uniform(f.begin);
  Value* end = index_.uniform(f.end);
  const auto trips = trip_count(f);
  const bool exact =
      trips ? *trips % f.width == 0 : is_multiple(f.begin, f.width) && is_multiple(f.end, f.width);
  const bool once = !exact && weight(f.body) > kMaxCopiedWeight;
  const int copies = once ? 1 : f.unroll;
  const int64_t step = static_cast<int64_t>(f.width) * copies;

  const Values identity = initial_values(f, true);
  const auto size = static_cast<int64_t>(identity.size());
  Values carried;
  for (int u = 0; u < copies; ++u) carried.insert(carried.end(), identity.begin(), identity.end());
  if (exact && copies == 1) {
    carried = unrolled_vectors(f, end, trips, copies, carried);
  } else {
    Value* from = begin;
    const int64_t whole = trips && !once ? *trips / step * step : 0;
    if (whole > 0) {
      from = index_.uniform(f.begin + whole);
      carried = unrolled_vectors(f, from, whole, copies, carried);
    } else if (!trips && !once) {
      Value* count = ir_.CreateBinaryIntrinsic(llvm::Intrinsic::smax,
                                               index_.uniform(f.end - f.begin), builder_.i64(0));
      from = ir_.CreateSub(count, ir_.CreateURem(count, builder_.i64(step)));
      if (!f.begin.is_const(0)) from = ir_.CreateAdd(begin, from);
      carried = unrolled_vectors(f, from, std::nullopt, copies, carried);
    }
    // What is left goes to the first accumulator.
    const Values head =
        single_vectors(f, from, trips ? std::optional(*trips - whole) : std::nullopt, exact,
                       copies == 1 && !once, Values(carried.begin(), carried.begin() + size));
    std::copy(head.begin(), head.end(), carried.begin());
  }
  define_results(f, combine_partials(f, carried, copies));
}

}  // namespace ourjit
