#include "bindings/fx_import.h"

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "graph/builder.h"

namespace ourjit {

namespace {

/// Items of a list or tuple, borrowed.
struct Items {
  PyObject** begin_;
  Py_ssize_t size_;

  explicit Items(PyObject* sequence, const char* what) {
    if (!PyList_Check(sequence) && !PyTuple_Check(sequence))
      OURJIT_RAISE(UserError) << "graph data: " << what << " must be a list or tuple, not "
                              << Py_TYPE(sequence)->tp_name;
    begin_ = PySequence_Fast_ITEMS(sequence);
    size_ = PySequence_Fast_GET_SIZE(sequence);
  }
  PyObject** begin() const { return begin_; }
  PyObject** end() const { return begin_ + size_; }
  size_t size() const { return static_cast<size_t>(size_); }
  PyObject* operator[](size_t i) const { return begin_[i]; }
};

Items tuple_of(PyObject* o, size_t n, const char* what) {
  Items items(o, what);
  if (items.size() != n)
    OURJIT_RAISE(UserError) << "graph data: " << what << " must have " << n << " parts, not "
                            << items.size();
  return items;
}

std::string_view text(PyObject* o, const char* what) {
  Py_ssize_t n = 0;
  const char* s = PyUnicode_Check(o) ? PyUnicode_AsUTF8AndSize(o, &n) : nullptr;
  if (!s) {
    PyErr_Clear();
    OURJIT_RAISE(UserError) << "graph data: " << what << " must be a str, not "
                            << Py_TYPE(o)->tp_name;
  }
  return {s, static_cast<size_t>(n)};
}

int64_t integer(PyObject* o, const char* what) {
  const long long v = PyLong_Check(o) ? PyLong_AsLongLong(o) : -1;
  if (!PyLong_Check(o) || (v == -1 && PyErr_Occurred())) {
    PyErr_Clear();
    OURJIT_RAISE(UserError) << "graph data: " << what << " must be an int of 64 bits";
  }
  return v;
}

PyObject* entry(PyObject* dict, const char* key) {
  PyObject* v = PyDict_Check(dict) ? PyDict_GetItemString(dict, key) : nullptr;
  if (!v) OURJIT_RAISE(UserError) << "graph data: must be a dict with the key '" << key << "'";
  return v;
}

class Importer {
 public:
  Importer(PyObject* data, std::string device)
      : data_(data),
        device_(std::move(device)),
        builder_(std::string(text(entry(data, "name"), "name"))) {}

  Graph run() {
    for (PyObject* o : Items(entry(data_, "inputs"), "inputs")) input(o);
    for (PyObject* o : Items(entry(data_, "nodes"), "nodes")) node(o);
    for (PyObject* o : Items(entry(data_, "outputs"), "outputs")) output(o);
    return builder_.take();
  }

 private:
  /// What a value number stands for: a tensor, a number, or nothing (a result that nobody uses).
  struct Numbered {
    ValueId value = -1;
    std::optional<Sym> number;
  };

  Sym sym(PyObject* o, const char* what) {
    if (PyLong_Check(o)) return Sym(integer(o, what));
    const std::string s(text(o, what));
    const auto it = syms_.find(s);
    return it != syms_.end() ? it->second : syms_.emplace(s, Sym::parse(s)).first->second;
  }

  std::vector<Sym> sizes(PyObject* o, const char* what) {
    const Items items(o, what);
    std::vector<Sym> out;
    out.reserve(items.size());
    for (PyObject* i : items) out.push_back(sym(i, what));
    return out;
  }

  TensorType type(PyObject* o) {
    const Items t = tuple_of(o, 4, "a tensor type");
    TensorType r;
    const auto dtype = parse_dtype(text(t[0], "a dtype"));
    if (!dtype) OURJIT_RAISE(UserError) << "graph data: unknown dtype " << text(t[0], "a dtype");
    r.dtype = *dtype;
    r.sizes = sizes(t[1], "sizes");
    r.strides = sizes(t[2], "strides");
    const std::string_view device = text(t[3], "a device");
    if (device_.empty()) device_ = device;
    if (device != device_)
      OURJIT_RAISE(Unsupported) << "a tensor on device " << device << " in a graph for " << device_;
    return r;
  }

  void input(PyObject* o) {
    const Items in = tuple_of(o, 2, "an input");
    if (!PyUnicode_Check(in[1])) {
      values_.push_back(
          {builder_.input(std::string(text(in[0], "an input's name")), type(in[1])), {}});
      return;
    }
    const std::string_view symbol = text(in[1], "an input's type");
    if (!symbol.starts_with("sym:"))
      OURJIT_RAISE(UserError) << "graph data: unknown input type " << symbol;
    builder_.symbol_input(std::string(symbol.substr(4)));
    values_.push_back({-1, Sym::symbol(symbol.substr(4))});
  }

