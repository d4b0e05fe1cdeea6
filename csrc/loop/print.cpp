#include <unordered_map>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "base/text.h"
#include "loop/text.h"

namespace ourjit::loop {
namespace {

std::string_view access_name(Access a) {
  switch (a) {
    case Access::In:
      return "in";
    case Access::Out:
      return "out";
    case Access::InOut:
      return "inout";
  }
  return "";
}

/// "  # model.py:41" of "mul %x  # model.py:41"; the operator where its line is not known.
std::string comment_of(const std::string& provenance) {
  const size_t at = provenance.find("  # ");
  return at == std::string::npos ? "  # " + provenance : provenance.substr(at);
}

/// Writes a kernel; with `canonical`, everything that has a name gets a new one when it is first
/// met; with `lines`, statements tell where they came from.
class Printer {
 public:
  Printer(const Kernel& k, bool canonical, bool lines)
      : k_(k), canonical_(canonical), lines_(lines) {}

  void kernel() {
    std::string header;
    const auto parameter = [&](const std::string& text) {
      header += (header.empty() ? "" : ", ") + text;
    };
    for (const std::string& s : k_.sizes) declare_symbol(s, "s", sizes_);
    for (const Buffer& b : k_.buffers)
      parameter(declare_memory(b.name, "b", buffers_) + ": " + std::string(access_name(b.access)) +
                " " + std::string(dtype_name(b.dtype)) + "[" + sym(b.size) + "]");
    for (const std::string& s : k_.sizes) parameter(symbol(s) + ": index");
    const std::string threads = has_threads(k_) ? "threads(" + std::to_string(k_.threads_x) + ", " +
                                                      std::to_string(k_.threads_y) + ") "
                                                : "";
    const std::string table = k_.table_rows ? "table(" + std::to_string(k_.table_rows) + ") " : "";
    out_.line("kernel @" + (canonical_ ? "k" : k_.name) + "(" + header + ") " + threads + table +
              "{");
    out_.indent();
    for (const Local& l : k_.locals)
      out_.line((l.space == Space::Thread ? "thread local " : "local ") +
                declare_memory(l.name, "l", locals_) + ": " + std::string(dtype_name(l.dtype)) +
                "[" + std::to_string(l.size) + "]");
    block(k_.body);
    out_.dedent();
    if (!k_.epilogue.empty()) {
      out_.line("} epilogue {");
      out_.indent();
      block(k_.epilogue);
      out_.dedent();
    }
    out_.line("}");
  }

  std::string take() { return out_.take(); }

 private:
  void block(const std::vector<Node>& body) {
    for (const Node& n : body) {
      comment_ = comment(n.line);
      std::visit(Overloaded{
                     [&](const Const& c) {
                       define(c.result, c.dtype,
                              "const " + scalar_str(Scalar::from_bits(c.dtype, c.bits)));
                     },
                     [&](const Index& i) { define(i.result, DType::i64, "index " + sym(i.expr)); },
                     [&](const Compute& c) {
                       std::string text(scalar_op_info(c.op).name);
                       for (size_t i = 0; i < c.args.size(); ++i)
                         text += (i ? ", " : " ") + value(c.args[i]);
                       define(c.result, c.dtype, text);
                     },
                     [&](const Load& l) {
                       define(l.result, memory_dtype(k_, l.buffer),
                              "load " + memory(l.buffer) + "[" + sym(l.index) + "]" + mask(l.mask));
                     },
                     [&](const Store& s) {
                       statement(std::string("store ") +
                                 (s.atomic       ? "atomic "
                                  : s.accumulate ? "accumulate "
                                                 : "") +
                                 memory(s.buffer) + "[" + sym(s.index) + "], " + value(s.value) +
                                 mask(s.mask));
                     },
                     [&](const Bind& b) {
                       const std::string text = " = " + value(b.value) + " in 0.." + sym(b.extent) +
                                                (b.wrap ? " wrap" : "") + mask(b.mask);
                       statement("bind " + declare_symbol(b.symbol, "t", binds_) + text);
                     },
                     [&](const Barrier&) { statement("barrier"); },
                     [&](const For& f) { loop(f); },
                 },
                 n.v);
    }
  }

  /// A line with what is known of the node at hand.
  void statement(const std::string& text) { out_.line(text + comment_); }

