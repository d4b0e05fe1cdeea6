// Errors of ourjit as exceptions of Python.
#pragma once

#include <Python.h>

namespace ourjit {

/// Makes UserError, Unsupported, BackendError, InternalError and IndexOutOfRange (all
/// RuntimeErrors, the last one also an IndexError) in `module`.
bool add_error_types(PyObject* module);

/// Sets the Python error for the C++ exception being handled; call it in a catch block.
void set_python_error();

}  // namespace ourjit
