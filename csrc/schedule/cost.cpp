#include "schedule/cost.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "loop/visit.h"
#include "schedule/access.h"

namespace ourjit::loop {
namespace {

constexpr double kCyclesPerNs = 3;
constexpr double kNsPerByte = 0.04;  // of memory traffic by one of several cores

// Costs in cycles; a vector operation on one register costs what a scalar one does.
constexpr double kUniformLoad = 0.5, kLoad = 1, kStore = 1.5, kMask = 0.5;
constexpr double kGatherLane = 1.2, kScatterLane = 2.5;
constexpr double kIteration = 1.5, kEntry = 4, kTail = 3, kCombine = 10;
constexpr double kAddLatency = 4;
constexpr double kDivideLane = 7;  // integer division is done lane by lane
constexpr double kGcdSteps = 10;
constexpr double kShortestChain = 12, kLongestChain = 30;

double float_op_cycles(ScalarOp op) {
  switch (op) {
    case ScalarOp::div:
    case ScalarOp::reciprocal:
      return 8;
    case ScalarOp::sqrt:
      return 10;
    case ScalarOp::rsqrt:
      return 18;
    case ScalarOp::exp:
    case ScalarOp::exp2:
    case ScalarOp::log:
    case ScalarOp::log2:
    case ScalarOp::log10:
      return 12;
    case ScalarOp::expm1:
    case ScalarOp::log1p:
    case ScalarOp::tanh:
    case ScalarOp::sigmoid:
    case ScalarOp::erf:
      return 18;
    case ScalarOp::sin:
    case ScalarOp::cos:
    case ScalarOp::floor_div:
    case ScalarOp::mod:
    case ScalarOp::fmod:
      return 30;
    case ScalarOp::pow:
    case ScalarOp::tan:
    case ScalarOp::asin:
    case ScalarOp::acos:
    case ScalarOp::atan:
    case ScalarOp::atan2:
    case ScalarOp::sinh:
    case ScalarOp::cosh:
    case ScalarOp::asinh:
    case ScalarOp::acosh:
    case ScalarOp::atanh:
    case ScalarOp::erfc:
      return 50;
    case ScalarOp::erfinv:
    case ScalarOp::lgamma:
    case ScalarOp::digamma:
      return 150;
    default:
      return 1;
  }
}

bool divides(ScalarOp op) {
  return op == ScalarOp::floor_div || op == ScalarOp::trunc_div || op == ScalarOp::mod ||
         op == ScalarOp::fmod;
}

/// Adds up cycles; in a vector loop `lanes` tells what varies.
class Cycles {
 public:
  explicit Cycles(const SymEnv& values) : values_(values) {}

  double block(const std::vector<Node>& body) {
    double sum = 0;
    for (const Node& n : body) sum += node(n);
    return sum;
  }

  double loop(const For& f) {
    const double n = trips(f, values_);
    if (n <= 0) return kEntry;
    const double once = body(f);
    double count = n;
    double cost = kEntry;
    if (f.kind == LoopKind::Vector) {
      count = std::ceil(n / f.width);
      const Sym length = f.end - f.begin;
      if (!length.is_const() || length.value() % f.width != 0) cost += kTail;
      cost += kCombine * static_cast<double>(f.reductions.size());
    }
    const double chain = f.reductions.empty() ? 0 : kAddLatency / f.unroll;
    return cost + count * std::max(once + kIteration / f.unroll, chain);
  }

  double body(const For& f) {
    if (f.kind != LoopKind::Vector) return block(f.body);
    const Varying v = varying_in(f);
    lanes_ = &v;
    width_ = f.width;
    const double sum = block(f.body);
    lanes_ = nullptr;
    width_ = 1;
    return sum;
  }

 private:
  double node(const Node& n) {
    return std::visit(
        Overloaded{
            [](const Const&) { return 0.0; },
            [](const Index&) { return 0.5; },
            [&](const Compute& c) { return compute(c); },
            [&](const Load& l) { return mask(l.mask) + access(l.index, kLoad, kGatherLane); },
            [&](const Store& s) {
              return mask(s.mask) + access(s.index, kStore, kScatterLane) +
                     (s.accumulate ? access(s.index, kLoad, kGatherLane) : 0);
            },
            [](const Bind&) { return 2.0; },
            [](const Barrier&) { return 0.0; },
            [&](const For& f) { return loop(f); },
        },
        n.v);
  }

  double compute(const Compute& c) {
    const bool varies = !lanes_ || lanes_->value(c.result);
    if (!varies) return 0.5;
    const double registers = lanes_ && dtype_bytes(c.dtype) == 8 ? 2 : 1;
    if (c.op == ScalarOp::rand_uniform || c.op == ScalarOp::rand_normal)
      return c.op == ScalarOp::rand_uniform ? 50 : 90;
    if (c.op == ScalarOp::gcd) return kGcdSteps * kDivideLane * width_;
    if (divides(c.op) && !is_float(c.dtype)) return kDivideLane * width_;
    return registers * float_op_cycles(c.op);
  }

  double access(const Sym& index, double contiguous, double lane) {
    if (!lanes_) return contiguous;
    switch (step_of(index, *lanes_)) {
      case Step::Same:
        return kUniformLoad;
      case Step::Next:
        return contiguous;
      case Step::Far:
        break;
    }
    return lane * width_;
  }

  static double mask(ValueId m) { return m == kNone ? 0 : kMask; }

