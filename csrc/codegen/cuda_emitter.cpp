#include "codegen/cuda_emitter.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/kernel_status.h"
#include "codegen/cuda_index.h"
#include "codegen/cuda_kernel.h"
#include "codegen/cuda_ops.h"
#include "codegen/cuda_prelude.h"
#include "loop/visit.h"

namespace ourjit {
namespace cuda {
namespace {

std::string code(KernelStatus s) { return std::to_string(static_cast<int>(s)); }

/// Text for a // comment: one line that cannot go on on the next.
std::string comment(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c < ' '; }, ' ');
  while (!text.empty() && (text.back() == '\\' || text.back() == ' ')) text.pop_back();
  return "// " + text;
}

}  // namespace

KernelEmitter::KernelEmitter(const loop::Kernel& k, bool aligned) : k_(k), aligned_(aligned) {
  // Vectors of 16-bit floats are converted as they are loaded and stored, where nothing else wants
  // them as they are.
  std::map<loop::ValueId, int> uses;
  loop::for_each_node(k.body, [&](const loop::Node& n) {
    for (const loop::ValueId v : loop::operands(n)) ++uses[v];
  });
  loop::for_each_node(k.body, [&](const loop::Node& n) {
    const auto* c = std::get_if<loop::Compute>(&n.v);
    if (!c || c->op != ScalarOp::cast) return;
    const DType from = dtype(c->args[0]), to = c->dtype;
    if (is_half(from) && to == DType::f32 && uses[c->args[0]] == 1)
      widened_[c->args[0]] = c->result;
    if (from == DType::f32 && is_half(to) && uses[c->result] == 1)
      narrowed_[c->result] = c->args[0];
  });
}

std::string KernelEmitter::run() {
  OURJIT_CHECK(loop::has_threads(k_)) << "@" << k_.name << " is not scheduled for a GPU";
  // The body comes first, as it tells how much scratch memory is needed.
  out_.indent();
  if (const loop::For* p = loop::parallel_loop(k_)) {
    out_.line("const oj_index " + p->var + " = " +
              (p->begin.is_const(0) ? "" : index(p->begin) + " + ") +
              (k_.table_rows ? "oj_block;" : "blockIdx.x;"));
  }
  for (const loop::Node& n : k_.body) {
    const auto* f = std::get_if<loop::For>(&n.v);
    if (f && f->kind == loop::LoopKind::Parallel)
      block(f->body);
    else
      statement(n);
  }
  epilogue();
  out_.dedent();
  std::string body = out_.take();
  out_ = TextWriter();
  for (const std::string& p : k_.provenance) out_.line(comment(p));
  parameters();
  out_.indent();
  locals();
  return out_.take() + body + "}\n";
}

// --- names ---

std::string KernelEmitter::value(loop::ValueId id) const {
  return "v" + std::to_string(id) + (varies(id) ? "[l]" : "");
}

std::string KernelEmitter::index(const Sym& s) const {
  return c_index(s, [&](const std::string& name) {
    if (lanes_ == 1 || !varying_symbols_.contains(name)) return name;
    if (name == wide_->var || name == wide_->slot) return "(" + name + " + l)";
    return name + "[l]";
  });
}

std::string KernelEmitter::first_index(const Sym& s) const {
  return c_index(s, [](const std::string& name) { return name; });
}

std::string KernelEmitter::place(const std::string& memory, const Sym& s, bool in_lanes) const {
  const Sym all = s.substitute([&](std::string_view name) -> std::optional<Sym> {
    const auto it = unrolled_.find(name);
    const Sym x = it == unrolled_.end() ? Sym::symbol(name) : it->second;
    return in_lanes && wide_ && name == wide_->var ? x + Sym::symbol("l") : x;
  });
  const auto becomes_number = [&](const SymTerm& t) {
    return std::all_of(t.atoms.begin(), t.atoms.end(), [&](const auto& a) {
      return a->kind == SymAtomKind::Symbol && (a->name == "l" || numbers_.contains(a->name));
    });
  };
  Sym rest, number;
  for (const SymTerm& t : all.terms()) (becomes_number(t) ? number : rest) += to_sym(t);
  (number.is_const() ? rest : number) += all.constant();
  const auto text = [&](const Sym& x) {
    return c_index(x, [&](const std::string& name) {
      const bool array = in_lanes && wide_ && name != wide_->var && varying_symbols_.contains(name);
      return !array ? name : name == wide_->slot ? "(" + name + " + l)" : name + "[l]";
    });
  };
  if (number.is_const(0)) return memory + ", " + text(rest);
  if (rest.is_const(0)) return memory + ", " + text(number);
  return memory + " + (" + text(rest) + "), " + text(number);
}