  std::string comment(int line) const {
    if (!lines_ || line < 0) return "";
    return comment_of(k_.provenance.at(static_cast<size_t>(line)));
  }

  void loop(const For& f) {
    std::string line, reduce, yield;
    for (const Reduction& r : f.reductions) {
      line += (line.empty() ? "" : ", ") + declare_value(r.result);
      reduce += (reduce.empty() ? " reduce " : ", ") + std::string(reduce_op_name(r.op)) + " " +
                std::string(dtype_name(r.dtype));
    }
    if (!line.empty()) line += " = ";
    const std::string bounds = sym(f.begin) + ".." + sym(f.end);
    line += f.kind == LoopKind::Parallel ? "parallel " : "for ";
    line += declare_symbol(f.var, "i", loops_) + " in " + bounds;
    if (f.kind == LoopKind::Vector)
      line += " vector(" + std::to_string(f.width) + ", " + std::to_string(f.unroll) + ")";
    if (is_thread_loop(f))
      line += std::string(" threads(") + (f.kind == LoopKind::ThreadX ? "x" : "y") + ", " +
              std::to_string(f.width) + ")";
    if (!f.slot.empty()) line += " slot " + declare_symbol(f.slot, "i", loops_);
    out_.line(line + reduce + " {" + (f.reductions.empty() ? "" : comment(f.reductions[0].line)));
    out_.indent();
    block(f.body);
    for (const Reduction& r : f.reductions)
      yield += (yield.empty() ? "yield " : ", ") + value(r.value);
    if (!yield.empty()) out_.line(yield);
    out_.dedent();
    out_.line("}");
  }

  void define(ValueId id, DType type, const std::string& text) {
    statement(declare_value(id) + ": " + std::string(dtype_name(type)) + " = " + text);
  }

  std::string mask(ValueId id) { return id == kNone ? "" : " mask " + value(id); }

  std::string declare_value(ValueId id) {
    if (canonical_) values_[id] = next_value_++;
    return value(id);
  }
  std::string value(ValueId id) const {
    if (!canonical_) return "%" + std::to_string(id);
    const auto it = values_.find(id);
    OURJIT_CHECK(it != values_.end()) << "%" << id << " is used before it is defined";
    return "%" + std::to_string(it->second);
  }

  std::string declare_symbol(const std::string& name, const char* prefix, int& count) {
    if (!canonical_) return name;
    const std::string renamed = prefix + std::to_string(count++);
    symbols_.insert_or_assign(name, Sym::symbol(renamed));
    return renamed;
  }
  std::string symbol(const std::string& name) const {
    return canonical_ ? symbols_.at(name).str() : name;
  }

  std::string sym(const Sym& s) const {
    if (!canonical_ || s.is_const()) return s.str();
    return s
        .substitute([&](std::string_view name) -> std::optional<Sym> {
          const auto it = symbols_.find(std::string(name));
          if (it == symbols_.end()) return std::nullopt;
          return it->second;
        })
        .str();
  }

  std::string declare_memory(const std::string& name, const char* prefix, int& count) {
    std::string renamed = canonical_ ? prefix + std::to_string(count++) : name;
    memories_.insert_or_assign(name, renamed);
    return renamed;
  }
  const std::string& memory(const std::string& name) const {
    const auto it = memories_.find(name);
    return it == memories_.end() ? name : it->second;
  }

  const Kernel& k_;
  bool canonical_, lines_;
  std::string comment_;  // of the node at hand
  TextWriter out_;
  std::unordered_map<ValueId, int> values_;
  std::unordered_map<std::string, Sym> symbols_;
  std::unordered_map<std::string, std::string> memories_;
  int next_value_ = 0, sizes_ = 0, buffers_ = 0, locals_ = 0, loops_ = 0, binds_ = 0;
};

std::string write(const Kernel& k, bool canonical, bool lines) {
  Printer p(k, canonical, lines);
  p.kernel();
  return p.take();
}

}  // namespace

std::string print(const Kernel& k, bool with_provenance) {
  std::string comments;
  if (with_provenance)
    for (const std::string& p : k.provenance) comments += "# " + p + "\n";
  return comments + write(k, false, with_provenance);
}

std::string canonical_text(const Kernel& k) { return write(k, true, false); }

}  // namespace ourjit::loop
