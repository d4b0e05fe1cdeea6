#include <cstdlib>
#include <set>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "base/text.h"
#include "loop/text.h"
#include "loop/verify.h"

namespace ourjit::loop {
namespace {

constexpr int kMaxDepth = 100;
constexpr int64_t kMaxValues = 1 << 20;
constexpr int64_t kMaxTableRows = 4096;

/// Recursive descent over the text that print() writes; comments are skipped.
class KernelParser {
 public:
  explicit KernelParser(std::string_view text) : in_(text) {}

  Kernel kernel() {
    in_.expect("kernel");
    k_.name = in_.expect(TokenKind::At, "the kernel's name, as @name");
    in_.expect("(");
    while (!in_.is(")")) {
      parameter();
      if (!in_.eat(",")) break;
    }
    in_.expect(")");
    if (in_.eat("threads")) {
      in_.expect("(");
      k_.threads_x = threads();
      in_.expect(",");
      k_.threads_y = threads();
      in_.expect(")");
    }
    if (in_.eat("table")) {
      in_.expect("(");
      const int64_t rows = in_.integer();
      if (rows < 1 || rows > kMaxTableRows) in_.fail("a table has 1 to 4096 rows");
      k_.table_rows = static_cast<int>(rows);
      in_.expect(")");
    }
    in_.expect("{");
    while (in_.is("local") || in_.is("thread")) local();
    block(k_.body);
    in_.expect("}");
    if (in_.eat("epilogue")) {
      in_.expect("{");
      block(k_.epilogue);
      in_.expect("}");
    }
    if (!in_.at_end()) in_.fail("expected the end of the text");
    return std::move(k_);
  }

 private:
  DType dtype() {
    const std::optional<DType> t =
        in_.peek().kind == TokenKind::Name ? parse_dtype(in_.peek().text) : std::nullopt;
    if (!t || !is_native(*t)) in_.fail("expected a type that kernels know");
    in_.next();
    return *t;
  }

  void memory_name(const std::string& name) {
    if (!memories_.insert(name).second) in_.fail("two memories are named " + name);
  }

  void parameter() {
    const std::string name = in_.name("a parameter");
    in_.expect(":");
    if (in_.eat("index")) {
      k_.sizes.push_back(name);
      return;
    }
    Buffer b{name, DType::f32, Access::In, 0};
    memory_name(name);
    if (in_.eat("out"))
      b.access = Access::Out;
    else if (in_.eat("inout"))
      b.access = Access::InOut;
    else
      in_.expect("in");
    b.dtype = dtype();
    in_.expect("[");
    b.size = in_.sym();
    in_.expect("]");
    k_.buffers.push_back(std::move(b));
  }

  void local() {
    const Space space = in_.eat("thread") ? Space::Thread : Space::Task;
    in_.expect("local");
    Local l{in_.name("the local's name"), DType::f32, 0, space};
    memory_name(l.name);
    in_.expect(":");
    l.dtype = dtype();
    in_.expect("[");
    l.size = in_.integer();
    in_.expect("]");
    k_.locals.push_back(std::move(l));
  }

  void block(std::vector<Node>& body) {
    if (++depth_ > kMaxDepth) in_.fail("loops are nested too deeply");
    while (!in_.is("}") && !in_.is("yield")) statement(body);
    --depth_;
  }

  void statement(std::vector<Node>& body) {
    if (in_.eat("store")) {
      body.push_back({store()});
    } else if (in_.eat("bind")) {
      body.push_back({bind()});
    } else if (in_.eat("barrier")) {
      body.push_back({Barrier{}});
    } else if (in_.is("for") || in_.is("parallel")) {
      body.push_back({loop({})});
    } else if (in_.peek().kind == TokenKind::Percent) {
      if (in_.is(":", 1))
        body.push_back(definition());
      else
        body.push_back({loop(value_list())});
    } else {
      in_.fail("expected a statement");
    }
  }

  ValueId value() {
    if (in_.peek().kind != TokenKind::Percent) in_.fail("expected a value");
    const std::string& text = in_.peek().text;
    int64_t id = 0;
    for (const char c : text) {
      if (c < '0' || c > '9' || id >= kMaxValues) in_.fail("values are small numbers, such as %7");
      id = id * 10 + (c - '0');
    }
    if (id >= kMaxValues) in_.fail("values are small numbers, such as %7");
    in_.next();
    return static_cast<ValueId>(id);
  }

  std::vector<ValueId> value_list() {
    std::vector<ValueId> values{value()};
    while (in_.eat(",")) values.push_back(value());
    return values;
  }

  ValueId mask() { return in_.eat("mask") ? value() : kNone; }

  void declare(ValueId id, DType t) {
    if (static_cast<size_t>(id) >= k_.types.size())
      k_.types.resize(static_cast<size_t>(id) + 1, DType::f32);
    k_.types[static_cast<size_t>(id)] = t;
  }

