#include "loop/verify.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "base/text.h"
#include "loop/visit.h"

namespace ourjit::loop {
namespace {

bool is_arg(ReduceOp op) { return op == ReduceOp::argmax || op == ReduceOp::argmin; }

class Verifier {
 public:
  explicit Verifier(const Kernel& k) : k_(k) {}

  void kernel() {
    at_ = "parameters";
    if (has_threads(k_) && k_.threads_x * k_.threads_y > 1024)
      fail("a block has more than 1024 threads");
    for (const std::string& s : k_.sizes) declare_symbol(s);
    for (const Buffer& b : k_.buffers) {
      declare_memory(b.name, b.dtype);
      symbols_known(b.size);
    }
    for (const Local& l : k_.locals) {
      declare_memory(l.name, l.dtype);
      if (l.size < 0) fail("a local has a negative size");
      if (l.space == Space::Thread && !has_threads(k_))
        fail("only kernels with threads have locals of threads");
    }
    block(k_.body);
    block(k_.epilogue);
    epilogue();
  }

 private:
  [[noreturn]] void fail(const std::string& rule) const {
    OURJIT_RAISE(InternalError) << "kernel @" << k_.name << ": " << rule << " (at: " << at_ << ")";
    std::abort();
  }

  // --- names ---

  void declare_symbol(const std::string& name) {
    if (!is_name(name)) fail("bad name '" + name + "'");
    if (std::find(symbols_.begin(), symbols_.end(), name) != symbols_.end())
      fail("the symbol " + name + " is defined already");
    symbols_.push_back(name);
  }

  void declare_memory(const std::string& name, DType t) {
    if (!is_name(name)) fail("bad name '" + name + "'");
    if (!memories_.insert(name).second) fail("two memories are named " + name);
    if (!is_native(t)) fail("kernels do not know " + std::string(dtype_name(t)));
  }

  void symbols_known(const Sym& s) const {
    for (const std::string& name : s.symbols())
      if (std::find(symbols_.begin(), symbols_.end(), name) == symbols_.end())
        fail("the symbol " + name + " is not in scope");
  }

  void define(ValueId id, DType t) {
    if (id < 0 || static_cast<size_t>(id) >= k_.types.size())
      fail("%" + std::to_string(id) + " is not a value");
    if (k_.types[static_cast<size_t>(id)] != t)
      fail("%" + std::to_string(id) + " has another type in the table");
    if (!defined_.insert(id).second) fail("%" + std::to_string(id) + " is defined twice");
    visible_.insert(id);
    scope_.push_back(id);
  }

  DType type(ValueId id) const {
    if (!visible_.contains(id)) fail("%" + std::to_string(id) + " is not visible");
    return k_.types[static_cast<size_t>(id)];
  }

  void mask_ok(ValueId id) const {
    if (id != kNone && !is_bool(type(id))) fail("a mask is not bool");
  }

  /// Known memory, index in scope and, if constant, within bounds.
  void access(const std::string& name, const Sym& index) const {
    if (!memories_.contains(name)) fail("there is no memory named " + name);
    symbols_known(index);
    Sym size = 0;
    for (const Buffer& b : k_.buffers)
      if (b.name == name) size = b.size;
    for (const Local& l : k_.locals)
      if (l.name == name) size = l.size;
    if (!never_ && index.is_const() &&
        (index.value() < 0 || (size.is_const() && index.value() >= size.value())))
      fail("the index is out of bounds");
  }

  // --- statements ---

  void block(const std::vector<Node>& body) {
    const size_t symbols = symbols_.size();
    const size_t values = scope_.size();
    for (const Node& n : body) {
      at_ = describe(n);
      node(n);
    }
    leave(symbols, values);
  }

  void known_line(int line) {
    if (line < kNone || line >= static_cast<int>(k_.provenance.size()))
      fail("its line is not among those of the kernel");
  }

  void epilogue() {
    std::set<std::string> touched;
    for (const Node& n : k_.epilogue) {
      at_ = describe(n);
      const auto* l = std::get_if<Load>(&n.v);
      const auto* s = std::get_if<Store>(&n.v);
      if ((!is_pure(n) && !s) || std::holds_alternative<Bind>(n.v))
        fail("an epilogue has no loops, barriers and binds");
      if (s && s->accumulate) fail("an epilogue adds nothing to memory");
      if (!l && !s) continue;
      touched.insert(l ? l->buffer : s->buffer);
      if (is_local(k_, l ? l->buffer : s->buffer)) fail("an epilogue has no locals");
    }
    for_each_node(k_.body, [&](const Node& n) {
      const auto* s = std::get_if<Store>(&n.v);
      at_ = describe(n);
      if (s && touched.contains(s->buffer)) fail("the body writes what the epilogue touches");
    });
  }

