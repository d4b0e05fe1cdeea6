// Compiled graphs in the disk cache: a graph that was compiled before runs no pass again.
//
// An entry holds the plan, and for each kernel what finds its machine code in the same store. Texts
// for reports are not kept: who wants them compiles without a store.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler.h"

namespace ourjit {

struct StoredGraph {
  CompiledGraph graph;                 // its kernels have a name, provenance and launches
  std::vector<std::string> code_keys;  // of graph.plan.kernels: CodeTarget::code_key
};

std::string encode(const CompiledGraph& graph, const std::vector<std::string>& code_keys);
/// Raises BadBytes.
StoredGraph decode_graph(std::string_view bytes);

}  // namespace ourjit
