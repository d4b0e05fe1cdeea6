#include "base/error.h"
#include "base/text.h"
#include "graph/text.h"

namespace ourjit {
namespace {

template <class List, class F>
std::string join(const List& list, F text) {
  std::string out;
  for (const auto& x : list) {
    if (!out.empty()) out += ", ";
    out += text(x);
  }
  return out;
}

std::string sym_text(const Sym& s) { return s.str(); }
std::string bool_text(bool b) { return b ? "true" : "false"; }

/// Overloads for std::visit.
template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::string value_text(const Graph& g, ValueId v) {
  return v < 0 ? "none" : "%" + g.values[static_cast<size_t>(v)].name;
}

std::string arg_text(const Graph& g, const Node& n, const Arg& a) {
  return std::visit(Overloaded{
                        [](const NoneArg&) -> std::string { return "none"; },
                        [&](const OperandRef& r) {
                          return value_text(g, n.operands.at(static_cast<size_t>(r.index)));
                        },
                        [](bool b) { return bool_text(b); },
                        [](const Sym& s) { return sym_text(s); },
                        [](double d) { return double_str(d); },
                        [](const std::string& s) { return quote(s); },
                        [](const EnumArg& e) {
                          return e.kind + "(" + (is_name(e.name) ? e.name : quote(e.name)) + ")";
                        },
                        [&](const ArgList& list) {
                          return "[" + join(list, [&](const Arg& x) { return arg_text(g, n, x); }) +
                                 "]";
                        },
                    },
                    a.v);
}

std::string attr_text(const Graph& g, const Node& n, const Attr& a) {
  return std::visit(
      Overloaded{
          [](bool b) { return bool_text(b); },
          [](const Sym& s) { return sym_text(s); },
          [](double d) { return double_str(d); },
          [](const std::string& s) { return quote(s); },
          [](DType t) { return std::string(dtype_name(t)); },
          [](const std::vector<Sym>& list) { return "[" + join(list, sym_text) + "]"; },
          [&](const ArgList& list) {
            return "(" + join(list, [&](const Arg& x) { return arg_text(g, n, x); }) + ")";
          },
      },
      a);
}

std::string attrs_text(const Graph& g, const Node& n) {
  std::string out;
  for (const auto& [name, value] : n.attrs) {
    if (n.op == Op::call && (name == "target" || name == "args")) continue;
    out += (out.empty() ? " {" : ", ") + name + " = " + attr_text(g, n, value);
  }
  return out.empty() ? out : out + "}";
}

std::string output_text(const Graph& g, const GraphOutput& o) {
  if (o.value < 0) return o.number ? sym_text(*o.number) : "none";
  std::string out = value_text(g, o.value);
  if (o.strides_fixed) out += "{" + join(o.strides, sym_text) + "}";
  return out;
}

std::string output_type(const Graph& g, const GraphOutput& o) {
  if (o.value >= 0) return print(g.type(o.value));
  return o.number ? "int" : "none";
}

}  // namespace

std::string print(const TensorType& t) {
  std::string out(dtype_name(t.dtype));
  out += "[" + join(t.sizes, sym_text) + "]";
  if (t.strides != contiguous_strides(t.sizes)) out += "{" + join(t.strides, sym_text) + "}";
  if (t.device != "cpu") out += "@" + quote(t.device);
  return out;
}

std::string print(const Graph& g, const Node& n) {
  std::string out = join(n.results, [&](ValueId v) {
    std::string s = value_text(g, v);
    if (v >= 0) s += ": " + print(g.type(v));
    return s;
  });
  if (!out.empty()) out += " = ";
  if (n.op == Op::call) {
    const ArgList& args = attr<ArgList>(n, "args");
    out += "call " + call_target(n) + "(" +
           join(args, [&](const Arg& a) { return arg_text(g, n, a); }) + ")";
  } else {
    out += op_name(n.op);
    if (!n.operands.empty())
      out += " " + join(n.operands, [&](ValueId v) { return value_text(g, v); });
  }
  out += attrs_text(g, n);
  if (!n.loc.empty()) out += "  # " + n.loc;
  return out;
}

std::string print(const Graph& g) {
  TextWriter w;
  const std::string inputs = join(g.inputs, [&](const GraphInput& in) {
    return in.value < 0 ? in.symbol : value_text(g, in.value) + ": " + print(g.type(in.value));
  });
  const auto type = [&](const GraphOutput& o) { return output_type(g, o); };
  w.line("graph @" + g.name + "(" + inputs + ") -> (" + join(g.outputs, type) + ") {");
  w.indent();
  for (const Node& n : g.nodes) w.line(print(g, n));
  const auto output = [&](const GraphOutput& o) { return output_text(g, o); };
  w.line(g.outputs.empty() ? "return" : "return " + join(g.outputs, output));
  w.dedent();
  w.line("}");
  return w.take();
}

}  // namespace ourjit
