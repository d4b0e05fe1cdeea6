// Plain Python data (python/ourjit/fx_export.py describes it) to a graph of calls.
#pragma once

#include <Python.h>

#include "graph/graph.h"

namespace ourjit {

/// `data` is the dict that export_graph() makes. Every node becomes a `call`. Raises UserError
/// naming the node for data of another form. Needs the GIL.
Graph import_graph(PyObject* data);

/// An object of Python for a size: an int, or its text where it is symbolic. A new reference.
PyObject* size_object(const Sym& s);

}  // namespace ourjit
