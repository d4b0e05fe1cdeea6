// ourjit._C.Executable: a Python callable without a line of Python.
#pragma once

#include <Python.h>

#include <memory>

#include "adapter/executable.h"

namespace ourjit {

/// The type object, made once for each interpreter's module; a new reference. Null with an error
/// set.
PyObject* make_executable_type();

/// A new Executable object of that type.
PyObject* new_executable(PyObject* type, std::unique_ptr<Executable> executable);

}  // namespace ourjit
