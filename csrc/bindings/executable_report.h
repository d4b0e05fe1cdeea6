// What reports tell of an executable, as plain Python data.
#pragma once

#include <Python.h>

#include <vector>

#include "adapter/executable.h"

namespace ourjit {

// All return new references and raise what Python or the executable raises.

/// Nodes of the optimized graph: [{op, text, loc, reads, defines, step}].
PyObject* node_list(const CompiledGraph& g);
/// Stages of the compilation: [(name, start, seconds)], on the clock of time.perf_counter().
PyObject* phase_list(const CompiledGraph& g);
/// What the plan does, by the sizes of the call made last: [{kernel, target, loc, rows,
/// reads_bytes, writes_bytes, flops, operands, results}]; None where instance() is.
PyObject* step_list(Executable& e);
/// Where buffers lie and when: {arena_bytes, buffers: [{name, kind, bytes, offset, first, last}]};
/// None where instance() is.
PyObject* memory_dict(Executable& e);
/// Seconds of each step, run by run.
PyObject* step_seconds(Executable& e, const std::vector<CallValue>& inputs, int repeats);

}  // namespace ourjit