  void leave(size_t symbols, size_t values) {
    symbols_.resize(symbols);
    for (; scope_.size() > values; scope_.pop_back()) visible_.erase(scope_.back());
  }

  /// What errors call a statement.
  std::string describe(const Node& n) const {
    std::string text(node_name(n));
    for (const ValueId v : results(n)) text += " %" + std::to_string(v);
    if (const auto* l = std::get_if<Load>(&n.v))
      text += " " + l->buffer + "[" + l->index.str() + "]";
    if (const auto* s = std::get_if<Store>(&n.v))
      text += " " + s->buffer + "[" + s->index.str() + "]";
    if (const auto* c = std::get_if<Compute>(&n.v))
      text += " = " + std::string(scalar_op_info(c->op).name);
    if (const auto* f = std::get_if<For>(&n.v)) text += " " + f->var;
    if (const auto* b = std::get_if<Bind>(&n.v)) text += " " + b->symbol;
    return text;
  }

  static std::string_view node_name(const Node& n) {
    static constexpr std::string_view kNames[] = {
#define X(Name) #Name,
#include "loop/nodes.def"
#undef X
    };
    return kNames[n.v.index()];
  }

  void node(const Node& n) {
    known_line(n.line);
    std::visit(Overloaded{
                   [&](const Const& c) {
                     if (!is_native(c.dtype) || is_narrow_float(c.dtype)) fail("bad constant type");
                     if (!is_float(c.dtype) && Scalar::from_bits(c.dtype, c.bits).bits() != c.bits)
                       fail("the constant does not fit its type");
                     define(c.result, c.dtype);
                   },
                   [&](const Index& i) {
                     symbols_known(i.expr);
                     define(i.result, DType::i64);
                   },
                   [&](const Compute& c) { compute(c); },
                   [&](const Load& l) {
                     access(l.buffer, l.index);
                     mask_ok(l.mask);
                     define(l.result, memory_dtype(k_, l.buffer));
                   },
                   [&](const Store& s) { store(s); },
                   [&](const Bind& b) {
                     if (!is_integer(type(b.value))) fail("only integers can be bound");
                     symbols_known(b.extent);
                     mask_ok(b.mask);
                     declare_symbol(b.symbol);
                   },
                   [&](const Barrier&) {
                     if (!has_threads(k_)) fail("only kernels with threads have barriers");
                     if (in_x_) fail("a barrier is inside a loop of axis x");
                   },
                   [&](const For& f) { loop(f); },
               },
               n.v);
  }

  void compute(const Compute& c) {
    const ScalarOpInfo& info = scalar_op_info(c.op);
    if (static_cast<int>(c.args.size()) != info.arity) fail("wrong number of operands");
    std::vector<DType> types;
    for (const ValueId a : c.args) types.push_back(type(a));
    if (c.op == ScalarOp::rand_uniform || c.op == ScalarOp::rand_normal) {
      if (types[0] != DType::i64 || types[1] != DType::i64) fail("seed and index must be i64");
      if (c.dtype != DType::f32 && c.dtype != DType::f64) fail("random numbers are f32 or f64");
      return define(c.result, c.dtype);
    }
    if (c.op == ScalarOp::where) {
      if (!is_bool(types[0])) fail("the condition is not bool");
      types.erase(types.begin());
    }
    if (c.op != ScalarOp::cast &&
        (is_narrow_float(c.dtype) || std::any_of(types.begin(), types.end(), is_narrow_float)))
      fail("16-bit floats are computed in f32");
    for (const DType t : types) {
      if (t != types[0]) fail("the operands differ in type");
      if (!accepts(c.op, t)) fail("not defined on " + std::string(dtype_name(t)));
    }
    switch (info.result) {
      case ScalarResult::Same:
        if (c.dtype != types[0]) fail("the result must have the operands' type");
        break;
      case ScalarResult::Bool:
        if (!is_bool(c.dtype)) fail("the result must be bool");
        break;
      case ScalarResult::Cast:
        if (!is_native(c.dtype)) fail("kernels do not know the result's type");
        break;
    }
    define(c.result, c.dtype);
  }

  void store(const Store& s) {
    access(s.buffer, s.index);
    mask_ok(s.mask);
    const DType t = memory_dtype(k_, s.buffer);
    if (type(s.value) != t) fail("the value's type is not that of the memory");
    for (const Buffer& b : k_.buffers)
      if (b.name == s.buffer && b.access == Access::In) fail("an input is written");
    if (s.accumulate && (is_bool(t) || is_narrow_float(t)))
      fail("cannot accumulate in " + std::string(dtype_name(t)));
    if (s.atomic && (!has_atomic_add(t) || is_local(k_, s.buffer)))
      fail("cannot add atomically to " + std::string(dtype_name(t)) + " " + s.buffer);
  }

