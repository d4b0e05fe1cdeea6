// Loops over the threads of a block, and reductions.
#include <algorithm>
#include <optional>

#include "base/error.h"
#include "codegen/cuda_index.h"
#include "codegen/cuda_kernel.h"
#include "codegen/cuda_ops.h"
#include "loop/simplify.h"
#include "loop/visit.h"

namespace ourjit::cuda {
namespace {

constexpr int64_t kMostUnrolled = 8;      // iterations of a thread
constexpr int64_t kMostOperations = 128;  // in all of them, where nothing asks for unrolling
constexpr int64_t kFewAtATime = 4;        // iterations of a longer loop: OJ_UNROLL_4
constexpr int64_t kExpOperations = 6;     // an exp_sum counts as so many

bool is_arg(const loop::Reduction& r) {
  return r.op == ReduceOp::argmax || r.op == ReduceOp::argmin;
}

/// Operations of one lane.
int64_t operations(const loop::Node& n) {
  const auto* c = std::get_if<loop::Compute>(&n.v);
  return c ? c_operations(c->op) : !std::holds_alternative<loop::Const>(n.v);
}

/// The reduction of `f` that r's accumulator holds besides its own result: exp_sum's holds the
/// greatest of its values.
const loop::Reduction* holder(const loop::For& f, const loop::Reduction& r) {
  if (r.op != ReduceOp::max) return nullptr;
  for (const loop::Reduction& s : f.reductions)
    if (s.op == ReduceOp::exp_sum && s.value == r.value) return &s;
  return nullptr;
}

/// Bytes of an accumulator.
int64_t accumulator_bytes(const loop::Reduction& r) {
  const int64_t value = std::max<int64_t>(4, dtype_bytes(r.dtype));
  return is_arg(r) ? 16 : r.op == ReduceOp::exp_sum ? 2 * value : value;
}

/// True if all threads must go through `body` together.
bool meets(const std::vector<loop::Node>& body) {
  bool found = false;
  loop::for_each_node(body, [&](const loop::Node& n) {
    const auto* f = std::get_if<loop::For>(&n.v);
    found |= std::holds_alternative<loop::Barrier>(n.v) ||
             (f && loop::is_thread_loop(*f) && !f->reductions.empty());
  });
  return found;
}

bool has_thread_loop(const std::vector<loop::Node>& body) {
  bool found = false;
  loop::for_each_node(body, [&](const loop::Node& n) {
    const auto* f = std::get_if<loop::For>(&n.v);
    found |= f && loop::is_thread_loop(*f);
  });
  return found;
}

/// True if the loop's length is a multiple of its width, whatever the sizes are.
bool lanes_end_together(const loop::For& f) {
  const auto whole = [&](const Sym& end) { return exact_div(end - f.begin, f.width).has_value(); };
  const auto ends = f.end.as_min();
  return ends ? whole(ends->first) && whole(ends->second) : whole(f.end);
}

}  // namespace

int KernelEmitter::threads(const loop::For& f) const {
  return f.kind == loop::LoopKind::ThreadX ? k_.threads_x : k_.threads_y;
}

std::optional<int64_t> KernelEmitter::trips(const loop::For& f) const {
  const std::optional<int64_t> most = loop::most_iterations(f);
  const int64_t step = loop::is_thread_loop(f) ? int64_t{threads(f)} * f.width : 1;
  return most ? std::optional((*most + step - 1) / step) : std::nullopt;
}

int64_t KernelEmitter::operations(const loop::For& f) const {
  int64_t n = 0;
  for (const loop::Node& x : f.body) {
    if (const auto* inner = std::get_if<loop::For>(&x.v))
      n += 1 + operations(*inner) * trips(*inner).value_or(1);
    else
      n += cuda::operations(x);
  }
  for (const loop::Reduction& r : f.reductions) n += r.op == ReduceOp::exp_sum ? kExpOperations : 0;
  return n * f.width;
}

/// Notes what differs between the lanes of the thread loop at hand.
void KernelEmitter::mark_varying(const std::vector<loop::Node>& body) {
  for (const loop::Node& n : body) {
    bool varying = false;
    for (const loop::ValueId v : loop::operands(n)) varying |= varying_values_.contains(v);
    loop::for_each_sym(n, [&](const Sym& s) { varying |= varies(s); });
    if (!varying) continue;
    for (const loop::ValueId v : loop::results(n)) varying_values_.insert(v);
    if (const auto* b = std::get_if<loop::Bind>(&n.v)) varying_symbols_.insert(b->symbol);
  }
}

void KernelEmitter::thread_loop(const loop::For& f) {
  OURJIT_CHECK(lanes_ == 1) << "the loop " << f.var
                            << " is in one whose threads take several lanes";
  const std::string thread = f.kind == loop::LoopKind::ThreadX ? "threadIdx.x" : "threadIdx.y";
  const int64_t step = int64_t{threads(f)} * f.width;
  const std::optional<int64_t> most = loop::most_iterations(f);
  const int64_t trips = this->trips(f).value_or(0);
  const bool exact = most && *most % step == 0 && f.end - f.begin == Sym(*most);
  const std::string own = thread + (f.width > 1 ? " * " + std::to_string(f.width) : "");
  std::string first = (f.begin.is_const(0) ? "" : index(f.begin) + " + ") + own;
  begin_reductions(f);
  bool& inside = f.kind == loop::LoopKind::ThreadX ? in_x_ : in_y_;
  inside = true;
  const std::string predicate = predicate_;
  const bool together = meets(f.body);
  const bool unrolled = most && (trips <= kMostUnrolled || !f.slot.empty());
  const std::string k = f.var + "_k";
  if (unrolled) {
    if (trips == 1) {
      out_.line("{");
    } else {
      // Slots name registers, which takes unrolled loops.
      const bool unroll = !f.slot.empty() || trips * operations(f) <= kMostOperations;
      if (unroll) {
        unrolled_[f.var] = Sym::symbol(f.var + "_t") + Sym::symbol(k) * step;
        numbers_.insert(k);
      }
      out_.line(unroll ? "OJ_UNROLL" : "OJ_ROLLED");
      out_.line("for (int " + k + " = 0; " + k + " < " + std::to_string(trips) + "; ++" + k +
                ") {");
    }
    out_.indent();
    const std::string number = trips == 1 ? "" : " + " + k + " * " + std::to_string(step);
    if (unrolled_.contains(f.var)) {
      out_.line("const oj_index " + f.var + "_t = " + first + ";");
      first = f.var + "_t";
    }
    out_.line("const oj_index " + f.var + " = " + first + number + ";");
    if (!f.slot.empty())
      out_.line("const int " + f.slot + " = " +
                (trips == 1 ? "0" : k + " * " + std::to_string(f.width)) + ";");
  } else {
    const std::string end = index(f.end);
    if (!f.slot.empty()) out_.line("int " + f.slot + " = -" + std::to_string(f.width) + ";");
    if (!has_thread_loop(f.body) && kFewAtATime * operations(f) <= kMostOperations)
      out_.line("OJ_UNROLL_4");
    // Together, all threads take as many steps as the first one.
    const std::string base = together ? f.var + "_0" : f.var;
    out_.line("for (oj_index " + base + " = " + (together ? index(f.begin) : first) + "; " + base +
              " < " + end + "; " + base + " += " + std::to_string(step) + ") {");
    out_.indent();
    if (together) out_.line("const oj_index " + f.var + " = " + base + " + " + own + ";");
    if (!f.slot.empty()) out_.line(f.slot + " += " + std::to_string(f.width) + ";");
  }
  // Where threads need not meet and lanes exist all or none, a branch takes the place of
  // predicates.
  const bool branch = !together && (exact || f.width == 1 || lanes_end_together(f));
  std::string exists;
  if (branch) {
    exists = both(predicate_, exact || !unrolled ? "" : f.var + " < " + index(f.end));
    // Of a loop that is unrolled, only the last iteration may be beyond the end.
    const Sym length = f.end - f.begin;
    if (!exact && predicate_.empty() && unrolled_.contains(f.var) && length.is_const() &&
        length.value() >= step)
      exists = k + " < " + std::to_string(length.value() / step) + " || " + exists;
    predicate_.clear();
  }
  if (!exists.empty()) {
    out_.line("if (" + exists + ") {");
    out_.indent();
  }
  thread_body(f, exact || branch);
  if (!exists.empty()) {
    out_.dedent();
    out_.line("}");
  }
  out_.dedent();
  out_.line("}");
  inside = false;
  predicate_ = predicate;
  unrolled_.erase(f.var);
  numbers_.erase(k);
  end_reductions(f);
}

bool KernelEmitter::unroll_serial(const loop::For& f) {
  if (has_thread_loop(f.body)) return false;
  const Sym count = f.end - f.begin;
  const int64_t cost = operations(f);
  const bool all =
      count.is_const() && f.begin.is_const() && count.value() * cost <= kMostOperations;
  if (all)
    out_.line("OJ_UNROLL");
  else if (kFewAtATime * cost <= kMostOperations)
    out_.line("OJ_UNROLL_4");
  return all;
}

/// `exact`: all iterations exist.
void KernelEmitter::thread_body(const loop::For& f, bool exact) {
  if (f.width == 1) {
    if (!exact) {
      const std::string on = f.var + "_on";
      out_.line("const bool " + on + " = " + both(predicate_, f.var + " < " + index(f.end)) + ";");
      predicate_ = on;
    }
    block(f.body);
    accumulate(f);
    return;
  }
  some_lanes_ = !exact || !predicate_.empty();
  if (some_lanes_) {
    active_ = f.var + "_n";
    all_or_none_ = exact || lanes_end_together(f);
    if (all_or_none_) {
      const std::string exist = exact ? "" : f.var + " < " + index(f.end);
      out_.line("const bool " + active_ + " = " + both(predicate_, exist) + ";");
    } else {
      const std::string n =
          "oj_lanes<" + std::to_string(f.width) + ">(" + index(f.end) + " - " + f.var + ")";
      out_.line("const int " + active_ + " = " +
                (predicate_.empty() ? n : predicate_ + " ? " + n + " : 0") + ";");
    }
  }
  lanes_ = f.width;
  wide_ = &f;
  varying_symbols_ = {f.var};
  if (!f.slot.empty()) varying_symbols_.insert(f.slot);
  varying_values_.clear();
  mark_varying(f.body);
  convert_vectors(f.body);
  // Lanes that do not exist are computed with, too.
  const std::string size = "[" + std::to_string(lanes_) + "]";
  const std::string zero = some_lanes_ ? " = {};" : ";";
  for (const loop::Node& n : f.body) {
    const auto* l = std::get_if<loop::Load>(&n.v);
    const bool half = l && widened_.contains(l->result) && loads_vector(*l);
    for (const loop::ValueId v : loop::results(n)) {
      const auto narrowed = narrowed_.find(v);
      const bool stored = narrowed != narrowed_.end() && converted_.contains(v);
      if (varies(v) && !half && !stored)
        out_.line(c_type(dtype(v)) + " v" + std::to_string(v) + size +
                  (l || converted_.contains(v) ? zero : ";"));
    }
    if (const auto* b = std::get_if<loop::Bind>(&n.v); b && varying_symbols_.contains(b->symbol))
      out_.line("oj_index " + b->symbol + size + ";");
  }
  block(f.body);
  accumulate(f);
  end_lanes();
  lanes_ = 1;
  wide_ = nullptr;
  some_lanes_ = all_or_none_ = false;
  varying_symbols_.clear();
  varying_values_.clear();
}

// --- reductions ---

std::string KernelEmitter::accumulator_type(const loop::Reduction& r) const {
  const std::string type = c_type(r.dtype);
  return is_arg(r)                   ? "oj_indexed<" + type + ">"
         : r.op == ReduceOp::exp_sum ? "oj_scaled_sum<" + type + ">"
                                     : type;
}

void KernelEmitter::begin_reductions(const loop::For& f) {
  for (const loop::Reduction& r : f.reductions) {
    if (holder(f, r)) continue;
    const std::string type = accumulator_type(r);
    out_.line(type + " a" + std::to_string(r.result) + " = oj_identity<" + c_functor(r.op) + ", " +
              type + ">();");
  }
}

void KernelEmitter::accumulate(const loop::For& f) {
  for (const loop::Reduction& r : f.reductions) {
    if (holder(f, r)) continue;
    const std::string a = "a" + std::to_string(r.result);
    const bool lanes = lanes_ > 1;
    if (r.op == ReduceOp::exp_sum && varies(r.value)) {
      const std::string all = std::to_string(lanes_);
      const std::string n = !some_lanes_   ? all
                            : all_or_none_ ? active_ + " ? " + all + " : 0"
                                           : active_;
      perform(a + " = oj_exp_sum_add(" + a + ", v" + std::to_string(r.value) + ", " + n + ");",
              false);
      continue;
    }
    // A value that is the same in all lanes counts once for each of them.
    const std::string at =
        f.var + (lanes ? " + l" : "") + (f.begin.is_const(0) ? "" : " - (" + index(f.begin) + ")");
    const std::string x =
        is_arg(r) ? accumulator_type(r) + "{" + value(r.value) + ", (oj_i64)(" + at + ")}"
        : r.op == ReduceOp::exp_sum ? accumulator_type(r) + "{" + value(r.value) + ", 1}"
                                    : value(r.value);
    const std::string c = condition(loop::kNone, lanes);
    const std::string step = a + " = " + c_functor(r.op) + "()(" + a + ", " + x + ");";
    perform(c.empty() ? step : "if (" + c + ") " + step, lanes);
  }
}

void KernelEmitter::end_reductions(const loop::For& f) {
  for (const loop::Reduction& r : f.reductions) {
    if (holder(f, r)) continue;
    const std::string a = "a" + std::to_string(r.result);
    std::string result = a;
    if (loop::is_thread_loop(f)) {
      const bool x = f.kind == loop::LoopKind::ThreadX;
      const int64_t all = int64_t{k_.threads_x} * k_.threads_y;
      const int64_t elements = !x ? all : k_.threads_x > 32 ? all / 32 : 0;
      scratch_bytes_ = std::max(scratch_bytes_, elements * accumulator_bytes(r));
      const std::string type = accumulator_type(r);
      result = std::string(x ? "oj_reduce_x<" : "oj_reduce_y<") + c_functor(r.op) + ", " +
               std::to_string(k_.threads_x) + ", " + std::to_string(k_.threads_y) + ">(" + a +
               ", " + (elements ? "(" + type + "*)oj_scratch" : "(" + type + "*)nullptr") + ")";
    }
    const auto define = [&](loop::ValueId v, const std::string& text) {
      out_.line("const " + c_type(dtype(v)) + " v" + std::to_string(v) + " = " + text + ";");
    };
    if (r.op != ReduceOp::exp_sum) {
      define(r.result, is_arg(r) ? "(" + result + ").index" : result);
      continue;
    }
    if (result != a) out_.line(a + " = " + result + ";");
    define(r.result, a + ".sum");
    for (const loop::Reduction& max : f.reductions)
      if (holder(f, max) == &r) define(max.result, a + ".max");
  }
}

}  // namespace ourjit::cuda