  const SymEnv& values_;
  const Varying* lanes_ = nullptr;
  int width_ = 1;
};

/// Adds up the bytes of distinct accesses.
class Bytes {
 public:
  /// Of all iterations of the parallel loop if `whole`, else of one.
  Bytes(const Kernel& k, const SymEnv& values, bool whole)
      : k_(k), values_(values), whole_(whole) {}

  void block(const std::vector<Node>& body) {
    for (const Node& n : body) {
      if (const Load* l = std::get_if<Load>(&n.v)) read += access(l->buffer, l->index, false);
      if (const Store* s = std::get_if<Store>(&n.v)) {
        written += access(s->buffer, s->index, true);
        if (s->accumulate) read += access(s->buffer, s->index, false);
      }
      if (const Bind* b = std::get_if<Bind>(&n.v)) bound_[b->symbol] = loops_.size();
      if (const For* f = std::get_if<For>(&n.v)) {
        const bool once = f->kind == LoopKind::Parallel && !whole_;
        std::set<size_t> depths = depths_of(f->begin);
        depths.merge(depths_of(f->end));
        loops_.push_back(
            {f->var, once ? 1 : trips(*f, values_), f->begin.eval(values_), std::move(depths)});
        block(f->body);
        loops_.pop_back();
      }
    }
  }

  double read = 0, written = 0;

 private:
  struct Loop {
    std::string var;
    double trips;
    int64_t begin;
    std::set<size_t> depths;  // loops that its bounds depend on
  };

  /// Loops that `s` depends on: by itself, by the bounds of others, or by a symbol bound in them.
  std::set<size_t> depths_of(const Sym& s) const {
    std::set<size_t> out;
    for (const std::string& name : s.symbols()) {
      for (size_t i = 0; i < loops_.size(); ++i)
        if (loops_[i].var == name) {
          out.insert(i);
          out.insert(loops_[i].depths.begin(), loops_[i].depths.end());
        }
      if (const auto b = bound_.find(name); b != bound_.end())
        for (size_t i = 0; i < b->second; ++i) out.insert(i);
    }
    return out;
  }

  double access(const std::string& name, const Sym& index, bool write) {
    if (is_local(k_, name)) return 0;
    double elements = 1;
    std::string key = name + (write ? ">" : "<");
    for (const size_t i : depths_of(index)) {
      elements *= std::max(0.0, loops_[i].trips);
      key += std::to_string(loops_[i].begin) + ",";
    }
    // The same element read in two stages of a row comes from cache the second time; loop
    // variables are numbered so that stages look alike.
    key += index
               .substitute([&](std::string_view s) -> std::optional<Sym> {
                 for (size_t i = 0; i < loops_.size(); ++i)
                   if (loops_[i].var == s) return Sym::symbol("at" + std::to_string(i));
                 return std::nullopt;
               })
               .str();
    if (!seen_.insert(key).second) return 0;
    return elements * static_cast<double>(dtype_bytes(memory_dtype(k_, name)));
  }

  const Kernel& k_;
  const SymEnv& values_;
  bool whole_;
  std::vector<Loop> loops_;
  std::map<std::string, size_t> bound_;  // symbol -> depth of its Bind
  std::set<std::string> seen_;
};

}  // namespace

SymEnv guesses(const Kernel& k, const SymEnv& sizes) {
  std::set<std::string, std::less<>> zero;
  for_each_node(k.body, [&](const Node& n) {
    if (const For* f = std::get_if<For>(&n.v)) zero.insert(f->var);
    if (const Bind* b = std::get_if<Bind>(&n.v)) zero.insert(b->symbol);
  });
  return [zero = std::move(zero), sizes](std::string_view name) -> std::optional<int64_t> {
    if (zero.contains(name)) return 0;
    if (sizes)
      if (const auto v = sizes(name)) return v;
    return kGuessedSize;
  };
}

double trips(const For& f, const SymEnv& values) {
  return static_cast<double>((f.end - f.begin).eval(values));
}

bool is_chain(ScalarOp op) {
  const double cycles = float_op_cycles(op);
  const bool rounds = op == ScalarOp::floor_div || op == ScalarOp::mod || op == ScalarOp::fmod;
  const bool is_random = op == ScalarOp::rand_uniform || op == ScalarOp::rand_normal;
  return is_random ||
         (kShortestChain <= cycles && cycles <= kLongestChain && !rounds && op != ScalarOp::rsqrt);
}

double block_cycles(const std::vector<Node>& body, const SymEnv& values) {
  return Cycles(values).block(body);
}
double loop_cycles(const For& f, const SymEnv& values) { return Cycles(values).loop(f); }
double body_cycles(const For& f, const SymEnv& values) { return Cycles(values).body(f); }

IterationCost iteration_cost(const Kernel& k, const SymEnv& sizes) {
  const SymEnv values = guesses(k, sizes);
  const For* p = parallel_loop(k);
  Bytes bytes(k, values, false);
  bytes.block(k.body);
  return {block_cycles(p ? p->body : k.body, values), bytes.read, bytes.written};
}

double iteration_cost_ns(const Kernel& k, const SymEnv& sizes) {
  const IterationCost c = iteration_cost(k, sizes);
  return std::max(c.cycles / kCyclesPerNs, (c.bytes_read + c.bytes_written) * kNsPerByte);
}

KernelBytes kernel_bytes(const Kernel& k, const SymEnv& sizes) {
  const SymEnv values = guesses(k, sizes);
  Bytes bytes(k, values, true);
  bytes.block(k.body);
  return {bytes.read, bytes.written};
}

}  // namespace ourjit::loop