  void loop(const For& f) {
    for (const Reduction& r : f.reductions) known_line(r.line);
    symbols_known(f.begin);
    symbols_known(f.end);
    loop_kind(f);
    bool* inside = f.kind == LoopKind::ThreadX   ? &in_x_
                   : f.kind == LoopKind::ThreadY ? &in_y_
                                                 : nullptr;
    if (inside) *inside = true;
    const std::string description = at_;
    const size_t symbols = symbols_.size(), values = scope_.size();
    declare_symbol(f.var);
    if (!f.slot.empty()) {
      if (!is_thread_loop(f)) fail("only thread loops have slots");
      declare_symbol(f.slot);
    }
    ++depth_;
    const bool never = std::exchange(never_, never_ || (f.end - f.begin).is_const(0));
    if (f.kind == LoopKind::Vector) varying_from_ = symbols;
    if (f.kind == LoopKind::Serial) uniform_.insert(f.var);
    for (const Node& n : f.body) {
      at_ = describe(n);
      node(n);
    }
    if (f.kind == LoopKind::Vector) varying_from_.reset();
    --depth_;
    never_ = never;
    if (inside) *inside = false;
    at_ = description;
    for (const Reduction& r : f.reductions) {
      if (type(r.value) != r.dtype) fail("the reduced value has another type");
      if (is_narrow_float(r.dtype)) fail("narrow floats are reduced in f32");
      if (is_bool(r.dtype) && (r.op == ReduceOp::sum || r.op == ReduceOp::prod))
        fail("bool is reduced by max and min only");
      if (r.op == ReduceOp::exp_sum && (!has_threads(k_) || !is_float(r.dtype)))
        fail("exp_sum is of floats, in kernels with threads");
    }
    leave(symbols, values);
    for (const Reduction& r : f.reductions) define(r.result, is_arg(r.op) ? DType::i64 : r.dtype);
  }

  void loop_kind(const For& f) {
    if (f.kind == LoopKind::Parallel) {
      if (depth_ > 0) fail("a parallel loop must be outermost");
      if (!f.reductions.empty()) fail("a parallel loop reduces nothing");
      for (const Node& n : k_.body) {
        const For* other = std::get_if<For>(&n.v);
        if (other && other != &f) fail("a loop stands beside the parallel loop");
      }
      for (const Node& n : k_.body)
        if (std::holds_alternative<Store>(n.v)) fail("a store stands beside the parallel loop");
    }
    if (f.kind == LoopKind::Vector) {
      if (varying_from_) fail("a vector loop is inside a vector loop");
      if (f.width < 2 || (f.width & (f.width - 1)) || f.width > 64)
        fail("the width is not a power of two from 2 to 64");
      if (f.unroll < 1 || f.unroll > 16) fail("the unroll factor is not within 1 to 16");
    } else if (is_thread_loop(f)) {
      if (!has_threads(k_)) fail("only kernels with threads have thread loops");
      if (f.kind == LoopKind::ThreadX ? in_x_ : in_y_)
        fail("a thread loop is inside one of its own axis");
      if (f.width < 1 || f.width > 16 || (f.width & (f.width - 1)) || f.unroll != 1)
        fail("the width is not a power of two up to 16");
    } else if (f.width != 1 || f.unroll != 1) {
      fail("only vector and thread loops have a width");
    }
    if (f.kind == LoopKind::Vector && has_threads(k_))
      fail("a vector loop is in a kernel with threads");
    if (varying_from_) {
      for (size_t i = *varying_from_; i < symbols_.size(); ++i)
        if (lane_symbol(i) && (f.begin.mentions(symbols_[i]) || f.end.mentions(symbols_[i])))
          fail("the bounds depend on the vector loop");
    }
  }

  /// In a vector loop: whether symbols_[i] may differ between lanes (its variable, and binds).
  bool lane_symbol(size_t i) const {
    return i == *varying_from_ || !uniform_.contains(symbols_[i]);
  }

  const Kernel& k_;
  std::string at_;
  std::vector<std::string> symbols_;  // in scope
  std::set<std::string> memories_;
  std::set<std::string> uniform_;  // variables of serial loops
  std::set<ValueId> defined_, visible_;
  std::vector<ValueId> scope_;
  int depth_ = 0;
  bool never_ = false;                // inside a loop without iterations
  bool in_x_ = false, in_y_ = false;  // inside a thread loop of that axis
  std::optional<size_t> varying_from_;
};

}  // namespace

void verify(const Kernel& k) { Verifier(k).kernel(); }

}  // namespace ourjit::loop