  const Numbered& numbered(PyObject* o) {
    const int64_t n = integer(o, "a value number");
    if (n < 0 || static_cast<size_t>(n) >= values_.size())
      OURJIT_RAISE(UserError) << "graph data: there is no value " << n << " yet";
    return values_[static_cast<size_t>(n)];
  }

  /// ("v", 3), ("sym", "s0*2"), ("dtype", "f32") and the like.
  Arg tagged(PyObject* o, std::vector<ValueId>& operands) {
    const Items pair = tuple_of(o, 2, "an encoded argument");
    const std::string_view tag = text(pair[0], "the tag of an argument");
    if (tag == "sym") return {sym(pair[1], "a symbolic number")};
    if (tag != "v") return {EnumArg{std::string(tag), std::string(text(pair[1], "a name"))}};
    const Numbered& v = numbered(pair[1]);
    if (v.number) return {*v.number};
    if (v.value < 0) OURJIT_RAISE(UserError) << "graph data: an argument is a value without type";
    // The same value twice is one operand.
    for (size_t i = 0; i < operands.size(); ++i)
      if (operands[i] == v.value) return {OperandRef{static_cast<int>(i)}};
    operands.push_back(v.value);
    return {OperandRef{static_cast<int>(operands.size()) - 1}};
  }

  Arg arg(PyObject* o, std::vector<ValueId>& operands) {
    if (o == Py_None) return {NoneArg{}};
    if (PyBool_Check(o)) return {o == Py_True};
    if (PyLong_Check(o)) return {Sym(integer(o, "an int argument"))};
    if (PyFloat_Check(o)) return {PyFloat_AS_DOUBLE(o)};
    if (PyUnicode_Check(o)) return {std::string(text(o, "a str argument"))};
    if (PyTuple_Check(o)) return tagged(o, operands);
    if (!PyList_Check(o))
      OURJIT_RAISE(Unsupported) << "an argument of type " << Py_TYPE(o)->tp_name;
    ArgList list;
    for (PyObject* i : Items(o, "a list argument")) list.push_back(arg(i, operands));
    return {std::move(list)};
  }

  void node(PyObject* o) {
    const Items n = tuple_of(o, 5, "a node");
    std::string target(text(n[0], "a target"));
    try {
      builder_.set_loc(std::string(text(n[4], "a location")));
      std::vector<ValueId> operands;
      ArgList args;
      for (PyObject* a : Items(n[1], "arguments")) args.push_back(arg(a, operands));
      std::vector<std::string> names;
      for (PyObject* s : Items(n[2], "result names")) names.emplace_back(text(s, "a result name"));
      std::vector<std::optional<TensorType>> types;
      for (PyObject* t : Items(n[3], "result types"))
        types.push_back(t == Py_None ? std::nullopt : std::optional(type(t)));
      if (names.size() != types.size())
        OURJIT_RAISE(UserError) << "graph data: " << names.size() << " names for " << types.size()
                                << " results";
      for (const ValueId v :
           builder_.call(target, std::move(operands), std::move(args), types, names))
        values_.push_back({v, {}});
    } catch (const UserError& e) {
      throw UserError(target + ": " + e.what());
    } catch (const Unsupported& e) {
      throw Unsupported(target + ": " + e.what());
    }
  }

  /// ("v", 3), or ("v", 3, "free") for one whose strides nobody relies on; ("sym", "s0"), an int,
  /// None.
  void output(PyObject* o) {
    GraphOutput out;
    if (PyLong_Check(o)) {
      out.number = Sym(integer(o, "an output"));
    } else if (o != Py_None) {
      const Items parts(o, "an output");
      if (parts.size() < 2) OURJIT_RAISE(UserError) << "graph data: an output has two parts";
      if (text(parts[0], "the tag of an output") == "sym") {
        out.number = sym(parts[1], "an output");
      } else {
        const Numbered& v = numbered(parts[1]);
        out.value = v.value;
        out.number = v.number;
        out.strides_fixed = v.value >= 0 && parts.size() == 2;
        if (out.strides_fixed) out.strides = builder_.type(v.value).strides;
      }
    }
    builder_.output(std::move(out));
  }

  PyObject* data_;
  std::string device_;  // of all tensors; empty until the first one tells
  Builder builder_;
  std::vector<Numbered> values_;
  std::unordered_map<std::string, Sym> syms_;
};

}  // namespace

Graph import_graph(PyObject* data, const std::string& device) {
  return Importer(data, device).run();
}

PyObject* size_object(const Sym& s) {
  return s.is_const() ? PyLong_FromLongLong(s.value()) : PyUnicode_FromString(s.str().c_str());
}

}  // namespace ourjit
