#include "bindings/py_executable.h"

#include <structmember.h>
#include <torch/csrc/autograd/python_variable.h>

#include <cstddef>
#include <string>

#include "base/error.h"
#include "bindings/errors.h"
#include "bindings/executable_report.h"
#include "bindings/fx_import.h"
#include "loop/text.h"
#include "schedule/cost.h"

namespace ourjit {

namespace {

struct PyExecutable {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* dict;
  PyObject* weakrefs;
  Executable* executable;
};

Executable& of(PyObject* self) { return *reinterpret_cast<PyExecutable*>(self)->executable; }

/// Gives the GIL away for as long as it lives.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() { PyEval_RestoreThread(state_); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* const state_;
};

/// An owned reference.
class Ref {
 public:
  explicit Ref(PyObject* o) : o_(o) {
    if (!o_) throw python_error();
  }
  ~Ref() { Py_XDECREF(o_); }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  PyObject* get() const { return o_; }
  PyObject* release() {
    PyObject* o = o_;
    o_ = nullptr;
    return o;
  }

 private:
  PyObject* o_;
};

std::vector<CallValue> take_inputs(PyObject* list) {
  const Py_ssize_t n = PyList_GET_SIZE(list);
  std::vector<CallValue> inputs(static_cast<size_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = PyList_GET_ITEM(list, i);
    CallValue& v = inputs[static_cast<size_t>(i)];
    if (THPVariable_Check(o)) {
      v.tensor = THPVariable_Unpack(o);
    } else if (PyLong_Check(o)) {
      v.number = PyLong_AsLongLong(o);
      if (*v.number == -1 && PyErr_Occurred()) throw python_error();
    } else if (o != Py_None) {
      OURJIT_RAISE(UserError) << "input " << i << " must be a tensor or an int, but got a "
                              << Py_TYPE(o)->tp_name;
    }
  }
  return inputs;
}

PyObject* output_object(CallValue&& v) {
  if (v.tensor.defined()) return THPVariable_Wrap(std::move(v.tensor));
  if (v.number) return PyLong_FromLongLong(*v.number);
  return Py_NewRef(Py_None);
}

PyObject* call(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  try {
    if (PyVectorcall_NARGS(nargsf) != 1 || (names && PyTuple_GET_SIZE(names) > 0) ||
        !PyList_Check(args[0]))
      OURJIT_RAISE(UserError) << "a compiled graph is called with one list of its inputs";
    std::vector<CallValue> inputs = take_inputs(args[0]);
    // The caller's references go first, so that each input can be freed after its last use.
    if (PyList_SetSlice(args[0], 0, PyList_GET_SIZE(args[0]), nullptr) < 0) throw python_error();
    std::vector<CallValue> outputs;
    {
      const WithoutGil released;
      outputs = of(self).run(inputs);
    }
    Ref result(PyList_New(static_cast<Py_ssize_t>(outputs.size())));
    for (size_t i = 0; i < outputs.size(); ++i) {
      PyObject* o = output_object(std::move(outputs[i]));
      if (!o) throw python_error();
      PyList_SET_ITEM(result.get(), static_cast<Py_ssize_t>(i), o);
    }
    return result.release();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

void set_item(PyObject* dict, const char* key, PyObject* owned) {
  const Ref value(owned);
  if (PyDict_SetItemString(dict, key, value.get()) < 0) throw python_error();
}

PyObject* str(const std::string& s) {
  return PyUnicode_DecodeUTF8(s.data(), static_cast<Py_ssize_t>(s.size()), "replace");
}

template <class T, class Make>
PyObject* list_of(const std::vector<T>& items, const Make& make) {
  Ref list(PyList_New(static_cast<Py_ssize_t>(items.size())));
  for (size_t i = 0; i < items.size(); ++i) {
    PyObject* o = make(items[i]);
    if (!o) throw python_error();
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), o);
  }
  return list.release();
}

size_t kernel_index(PyObject* self, PyObject* index) {
  const auto& kernels = of(self).graph().kernels;
  const Py_ssize_t i = PyNumber_AsSsize_t(index, PyExc_IndexError);
  if (i == -1 && PyErr_Occurred()) throw python_error();
  if (i < 0 || static_cast<size_t>(i) >= kernels.size())
    OURJIT_RAISE(UserError) << "there is no kernel " << i << ": the graph has " << kernels.size();
  return static_cast<size_t>(i);
}

const CodeTarget& target_of(const Executable& e) { return e.session().compiler.target(); }

PyObject* kernel_object(Executable& e, size_t i) {
  const KernelReport& k = e.graph().kernels[i];
  const loop::KernelBytes bytes = loop::kernel_bytes(k.kernel);
  Ref d(PyDict_New());
  set_item(d.get(), "name", str(k.kernel.name));
  set_item(d.get(), "lowered", str(k.lowered));
  set_item(d.get(), "loop_ir", str(loop::print(k.kernel)));
  set_item(d.get(), "source", str(target_of(e).source(k.kernel)));
  set_item(d.get(), "provenance", list_of(k.provenance, str));
  set_item(d.get(), "launches", PyLong_FromLongLong(k.launches));
  set_item(d.get(), "reads_bytes", PyLong_FromDouble(bytes.read));
  set_item(d.get(), "writes_bytes", PyLong_FromDouble(bytes.written));
  set_item(d.get(), "threads",
           Py_BuildValue("(ii)", k.kernel.threads_x, std::max(1, k.kernel.threads_y)));
  return d.release();
}

template <class F>
PyObject* guarded(const F& f) {
  try {
    return f();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

PyObject* kernels(PyObject* self, PyObject*) {
  return guarded([&] {
    Executable& e = of(self);
    const size_t n = e.graph().kernels.size();
    Ref list(PyList_New(static_cast<Py_ssize_t>(n)));
    for (size_t i = 0; i < n; ++i)
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), kernel_object(e, i));
    return list.release();
  });
}

PyObject* assembly(PyObject* self, PyObject* index) {
  return guarded([&] {
    const size_t i = kernel_index(self, index);
    return str(target_of(of(self)).assembly(of(self).graph().kernels[i].kernel));
  });
}

PyObject* binary(PyObject* self, PyObject* index) {
  return guarded([&] {
    const size_t i = kernel_index(self, index);
    const std::string object = target_of(of(self)).binary(of(self).graph().kernels[i].kernel);
    return PyBytes_FromStringAndSize(object.data(), static_cast<Py_ssize_t>(object.size()));
  });
}

PyObject* raise_reported(PyObject* self, PyObject*) {
  return guarded([&] {
    of(self).raise_reported();
    return Py_NewRef(Py_None);
  });
}

PyObject* accepts(PyObject* self, PyObject* inputs) {
  return guarded([&] {
    if (!PyList_Check(inputs)) OURJIT_RAISE(UserError) << "inputs are given as a list";
    return Py_NewRef(of(self).accepts(take_inputs(inputs)) ? Py_True : Py_False);
  });
}

PyObject* time_steps(PyObject* self, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject* inputs = nullptr;
    int repeats = 1;
    if (!PyArg_ParseTuple(args, "O!i", &PyList_Type, &inputs, &repeats)) return nullptr;
    return step_seconds(of(self), take_inputs(inputs), repeats);
  });
}

