#include "graph/verify.h"

#include <algorithm>
#include <cctype>
#include <unordered_set>

#include "base/error.h"
#include "base/text.h"
#include "graph/infer.h"
#include "graph/text.h"

namespace ourjit {
namespace {

class Verifier {
 public:
  explicit Verifier(const Graph& g) : g_(g), defined_(g.values.size(), false) {}

  void run() {
    for (const GraphInput& in : g_.inputs) {
      if (in.value < 0) {
        if (!is_name(in.symbol)) fail("an input is neither a value nor a symbol");
        continue;
      }
      if (!exists(in.value) || value(in.value).def != -1) fail("an input is not an input value");
      define(in.value);
    }
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      node_ = static_cast<NodeId>(i);
      node(g_.nodes[i]);
    }
    node_ = -1;
    for (const GraphOutput& o : g_.outputs) {
      if (o.value < 0) continue;
      if (!exists(o.value) || !defined_[static_cast<size_t>(o.value)])
        fail("an output is not a value of the graph");
      if (o.strides_fixed && o.strides.size() != g_.type(o.value).sizes.size())
        fail("an output needs one stride for each dim");
    }
    for (size_t i = 0; i < g_.values.size(); ++i)
      if (!defined_[i]) fail("%" + g_.values[i].name + " is never defined");
  }

 private:
  [[noreturn]] void fail(const std::string& rule) const {
    std::string where = node_ < 0 ? "" : ", node " + std::to_string(node_);
    if (node_ >= 0 && printable_) where += " (" + print(g_, g_.node(node_)) + ")";
    OURJIT_RAISE(InternalError) << "graph @" << g_.name << where << ": " << rule;
    std::abort();
  }

  bool exists(ValueId v) const { return v >= 0 && static_cast<size_t>(v) < g_.values.size(); }
  const Value& value(ValueId v) const { return g_.values[static_cast<size_t>(v)]; }

  void define(ValueId v) {
    const Value& x = value(v);
    if (defined_[static_cast<size_t>(v)]) fail("%" + x.name + " is defined twice");
    defined_[static_cast<size_t>(v)] = true;
    const auto allowed = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
    };
    if (x.name.empty() || !std::all_of(x.name.begin(), x.name.end(), allowed))
      fail("'" + x.name + "' is not a name");
    if (!names_.insert(x.name).second) fail("two values are named %" + x.name);
    if (x.type.strides.size() != x.type.sizes.size()) fail("%" + x.name + " lacks strides");
    for (const Sym& s : x.type.sizes)
      if (s.is_const() && s.value() < 0) fail("%" + x.name + " has a negative size");
  }

  void node(const Node& n) {
    printable_ = false;
    for (const ValueId v : n.operands)
      if (!exists(v)) fail("an operand does not exist");
    for (const ValueId v : n.results)
      if (v >= 0 && !exists(v)) fail("a result does not exist");
    if (n.op == Op::call) call_shape(n);
    printable_ = true;
    for (const ValueId v : n.operands)
      if (!defined_[static_cast<size_t>(v)])
        fail("%" + value(v).name + " is used before it is defined");
    for (size_t i = 0; i < n.results.size(); ++i) {
      const ValueId v = n.results[i];
      if (v < 0) continue;
      if (value(v).def != node_ || value(v).result != static_cast<int>(i))
        fail("%" + value(v).name + " says that it is defined elsewhere");
      define(v);
    }
    if (n.op != Op::call) native(n);
  }

  void call_shape(const Node& n) {
    const auto target = n.attrs.find("target"), args = n.attrs.find("args");
    if (target == n.attrs.end() || !std::holds_alternative<std::string>(target->second) ||
        !is_name(std::get<std::string>(target->second)))
      fail("a call does not name its target");
    if (args == n.attrs.end() || !std::holds_alternative<ArgList>(args->second))
      fail("a call has no arguments");
    size_t seen = 0;
    references(std::get<ArgList>(args->second), n.operands.size(), seen);
    if (seen != n.operands.size()) fail("an operand of a call stands in no argument");
  }

  void references(const ArgList& args, size_t operands, size_t& seen) {
    for (const Arg& a : args) {
      if (const auto* list = std::get_if<ArgList>(&a.v)) references(*list, operands, seen);
      if (const auto* e = std::get_if<EnumArg>(&a.v); e && !is_name(e->kind))
        fail("an argument has a kind that is not a name");
      const auto* r = std::get_if<OperandRef>(&a.v);
      if (!r) continue;
      if (static_cast<size_t>(r->index) != seen || seen >= operands)
        fail("the arguments of a call refer to its operands out of order");
      ++seen;
    }
  }

  void native(const Node& n) {
    if (n.results.size() != 1 || n.results[0] < 0) fail("needs one result");
    std::vector<TensorType> types;
    for (const ValueId v : n.operands) types.push_back(g_.type(v));
    TensorType want;
    try {
      want = infer(n.op, types, n.attrs);
    } catch (const UserError& e) {
      fail(e.what());
    }
    const TensorType& is = g_.type(n.results[0]);
    if (is.dtype != want.dtype || is.sizes != want.sizes || is.device != want.device)
      fail("the result is " + print(want));
    const bool follows = n.op == Op::permute || n.op == Op::expand || n.op == Op::slice ||
                         n.op == Op::copy_to ||
                         (n.op == Op::reshape && view_strides(types[0], is.sizes).has_value());
    if (follows && is.strides != want.strides)
      fail("a view has the strides of its operand: " + print(want));
    if (n.op == Op::copy_to && !writable(n.operands[0]))
      fail("the target is neither an input nor a view of one");
  }

  /// An input, a view of one, or one after a write.
  bool writable(ValueId v) const {
    for (;;) {
      const Node* n = g_.def(v);
      if (!n) return true;
      if (op_category(n->op) != OpCategory::View && n->op != Op::copy_to) return false;
      v = n->operands[0];
    }
  }

  const Graph& g_;
  std::vector<bool> defined_;
  std::unordered_set<std::string_view> names_;
  NodeId node_ = -1;
  bool printable_ = false;
};

}  // namespace

void verify(const Graph& g) { Verifier(g).run(); }

}  // namespace ourjit
