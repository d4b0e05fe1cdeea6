#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"
#include "graph/builder.h"
#include "graph/text.h"

namespace ourjit {
namespace {

constexpr int kMaxDepth = 50;

/// Recursive descent over one graph.
class GraphParser {
 public:
  explicit GraphParser(std::string_view text) : lex_(text), b_("") {}

  Graph run() {
    lex_.expect("graph");
    b_ = Builder(lex_.expect(TokenKind::At, "@ and the name of the graph"));
    inputs();
    lex_.expect("->");
    const std::vector<OutputType> types = output_types();
    lex_.expect("{");
    while (!lex_.is("return")) node();
    outputs(types);
    lex_.expect("}");
    if (!lex_.at_end()) lex_.fail("expected the end");
    return b_.take();
  }

 private:
  /// What the head of the graph says about an output.
  struct OutputType {
    std::string word;  // int, none, or empty for a tensor
    TensorType type;
  };

  /// Comma-separated items up to `close`, which is taken.
  template <class F>
  void list(std::string_view close, F item) {
    if (lex_.eat(close)) return;
    do {
      item();
    } while (lex_.eat(","));
    lex_.expect(close);
  }

  std::vector<Sym> syms(std::string_view close) {
    std::vector<Sym> out;
    list(close, [&] { out.push_back(lex_.sym()); });
    return out;
  }

  TensorType tensor_type() {
    TensorType t;
    const auto dtype = parse_dtype(lex_.peek().text);
    if (!dtype || lex_.peek().kind != TokenKind::Name) lex_.fail("expected a dtype");
    lex_.next();
    t.dtype = *dtype;
    lex_.expect("[");
    list("]", [&] {
      t.sizes.push_back(lex_.sym());
      if (t.sizes.back().is_const() && t.sizes.back().value() < 0) lex_.fail("a size is negative");
    });
    t.strides = located(lex_.peek().line, [&] { return contiguous_strides(t.sizes); });
    if (lex_.eat("{")) {
      t.strides = syms("}");
      if (t.strides.size() != t.sizes.size()) lex_.fail("one stride for each dim");
    }
    if (lex_.peek().kind == TokenKind::At && lex_.peek().text.empty()) {
      lex_.next();
      t.device = lex_.expect(TokenKind::String, "a device in quotes");
    }
    return t;
  }

  /// Runs `f`; errors about shapes get the line.
  template <class F>
  auto located(int line, F f) -> decltype(f()) {
    try {
      return f();
    } catch (const UserError& e) {
      if (std::string_view(e.what()).starts_with("line ")) throw;
      OURJIT_RAISE(UserError) << "line " << line << ": " << e.what();
      std::abort();
    }
  }

  void define(const std::string& name, ValueId v) {
    OURJIT_CHECK(b_.graph().values[static_cast<size_t>(v)].name == name) << name;
    values_.emplace(name, v);
  }

  /// % and a name that no value has yet.
  std::string new_name() {
    const Token& t = lex_.peek();
    if (t.kind == TokenKind::Percent) {
      if (values_.contains(t.text) || std::count(pending_.begin(), pending_.end(), t.text) > 0)
        lex_.fail("a second value has this name");
      if (t.text.front() == '.' || t.text.back() == '.')
        lex_.fail("a name begins or ends with a dot");
    }
    pending_.push_back(lex_.expect(TokenKind::Percent, "% and a name"));
    return pending_.back();
  }

  ValueId value() {
    if (lex_.peek().kind != TokenKind::Percent) lex_.fail("expected % and a name");
    const auto it = values_.find(lex_.peek().text);
    if (it == values_.end()) lex_.fail("an unknown value");
    lex_.next();
    return it->second;
  }

  void inputs() {
    lex_.expect("(");
    list(")", [&] {
      if (lex_.peek().kind == TokenKind::Name) {
        b_.symbol_input(lex_.name());
        return;
      }
      pending_.clear();
      const std::string name = new_name();
      lex_.expect(":");
      define(name, b_.input(name, tensor_type()));
    });
  }

  std::vector<OutputType> output_types() {
    std::vector<OutputType> out;
    lex_.expect("(");
    list(")", [&] {
      if (lex_.is("int") || lex_.is("none"))
        out.push_back({lex_.name(), {}});
      else
        out.push_back({"", tensor_type()});
    });
    return out;
  }

  /// A result as it stands left of '='.
  struct Result {
    std::string name;  // empty for none
    std::optional<TensorType> type;
  };

  void node() {
    const int line = lex_.peek().line;
    std::vector<Result> results;
    pending_.clear();
    if (!lex_.is("call")) {
      do {
        if (lex_.eat("none")) {
          results.emplace_back();
          continue;
        }
        Result r{new_name(), std::nullopt};
        if (lex_.eat(":")) r.type = tensor_type();
        results.push_back(std::move(r));
      } while (lex_.eat(","));
      lex_.expect("=");
    }
    if (lex_.eat("call"))
      call(results);
    else
      operation(results, line);
  }

