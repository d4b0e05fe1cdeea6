#include "bindings/errors.h"

#include <c10/util/Exception.h>
#include <torch/csrc/Exceptions.h>

#include <string>

#include "adapter/nan_check.h"
#include "base/error.h"
#include "runtime/executor.h"

namespace ourjit {

namespace {

/// Created when the module is, and never changed afterwards.
struct ErrorTypes {
  PyObject* user = nullptr;
  PyObject* unsupported = nullptr;
  PyObject* backend = nullptr;
  PyObject* internal = nullptr;
  PyObject* index = nullptr;
};

ErrorTypes& error_types() {
  static ErrorTypes types;
  return types;
}

PyObject* make(PyObject* module, const char* name, const char* doc,
               PyObject* bases = PyExc_RuntimeError) {
  const std::string full = std::string("ourjit._C.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases, nullptr);
  return type && PyModule_AddObjectRef(module, name, type) == 0 ? type : nullptr;
}

}  // namespace

bool add_error_types(PyObject* module) {
  ErrorTypes& t = error_types();
  t.user = make(module, "UserError", "The call is wrong: the message says what to change.");
  t.unsupported =
      make(module, "Unsupported",
           "Not supported by the compiler; in strict mode an error, else it runs through ATen.");
  t.backend =
      make(module, "BackendError",
           "LLVM, NVRTC or the CUDA driver failed, or is missing; the message carries its log.");
  t.internal = make(module, "InternalError", "A bug of ourjit.");
  // Eager raises one or the other, by operator; a kernel does not know which of its operators it
  // was.
  PyObject* both = PyTuple_Pack(2, PyExc_IndexError, PyExc_RuntimeError);
  if (!both) return false;
  t.index = make(module, "IndexOutOfRange",
                 "An index is out of bounds for the dimension that it selects from.", both);
  Py_DECREF(both);
  return t.user && t.unsupported && t.backend && t.internal && t.index;
}

void set_python_error() {
  const ErrorTypes& t = error_types();
  try {
    throw;
  } catch (const UserError& e) {
    PyErr_SetString(t.user, e.what());
  } catch (const Unsupported& e) {
    PyErr_SetString(t.unsupported, e.what());
  } catch (const BackendError& e) {
    PyErr_SetString(t.backend, e.what());
  } catch (const IndexOutOfRange& e) {
    PyErr_SetString(t.index, e.what());
  } catch (const ZeroDivision& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (const NotANumber& e) {
    PyErr_SetString(PyExc_FloatingPointError, e.what());
  } catch (const Error& e) {
    PyErr_SetString(t.internal, e.what());
  } catch (...) {
    // Errors of ATen and of operators written in Python, as eager raises them.
    torch::translate_exception_to_python(std::current_exception());
  }
}

}  // namespace ourjit