  Node definition() {
    const ValueId result = value();
    in_.expect(":");
    const DType t = dtype();
    declare(result, t);
    in_.expect("=");
    if (in_.eat("const")) return {constant(result, t)};
    if (in_.eat("index")) {
      if (t != DType::i64) in_.fail("an index is i64");
      return {Index{result, in_.sym()}};
    }
    if (in_.eat("load")) {
      Load l{result, memory(), 0};
      if (memory_dtype(k_, l.buffer) != t) in_.fail("the load has another type than its memory");
      l.index = subscript();
      l.mask = mask();
      return {std::move(l)};
    }
    const std::optional<ScalarOp> op =
        in_.peek().kind == TokenKind::Name ? parse_scalar_op(in_.peek().text) : std::nullopt;
    if (!op) in_.fail("expected an operation");
    in_.next();
    return {Compute{result, *op, t, value_list()}};
  }

  Const constant(ValueId result, DType t) {
    Scalar x;
    if (is_bool(t)) {
      const bool yes = in_.eat("true");
      if (!yes) in_.expect("false");
      x = Scalar::integer(t, yes);
    } else if (is_float(t)) {
      x = Scalar::number(t, in_.real());
    } else {
      const int64_t v = in_.integer();
      x = Scalar::integer(t, v);
      if (x.i != v) in_.fail("the constant does not fit its type");
    }
    return {result, t, x.bits()};
  }

  std::string memory() {
    std::string name = in_.name("a buffer or local");
    if (!memories_.contains(name)) in_.fail("there is no buffer or local named " + name);
    return name;
  }

  Sym subscript() {
    in_.expect("[");
    Sym s = in_.sym();
    in_.expect("]");
    return s;
  }

  Store store() {
    Store s;
    s.atomic = in_.eat("atomic");
    s.accumulate = s.atomic || in_.eat("accumulate");
    s.buffer = memory();
    s.index = subscript();
    in_.expect(",");
    s.value = value();
    s.mask = mask();
    return s;
  }

  Bind bind() {
    Bind b;
    b.symbol = in_.name("the symbol");
    in_.expect("=");
    b.value = value();
    in_.expect("in");
    if (in_.integer() != 0) in_.fail("the range of a bound symbol starts at 0");
    in_.expect("..");
    b.extent = in_.sym();
    b.wrap = in_.eat("wrap");
    b.mask = mask();
    return b;
  }

  For loop(const std::vector<ValueId>& results) {
    For f;
    if (!results.empty()) in_.expect("=");
    if (in_.eat("parallel"))
      f.kind = LoopKind::Parallel;
    else
      in_.expect("for");
    f.var = in_.name("the loop's variable");
    in_.expect("in");
    f.begin = in_.sym();
    in_.expect("..");
    f.end = in_.sym();
    if (in_.eat("vector")) {
      f.kind = LoopKind::Vector;
      in_.expect("(");
      f.width = small("the width");
      in_.expect(",");
      f.unroll = small("the unroll factor");
      in_.expect(")");
    } else if (in_.eat("threads")) {
      in_.expect("(");
      f.kind = in_.eat("x") ? LoopKind::ThreadX : LoopKind::ThreadY;
      if (f.kind == LoopKind::ThreadY) in_.expect("y");
      in_.expect(",");
      f.width = small("the width");
      in_.expect(")");
      if (in_.eat("slot")) f.slot = in_.name("the slot's name");
    }
    if (!results.empty()) reductions(f, results);
    in_.expect("{");
    block(f.body);
    if (!results.empty()) {
      in_.expect("yield");
      for (size_t i = 0; i < f.reductions.size(); ++i) {
        if (i) in_.expect(",");
        f.reductions[i].value = value();
      }
    }
    in_.expect("}");
    return f;
  }

  int threads() {
    const int64_t v = in_.integer();
    if (v < 1 || v > 1024) in_.fail("the number of threads is not within 1 to 1024");
    return static_cast<int>(v);
  }

  int small(const std::string& what) {
    const int64_t v = in_.integer();
    if (v < 1 || v > 64) in_.fail(what + " is not within 1 to 64");
    return static_cast<int>(v);
  }

  void reductions(For& f, const std::vector<ValueId>& results) {
    in_.expect("reduce");
    for (size_t i = 0; i < results.size(); ++i) {
      if (i) in_.expect(",");
      const std::optional<ReduceOp> op =
          in_.peek().kind == TokenKind::Name ? parse_reduce_op(in_.peek().text) : std::nullopt;
      if (!op) in_.fail("expected a reduction, such as sum");
      in_.next();
      const DType t = dtype();
      const bool arg = *op == ReduceOp::argmax || *op == ReduceOp::argmin;
      declare(results[i], arg ? DType::i64 : t);
      f.reductions.push_back({*op, t, kNone, results[i]});
    }
  }

  Lexer in_;
  Kernel k_;
  std::set<std::string> memories_;
  int depth_ = 0;
};

}  // namespace

Kernel parse_kernel(std::string_view text) {
  Kernel k = KernelParser(text).kernel();
  try {
    verify(k);
  } catch (const InternalError& e) {
    // Whoever wrote the text broke the rule.
    OURJIT_RAISE(UserError) << e.what();
  }
  return k;
}

}  // namespace ourjit::loop