  void operation(const std::vector<Result>& results, int line) {
    const std::optional<Op> op = parse_op(lex_.peek().text);
    if (!op || *op == Op::call || lex_.peek().kind != TokenKind::Name)
      lex_.fail("expected an operator");
    lex_.next();
    if (results.size() != 1 || results[0].name.empty()) lex_.fail("expected one result");
    std::vector<ValueId> operands;
    if (lex_.peek().kind == TokenKind::Percent) do {
        operands.push_back(value());
      } while (lex_.eat(","));
    Attrs attrs = this->attrs();
    b_.set_loc(lex_.comment());
    const Result& r = results[0];
    const ValueId v = located(line, [&] { return b_.emit(*op, operands, attrs, r.name); });
    define(r.name, v);
    if (!r.type) return;
    const TensorType& t = b_.type(v);
    if (r.type->dtype != t.dtype || r.type->sizes != t.sizes || r.type->device != t.device)
      OURJIT_RAISE(UserError) << "line " << line << ": " << op_name(*op) << " gives " << print(t)
                              << ", not " << print(*r.type);
    b_.set_strides(v, r.type->strides);
  }

  void call(const std::vector<Result>& results) {
    const std::string target = lex_.name("the name of an ATen overload");
    std::vector<ValueId> operands;
    ArgList args;
    lex_.expect("(");
    list(")", [&] { args.push_back(arg(operands, 0)); });
    if (lex_.is("{")) lex_.fail("calls have no attributes");
    b_.set_loc(lex_.comment());
    std::vector<std::optional<TensorType>> types;
    std::vector<std::string> names;
    for (const Result& r : results) {
      if (!r.name.empty() && !r.type) lex_.fail("the results of a call need types");
      types.push_back(r.type);
      names.push_back(r.name);
    }
    const std::vector<ValueId> values = b_.call(target, operands, args, types, names);
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i] >= 0) define(names[i], values[i]);
  }

  Arg arg(std::vector<ValueId>& operands, int depth) {
    if (depth > kMaxDepth) lex_.fail("nested too deeply");
    if (lex_.eat("none")) return {NoneArg{}};
    if (lex_.eat("true")) return {true};
    if (lex_.eat("false")) return {false};
    if (lex_.peek().kind == TokenKind::Percent) {
      operands.push_back(value());
      return {OperandRef{static_cast<int>(operands.size()) - 1}};
    }
    if (lex_.peek().kind == TokenKind::String) return {lex_.next().text};
    if (lex_.eat("[")) {
      ArgList out;
      list("]", [&] { out.push_back(arg(operands, depth + 1)); });
      return {std::move(out)};
    }
    if (lex_.is_real()) return {lex_.real()};
    const std::string& word = lex_.peek().text;
    const bool function = word == "floordiv" || word == "mod" || word == "min" || word == "max";
    if (lex_.peek().kind == TokenKind::Name && lex_.is("(", 1) && !function) {
      EnumArg e{lex_.name(), ""};
      lex_.expect("(");
      if (lex_.peek().kind != TokenKind::Name && lex_.peek().kind != TokenKind::String)
        lex_.fail("expected a name");
      e.name = lex_.next().text;
      lex_.expect(")");
      return {std::move(e)};
    }
    return {lex_.sym()};
  }

  Attrs attrs() {
    Attrs out;
    if (!lex_.eat("{")) return out;
    list("}", [&] {
      const std::string name = lex_.name("the name of an attribute");
      lex_.expect("=");
      if (!out.emplace(name, attr()).second) lex_.fail("attribute " + name + " stands twice");
    });
    return out;
  }

  Attr attr() {
    if (lex_.eat("true")) return true;
    if (lex_.eat("false")) return false;
    if (lex_.peek().kind == TokenKind::String) return lex_.next().text;
    if (lex_.eat("[")) return syms("]");
    if (lex_.is_real()) return lex_.real();
    if (lex_.peek().kind == TokenKind::Name)
      if (const auto dtype = parse_dtype(lex_.peek().text)) {
        lex_.next();
        return *dtype;
      }
    return lex_.sym();
  }

  void outputs(const std::vector<OutputType>& types) {
    lex_.expect("return");
    size_t i = 0;
    if (!lex_.is("}")) do {
        GraphOutput o;
        std::string word;
        if (lex_.peek().kind == TokenKind::Percent) {
          o.value = value();
          o.strides_fixed = lex_.eat("{");
          if (o.strides_fixed) o.strides = syms("}");
          if (o.strides_fixed && o.strides.size() != b_.type(o.value).sizes.size())
            lex_.fail("one stride for each dim");
        } else if (lex_.eat("none")) {
          word = "none";
        } else {
          o.number = lex_.sym();
          word = "int";
        }
        if (i >= types.size()) lex_.fail("more outputs than the head of the graph has");
        if (types[i].word != word || (o.value >= 0 && types[i].type != b_.type(o.value)))
          lex_.fail("output " + std::to_string(i) + " is not what the head of the graph says");
        b_.output(std::move(o));
        ++i;
      } while (lex_.eat(","));
    if (i != types.size()) lex_.fail("fewer outputs than the head of the graph has");
  }

  Lexer lex_;
  Builder b_;
  std::unordered_map<std::string, ValueId> values_;
  std::vector<std::string> pending_;  // names of the node that is being read
};

}  // namespace

Graph parse_graph(std::string_view text) { return GraphParser(text).run(); }

}  // namespace ourjit
