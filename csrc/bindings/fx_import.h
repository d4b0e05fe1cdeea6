// Plain Python data (python/ourjit/fx_export.py describes it) to a graph of calls.
#pragma once

#include <Python.h>

#include "graph/graph.h"

namespace ourjit {

/// `data` is the dict that export_graph() makes. Every node becomes a `call`. Raises UserError
/// naming the node for data of another form, Unsupported for a tensor that is not on `device`
/// (empty: that of the first tensor). Types of the graph do not name it. Needs the GIL.
Graph import_graph(PyObject* data, const std::string& device);

/// An object of Python for a size: an int, or its text where it is symbolic. A new reference.
PyObject* size_object(const Sym& s);

}  // namespace ourjit