bool KernelEmitter::varies(const Sym& s) const {
  if (lanes_ == 1) return false;
  const bool of_others =
      std::any_of(varying_symbols_.begin(), varying_symbols_.end(),
                  [&](const std::string& name) { return name != wide_->var && s.mentions(name); });
  return of_others || over_lanes(s, wide_->var, wide_->begin, lanes_).mentions(kLane);
}

bool KernelEmitter::steps_by_one(const Sym& s) const {
  for (const std::string& name : varying_symbols_)
    if (name != wide_->var && s.mentions(name)) return false;
  const auto linear = over_lanes(s, wide_->var, wide_->begin, lanes_).linear_in(kLane);
  return linear && linear->first.is_const(1);
}

std::string KernelEmitter::both(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return a + b;
  return a + " && " + b;
}

std::string KernelEmitter::condition(loop::ValueId mask, bool varying) const {
  std::string c = predicate_;
  if (lanes_ > 1 && some_lanes_)
    c = all_or_none_ ? active_ : varying ? "l < " + active_ : active_ + " > 0";
  return mask == loop::kNone ? c : both(c, value(mask));
}

// --- statements ---

void KernelEmitter::block(const std::vector<loop::Node>& body) {
  for (const loop::Node& n : body) statement(n);
}

void KernelEmitter::end_lanes() {
  if (!in_lane_loop_) return;
  in_lane_loop_ = false;
  out_.dedent();
  out_.line("}");
}

void KernelEmitter::perform(const std::string& text, bool varying) {
  if (!varying) {
    end_lanes();
    out_.line(text);
    return;
  }
  if (!in_lane_loop_) {
    out_.line("OJ_UNROLL");
    out_.line("for (int l = 0; l < " + std::to_string(lanes_) + "; ++l) {");
    out_.indent();
    in_lane_loop_ = true;
  }
  out_.line(text);
}

void KernelEmitter::define(loop::ValueId id, const std::string& expression) {
  if (!varies(id)) {
    perform("const " + c_type(dtype(id)) + " " + value(id) + " = " + expression + ";", false);
    return;
  }
  // The arrays of a loop over lanes are declared at the head of the thread loop's body.
  perform(value(id) + " = " + expression + ";", true);
}

void KernelEmitter::statement(const loop::Node& n) {
  std::visit(loop::Overloaded{
                 [&](const loop::Const& c) { define(c.result, c_constant(c.dtype, c.bits)); },
                 [&](const loop::Index& i) {
                   indices_.insert_or_assign(i.result, i.expr);
                   define(
                       i.result,
                       "(oj_i64)(" + (varies(i.expr) ? index(i.expr) : first_index(i.expr)) + ")");
                 },
                 [&](const loop::Compute& c) { compute(c); },
                 [&](const loop::Load& l) { load(l); },
                 [&](const loop::Store& s) { store(s); },
                 [&](const loop::Bind& b) { bind(b); },
                 [&](const loop::Barrier&) {
                   const bool warp = in_y_ && k_.threads_x <= 32;
                   perform(warp ? "oj_warp_barrier();" : "oj_barrier();", false);
                 },
                 [&](const loop::For& f) {
                   end_lanes();
                   loop::is_thread_loop(f) ? thread_loop(f) : serial_loop(f);
                 },
             },
             n.v);
}

