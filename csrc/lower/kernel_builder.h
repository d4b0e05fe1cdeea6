// Builds a loop IR kernel statement by statement, each at the outermost loop where its operands
// exist.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/sym.h"
#include "loop/loop_ir.h"

namespace ourjit {

/// A kernel under construction with a stack of open loops. Depth 0 is the kernel's body; depth i is
/// inside the i-th open loop. Statements without effects go to the shallowest depth that sees their
/// operands, and equal ones are made once.
class KernelBuilder {
 public:
  explicit KernelBuilder(std::string name);

  /// Opens a loop; its variable is visible until close().
  void open(loop::LoopKind kind, const std::string& var, Sym begin, Sym end);
  /// Closes the innermost loop.
  void close();
  int depth() const { return static_cast<int>(scopes_.size()) - 1; }
  /// Identifies an open scope among all that were ever open at its depth.
  int serial(int depth) const { return scopes_[static_cast<size_t>(depth)].serial; }

  int add_buffer(DType dtype, loop::Access access, Sym size);
  /// Merges another way of access into a buffer's.
  void touch(int buffer, loop::Access access);
  std::string add_local(DType dtype, int64_t size);

  loop::ValueId constant(DType dtype, double value);
  loop::ValueId constant_int(DType dtype, int64_t value);
  loop::ValueId index(const Sym& expr);
  loop::ValueId compute(ScalarOp op, DType result, std::vector<loop::ValueId> args);
  loop::ValueId cast(loop::ValueId v, DType dtype);
  /// `mutable_memory`: the kernel writes it too, so the load stays where it is asked for.
  loop::ValueId load(const std::string& memory, DType dtype, const Sym& at, loop::ValueId mask,
                     bool mutable_memory);
  void store(const std::string& memory, const Sym& at, loop::ValueId value,
             loop::ValueId mask = loop::kNone, bool accumulate = false, bool atomic = false);
  /// Makes `value` an index symbol; equal ones share a symbol.
  Sym bind(loop::ValueId value, const Sym& extent, bool wrap, loop::ValueId mask);
  /// Combines `value` over the loop at depth `from` and deeper, whatever loops are open there; the
  /// result belongs to depth from - 1 and becomes usable once those loops are closed.
  loop::ValueId reduce(ReduceOp op, loop::ValueId value, int from);

  /// While it lives, what is emitted comes from line `line` of the kernel's provenance.
  class Line {
   public:
    Line(KernelBuilder& b, int line) : b_(b), before_(b.line_) { b.line_ = line; }
    ~Line() { b_.line_ = before_; }
    Line(const Line&) = delete;
    Line& operator=(const Line&) = delete;

   private:
    KernelBuilder& b_;
    const int before_;
  };

  DType dtype(loop::ValueId v) const { return kernel_.types[static_cast<size_t>(v)]; }
  int value_depth(loop::ValueId v) const { return depths_[static_cast<size_t>(v)]; }
  const SymBounds& bounds() const { return bounds_; }
  SymBounds& bounds() { return bounds_; }
  const std::string& buffer_name(int i) const {
    return kernel_.buffers[static_cast<size_t>(i)].name;
  }

  /// The finished kernel; size parameters are the free symbols, sorted.
  loop::Kernel take();

 private:
  using Key = std::tuple<int, int, DType, std::vector<loop::ValueId>, std::string, Sym, uint64_t>;
  struct Scope {
    loop::For loop;
    int serial;
    std::map<Key, loop::ValueId> made;
  };

  loop::ValueId new_value(DType dtype, int depth);
  int sym_depth(const Sym& s) const;
  /// Emits `node` at `depth` unless an equal one is visible.
  template <class Make>
  loop::ValueId once(Key key, int depth, DType dtype, const Make& make);
  std::vector<loop::Node>& block(int depth) {
    return scopes_[static_cast<size_t>(depth)].loop.body;
  }

  loop::Kernel kernel_;
  std::vector<Scope> scopes_;
  std::vector<int> depths_;
  std::map<std::string, int, std::less<>> symbol_depth_;
  std::map<std::string, std::string> bound_;  // "value id, extent, wrap, mask" -> symbol
  SymBounds bounds_;
  int serials_ = 0;
  int binds_ = 0;
  int line_ = loop::kNone;
};

}  // namespace ourjit
