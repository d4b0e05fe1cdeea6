#include "runtime/plan.h"

#include "base/text.h"

namespace ourjit {

namespace {

std::string list(const std::vector<Sym>& xs) {
  std::string s = "[";
  for (size_t i = 0; i < xs.size(); ++i) s += (i ? ", " : "") + xs[i].str();
  return s + "]";
}

std::string names(const char* prefix, const std::vector<int>& ids) {
  std::string s;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i) s += ", ";
    s += ids[i] < 0 ? "none" : prefix + std::to_string(ids[i]);
  }
  return s;
}

std::string layout(DType dtype, const std::vector<Sym>& sizes, const std::vector<Sym>& strides) {
  const std::string s = list(strides);
  return std::string(dtype_name(dtype)) + list(sizes) +
         (sizes.empty() ? "" : "{" + s.substr(1, s.size() - 2) + "}");
}

std::string show(const CallArg& a) {
  struct Show {
    std::string operator()(const CallNone&) const { return "none"; }
    std::string operator()(const CallTensor& t) const { return "t" + std::to_string(t.tensor); }
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(const Sym& s) const { return s.str(); }
    std::string operator()(double d) const { return double_str(d); }
    std::string operator()(const std::string& s) const { return quote(s); }
    std::string operator()(const CallEnum& e) const { return e.kind + "." + e.name; }
    std::string operator()(const std::vector<CallArg>& xs) const {
      std::string s = "[";
      for (size_t i = 0; i < xs.size(); ++i) s += (i ? ", " : "") + show(xs[i]);
      return s + "]";
    }
  };
  return std::visit(Show{}, a.v);
}

std::string show(const PlanBuffer& b) {
  std::string s;
  switch (b.kind) {
    case BufferKind::Input:
      s = "input " + std::to_string(b.input);
      break;
    case BufferKind::Temp:
      s = "temp";
      break;
    case BufferKind::Output:
      s = "output";
      break;
    case BufferKind::CallResult:
      s = "call result";
      break;
  }
  return s + ", " + b.bytes.str() + " bytes";
}

std::string show(const Plan& p, const LaunchStep& s) {
  std::string text = "launch " + p.kernels[static_cast<size_t>(s.kernel)].name;
  if (s.rows.size() > 1) text += " of " + std::to_string(s.rows.size()) + " rows";
  if (s.silent > 0) text += ", " + std::to_string(s.silent) + " silent";
  for (const LaunchRow& r : s.rows) {
    text += (s.rows.size() > 1 ? "\n    (" : "(") + names("t", r.tensors);
    for (size_t i = 0; i < r.sizes.size(); ++i) text += (i ? ", " : "; ") + r.sizes[i].str();
    text += ") over " + r.extent.str();
  }
  return text;
}

std::string show(const Plan&, const CallStep& s) {
  std::string text = "call " + s.target + "(";
  for (size_t i = 0; i < s.args.size(); ++i) text += (i ? ", " : "") + show(s.args[i]);
  text += ") -> " + names("t", s.results);
  if (s.into_results) text += " in place";
  if (!s.loc.empty()) text += "  # " + s.loc;
  return text;
}

}  // namespace

bool is_in_place(const std::string& target) {
  const size_t end = target.rfind('.');
  return end != std::string::npos && end > 0 && target[end - 1] == '_';
}

const std::string& step_name(const Plan& p, const PlanStep& s) {
  if (const auto* launch = std::get_if<LaunchStep>(&s))
    return p.kernels.at(static_cast<size_t>(launch->kernel)).name;
  return std::get<CallStep>(s).target;
}

std::vector<std::string> provenance(const PlanStep& s) {
  if (const auto* launch = std::get_if<LaunchStep>(&s)) return launch->provenance;
  const auto& call = std::get<CallStep>(s);
  return {call.target + (call.loc.empty() ? "" : "  # " + call.loc)};
}

std::string print(const Plan& p) {
  TextWriter w;
  w.line("plan @" + p.name + " {");
  w.indent();
  for (size_t i = 0; i < p.inputs.size(); ++i) {
    const PlanInput& in = p.inputs[i];
    const std::string type = in.is_number ? "number" : layout(in.dtype, in.sizes, in.strides);
    w.line("input " + std::to_string(i) + " " + in.name + ": " + type +
           (in.written ? ", written" : ""));
  }
  for (const SymbolSource& s : p.symbols)
    w.line("symbol " + s.symbol + " = input " + std::to_string(s.input) +
           (s.dim < 0 ? "" : " dim " + std::to_string(s.dim)));
  for (size_t i = 0; i < p.buffers.size(); ++i)
    w.line("buffer b" + std::to_string(i) + " " + p.buffers[i].name + ": " + show(p.buffers[i]));
  for (size_t i = 0; i < p.tensors.size(); ++i) {
    const PlanTensor& t = p.tensors[i];
    w.line("tensor t" + std::to_string(i) + " = b" + std::to_string(t.buffer) +
           (t.offset.is_const(0) ? "" : " + " + t.offset.str()) + " as " +
           layout(t.dtype, t.sizes, t.strides));
  }
  for (const PlanStep& s : p.steps)
    w.line(std::visit([&](const auto& x) { return show(p, x); }, s));
  std::string outputs;
  for (size_t i = 0; i < p.outputs.size(); ++i) {
    const PlanOutput& o = p.outputs[i];
    if (i) outputs += ", ";
    outputs += o.tensor >= 0 ? "t" + std::to_string(o.tensor) : o.number ? o.number->str() : "none";
  }
  w.line("return " + outputs);
  w.dedent();
  w.line("}");
  return w.take();
}

}  // namespace ourjit