void KernelEmitter::compute(const loop::Compute& c) {
  if (converted_.contains(c.result)) return;
  std::vector<std::string> args;
  for (const loop::ValueId a : c.args) args.push_back(value(a));
  const DType operand = dtype(c.args.back());
  if (divides_integers(c.op, operand)) {
    const bool varying = varies(c.args[1]);
    perform("if (" + both(condition(loop::kNone, varying), args[1] + " == 0") +
                ") oj_fail(oj_status, " + code(KernelStatus::ZeroDivisionError) + ");",
            varying);
  }
  if (shares_random_blocks(c)) {
    perform("oj_" + std::string(scalar_op_info(c.op).name) + "_vector(v" +
                std::to_string(c.result) + ", " + args[0] + ", " +
                first_index(indices_.at(c.args[1])) + ");",
            false);
    return;
  }
  define(c.result, c_compute(c.op, operand, c.dtype, args));
}

bool KernelEmitter::shares_random_blocks(const loop::Compute& c) const {
  const bool uniform = c.op == ScalarOp::rand_uniform;
  if ((!uniform && c.op != ScalarOp::rand_normal) || !varies(c.result) || varies(c.args[0]))
    return false;
  const auto i = indices_.find(c.args[1]);
  const int share = (uniform ? 4 : 2) / (c.dtype == DType::f64 ? 2 : 1);  // base/philox.h
  if (i == indices_.end() || lanes_ % share != 0 || !steps_by_one(i->second)) return false;
  const Sym first = wide_->begin + i->second.linear_in(wide_->var)->second;
  return exact_div(first, share).has_value();
}

std::string KernelEmitter::element(const std::string& memory, const Sym& at) const {
  const loop::Local* local = loop::find_local(k_, memory);
  if (local && local->space == loop::Space::Thread) return memory + "[" + index(at) + "]";
  return (local ? "oj_shared_load(" : "oj_load(") + place(memory, at, varies(at)) + ")";
}

bool KernelEmitter::loads_vector(const loop::Load& l) const {
  return varies(l.result) && !is_local(k_, l.buffer) && l.mask == loop::kNone &&
         steps_by_one(l.index);
}

bool KernelEmitter::stores_vector(const loop::Store& s) const {
  const bool by_all = (in_x_ || k_.threads_x == 1) && (in_y_ || k_.threads_y == 1);
  return lanes_ > 1 && varies(s.index) && !is_local(k_, s.buffer) && !s.accumulate && !s.atomic &&
         s.mask == loop::kNone && varies(s.value) && by_all && steps_by_one(s.index);
}

void KernelEmitter::convert_vectors(const std::vector<loop::Node>& body) {
  converted_.clear();
  for (const loop::Node& n : body) {
    const auto* l = std::get_if<loop::Load>(&n.v);
    const auto* s = std::get_if<loop::Store>(&n.v);
    if (l && widened_.contains(l->result) && loads_vector(*l))
      converted_.insert(widened_.at(l->result));
    if (s && narrowed_.contains(s->value) && stores_vector(*s) && varies(narrowed_.at(s->value)))
      converted_.insert(s->value);
  }
}

void KernelEmitter::move_vector(const std::string& verb, const std::string& arguments,
                                const Sym& index, DType memory) {
  // What the first lane's index is a multiple of, whatever the thread: each adds so many lanes.
  const int64_t unit =
      std::min<int64_t>(static_cast<int64_t>(kBufferAlignment) / dtype_bytes(memory), lanes_);
  const Sym first = index.substitute([&](std::string_view name) -> std::optional<Sym> {
    return name == wide_->var ? wide_->begin : Sym::symbol(name);
  });
  const bool aligned = aligned_ && is_multiple(first, unit);
  const bool all = !some_lanes_ || all_or_none_;
  std::string text = "oj_" + verb +
                     (!aligned ? "_anywhere("
                      : all    ? "_vector("
                               : "_some(") +
                     arguments;
  if (!all || !aligned) text += ", " + (all ? std::to_string(lanes_) : active_);
  text += ");";
  perform(some_lanes_ && all_or_none_ ? "if (" + active_ + ") " + text : text, false);
}