PyObject* over_table(PyObject* self, PyObject* table) {
  return guarded([&] {
    std::vector<std::vector<at::Tensor>> rows;
    const Ref outer(PySequence_Fast(table, "a table is a sequence of rows of tensors"));
    for (Py_ssize_t r = 0; r < PySequence_Fast_GET_SIZE(outer.get()); ++r) {
      const Ref inner(PySequence_Fast(PySequence_Fast_GET_ITEM(outer.get(), r),
                                      "a row of a table is a sequence of tensors"));
      std::vector<at::Tensor>& row = rows.emplace_back();
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(inner.get()); ++i) {
        PyObject* o = PySequence_Fast_GET_ITEM(inner.get(), i);
        if (!THPVariable_Check(o))
          OURJIT_RAISE(UserError) << "row " << r << " of the table: tensor " << i << " is a "
                                  << Py_TYPE(o)->tp_name;
        row.push_back(THPVariable_Unpack(o));
      }
    }
    return new_executable(reinterpret_cast<PyObject*>(Py_TYPE(self)), of(self).over_table(rows));
  });
}

PyObject* report(PyObject* self, PyObject*) {
  return guarded([&] {
    const CompiledGraph& g = of(self).graph();
    Ref d(PyDict_New());
    set_item(d.get(), "name", str(g.plan.name));
    set_item(d.get(), "captured", str(g.captured));
    set_item(d.get(), "graph", str(g.optimized));
    set_item(d.get(), "groups", str(g.groups));
    set_item(d.get(), "plan", str(print(g.plan)));
    set_item(d.get(), "guards", list_of(of(self).guards(), str));
    set_item(d.get(), "memory", str(of(self).memory_report()));
    set_item(d.get(), "seconds", PyFloat_FromDouble(g.seconds));
    set_item(d.get(), "kernels",
             list_of(g.kernels, [](const KernelReport& k) { return str(k.kernel.name); }));
    Ref library(PyDict_New()), fallbacks(PyDict_New());
    for (const auto& [target, count] : g.library_calls)
      set_item(library.get(), target.c_str(), PyLong_FromLongLong(count));
    for (const auto& [target, f] : g.fallbacks)
      set_item(fallbacks.get(), target.c_str(),
               Py_BuildValue("{s:L,s:N}", "count", static_cast<long long>(f.count), "reason",
                             str(f.reason)));
    set_item(d.get(), "library_calls", library.release());
    set_item(d.get(), "fallbacks", fallbacks.release());
    return d.release();
  });
}

