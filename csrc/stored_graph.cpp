#include "stored_graph.h"

#include "base/bytes.h"
#include "runtime/plan_bytes.h"

namespace ourjit {

template <class IO>
void fields(IO& io, Of<IO, Fallback>& x) {
  values(io, x.count, x.reason);
}
template <class IO>
void fields(IO& io, Of<IO, KernelReport>& x) {
  values(io, x.launches, x.provenance);
}

namespace {

template <class IO>
void rest(IO& io, Of<IO, CompiledGraph>& graph, Of<IO, std::vector<std::string>>& code_keys) {
  values(io, graph.output_strides, graph.library_calls, graph.fallbacks, graph.kernels, code_keys);
}

}  // namespace

std::string encode(const CompiledGraph& graph, const std::vector<std::string>& code_keys) {
  ByteWriter out;
  write(out, graph.plan);
  rest(out, graph, code_keys);
  return out.take();
}

StoredGraph decode_graph(std::string_view bytes) {
  ByteReader in(bytes);
  StoredGraph stored;
  CompiledGraph& graph = stored.graph;
  graph.plan = read_plan(in);
  rest(in, graph, stored.code_keys);
  const size_t kernels = graph.plan.kernels.size();
  if (!in.at_end() || graph.kernels.size() != kernels || stored.code_keys.size() != kernels)
    throw BadBytes("a stored graph and its kernels do not fit");
  for (size_t i = 0; i < kernels; ++i) graph.kernels[i].kernel.name = graph.plan.kernels[i].name;
  return stored;
}

}  // namespace ourjit