void KernelEmitter::load(const loop::Load& l) {
  const DType t = dtype(l.result);
  if (loads_vector(l)) {
    const auto wide = widened_.find(l.result);
    const loop::ValueId result = wide == widened_.end() ? l.result : wide->second;
    move_vector("load", "v" + std::to_string(result) + ", " + place(l.buffer, l.index, false),
                l.index, t);
    return;
  }
  const loop::Local* local = loop::find_local(k_, l.buffer);
  const bool of_thread = local && local->space == loop::Space::Thread;
  // Registers may be read where there is no iteration.
  const std::string c =
      of_thread && l.mask == loop::kNone ? "" : condition(l.mask, varies(l.result));
  const std::string x = element(l.buffer, l.index);
  define(l.result, c.empty() ? x : c + " ? " + x + " : " + c_zero(t));
}

void KernelEmitter::store(const loop::Store& s) {
  // Every lane adds, even where all add the same.
  const bool varying = varies(s.index) || varies(s.value) ||
                       (s.mask != loop::kNone && varies(s.mask)) || (s.atomic && lanes_ > 1);
  const loop::Local* local = loop::find_local(k_, s.buffer);
  const bool of_thread = local && local->space == loop::Space::Thread;
  // Of threads that do the same, the first one stores.
  std::string first;
  if (!of_thread && !in_x_ && k_.threads_x > 1) first = "threadIdx.x == 0";
  if (!of_thread && !in_y_ && k_.threads_y > 1) first = both(first, "threadIdx.y == 0");
  if (stores_vector(s)) {
    const auto wide = narrowed_.find(s.value);
    const loop::ValueId v = wide == narrowed_.end() ? s.value : wide->second;
    move_vector("store", place(s.buffer, s.index, false) + ", v" + std::to_string(v), s.index,
                dtype(s.value));
    return;
  }
  const std::string v = value(s.value);
  std::string text;
  if (of_thread) {
    text = element(s.buffer, s.index) + (s.accumulate ? " += " : " = ") + v + ";";
  } else {
    const std::string verb = s.atomic ? "atomic_add" : s.accumulate ? "accumulate" : "store";
    const std::string function = (local ? "oj_shared_" : "oj_") + verb + "(";
    text = function + place(s.buffer, s.index, varies(s.index)) + ", " + v + ");";
  }
  // A register of an iteration that does not exist may hold anything.
  const std::string c = of_thread && s.mask == loop::kNone && !s.accumulate
                            ? std::string()
                            : both(first, condition(s.mask, varying));
  perform(c.empty() ? text : "if (" + c + ") " + text, varying);
}

void KernelEmitter::bind(const loop::Bind& b) {
  const bool varying = varying_symbols_.contains(b.symbol);
  const std::string name = b.symbol + (varying ? "[l]" : ""), extent = index(b.extent);
  const std::string v = "(oj_i64)" + value(b.value);
  const std::string wrapped = b.wrap ? "oj_wrap(" + v + ", " + extent + ")" : v;
  const std::string c = condition(b.mask, varying);
  const std::string fit = "oj_bind(" + wrapped + ", " + extent + ", oj_status)";
  perform((varying ? "" : "const oj_index ") + name + " = (oj_index)" +
              (c.empty() ? fit : "(" + c + " ? " + fit + " : 0)") + ";",
          varying);
}

void KernelEmitter::serial_loop(const loop::For& f) {
  OURJIT_CHECK(f.kind == loop::LoopKind::Serial) << "the loop " << f.var << " is for a CPU";
  OURJIT_CHECK(lanes_ == 1) << "the loop " << f.var
                            << " is in one whose threads take several lanes";
  begin_reductions(f);
  const bool number = unroll_serial(f);
  out_.line("for (oj_index " + f.var + " = " + index(f.begin) + "; " + f.var + " < " +
            index(f.end) + "; ++" + f.var + ") {");
  out_.indent();
  if (number) numbers_.insert(f.var);
  block(f.body);
  accumulate(f);
  numbers_.erase(f.var);
  out_.dedent();
  out_.line("}");
  end_reductions(f);
}

}  // namespace cuda

std::string emit_cuda_kernel(const loop::Kernel& k, bool aligned) {
  return cuda::KernelEmitter(k, aligned).run();
}

std::string emit_cuda_unit(const std::vector<const loop::Kernel*>& kernels, bool aligned) {
  std::string text;
  for (const loop::Kernel* k : kernels) text += "\n" + emit_cuda_kernel(*k, aligned);
  return cuda_prelude_for(text) + text;
}

}  // namespace ourjit