/// The parts of the report that are for tools rather than for reading.
PyObject* data(PyObject* self, PyObject*) {
  return guarded([&] {
    Executable& e = of(self);
    Ref d(PyDict_New());
    set_item(d.get(), "nodes", node_list(e.graph()));
    set_item(d.get(), "phases", phase_list(e.graph()));
    set_item(d.get(), "steps", step_list(e));
    set_item(d.get(), "memory", memory_dict(e));
    return d.release();
  });
}

PyObject* output_strides(PyObject* self, void*) {
  return guarded([&] {
    return list_of(of(self).graph().output_strides,
                   [](const std::optional<std::vector<Sym>>& strides) {
                     if (!strides) return Py_NewRef(Py_None);
                     const Ref list(list_of(*strides, size_object));
                     return PyList_AsTuple(list.get());
                   });
  });
}

PyObject* written_inputs(PyObject* self, void*) {
  return guarded([&] {
    const Executable& e = of(self);
    const auto& inputs = e.graph().plan.inputs;
    return list_of(
        std::vector<PlanInput>(inputs.begin(), inputs.begin() + static_cast<int64_t>(e.inputs())),
        [](const PlanInput& i) { return Py_NewRef(i.written ? Py_True : Py_False); });
  });
}

PyObject* label(PyObject* self, void*) {
  return guarded([&] { return str(of(self).graph().label); });
}

PyObject* captured(PyObject* self, void*) {
  return guarded([&] { return str(of(self).graph().captured); });
}

PyObject* name(PyObject* self, void*) {
  return guarded([&] { return str(of(self).graph().plan.name); });
}

PyObject* repr(PyObject* self) {
  return guarded([&] {
    const CompiledGraph& g = of(self).graph();
    return str("<ourjit.Executable " + g.plan.name + ": " + std::to_string(g.plan.steps.size()) +
               " steps, " + std::to_string(g.kernels.size()) + " kernels>");
  });
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<PyExecutable*>(self)->dict);
  return 0;
}

int clear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<PyExecutable*>(self)->dict);
  return 0;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  auto* e = reinterpret_cast<PyExecutable*>(self);
  if (e->weakrefs) PyObject_ClearWeakRefs(self);
  clear(self);
  delete e->executable;
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"kernels", kernels, METH_NOARGS,
     "One dict for each kernel: name, lowered and scheduled (loop_ir) loops, source (LLVM IR or "
     "CUDA), "
     "provenance, launches in a call, bytes read and written in a launch, threads of a block (0 on "
     "the host)."},
    {"assembly", assembly, METH_O, "Assembly of a kernel: of the host, or PTX."},
    {"binary", binary, METH_O, "The object file or cubin of a kernel."},
    {"report", report, METH_NOARGS, "What became of the graph, stage by stage."},
    {"data", data, METH_NOARGS,
     "Of the graph: nodes, phases of its compilation, steps and memory of its plan; as plain "
     "data."},
    {"time_steps", time_steps, METH_VARARGS,
     "Runs the graph so many times on copies of what it writes: seconds of each step, run by run."},
    {"accepts", accepts, METH_O,
     "True if the tensors in a list are laid out in memory as the graph expects them."},
    {"over_table", over_table, METH_O,
     "An Executable that does for each row, a sequence of tensors, what this one does for its "
     "inputs; it takes the tensors of all rows in one list. Rows must not depend on each other."},
    {"raise_reported", raise_reported, METH_NOARGS,
     "Raises what kernels of a device have reported since, for callers that replay a call."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyExecutable, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(PyExecutable, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyExecutable, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"output_strides", output_strides, nullptr,
     "For each output a tuple of ints and text, or None.", nullptr},
    {"written_inputs", written_inputs, nullptr, "For each input: is it modified in place?",
     nullptr},
    {"label", label, nullptr, "Names the graph in logs and dumps.", nullptr},
    {"captured", captured, nullptr,
     "The graph as text, before all passes: what Compiler.compile takes as well.", nullptr},
    {"__name__", name, nullptr, nullptr, nullptr},
    {"__qualname__", name, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("A compiled graph. Called with one list of its inputs, which it "
                                  "empties; returns a list of tensors, ints and None.")},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(repr)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {0, nullptr},
};

PyType_Spec spec = {"ourjit._C.Executable", sizeof(PyExecutable), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_HAVE_GC |
                        Py_TPFLAGS_DISALLOW_INSTANTIATION,
                    slots};

}  // namespace

PyObject* make_executable_type() {
  PyObject* type = PyType_FromSpec(&spec);
  if (type && PyObject_SetAttrString(type, "_boxed_call", Py_True) < 0) Py_CLEAR(type);
  return type;
}

PyObject* new_executable(PyObject* type, std::unique_ptr<Executable> executable) {
  auto* t = reinterpret_cast<PyTypeObject*>(type);
  PyObject* self = t->tp_alloc(t, 0);
  if (!self) return nullptr;
  auto* e = reinterpret_cast<PyExecutable*>(self);
  e->vectorcall = call;
  e->executable = executable.release();
  return self;
}

}  // namespace ourjit
