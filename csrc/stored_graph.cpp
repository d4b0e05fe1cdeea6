#include "stored_graph.h"

#include <utility>

#include "base/bytes.h"
#include "runtime/plan_bytes.h"

namespace ourjit {

namespace {

/// Writes or reads a list, element by element.
template <class IO, class T, class F>
void each(IO& io, T& list, const F& element) {
  if constexpr (IO::kReads)
    list.resize(io.length());
  else
    io(static_cast<uint64_t>(list.size()));
  for (auto& x : list) element(x);
}

template <class IO, class T>
void strides(IO& io, T& list) {
  each(io, list, [&](auto& x) {
    bool is_there = x.has_value();
    io(is_there);
    if constexpr (IO::kReads)
      if (is_there) x.emplace();
    if (is_there) each(io, *x, [&](auto& stride) { io(stride); });
  });
}

void write(ByteWriter& out, const std::map<std::string, int64_t>& counts) {
  out(static_cast<uint64_t>(counts.size()));
  for (const auto& [name, count] : counts) out(name), out(count);
}
std::map<std::string, int64_t> read_counts(ByteReader& in) {
  std::map<std::string, int64_t> counts;
  for (size_t left = in.length(); left; --left) {
    std::string name;
    in(name);
    in(counts[name]);
  }
  return counts;
}

}  // namespace

std::string encode(const CompiledGraph& graph, const std::vector<std::string>& code_keys) {
  ByteWriter out;
  write(out, graph.plan);
  strides(out, graph.output_strides);
  write(out, graph.library_calls);
  out(static_cast<uint64_t>(graph.fallbacks.size()));
  for (const auto& [name, f] : graph.fallbacks) out(name), out(f.count), out(f.reason);
  each(out, graph.kernels, [&](const KernelReport& k) {
    out(k.launches);
    each(out, k.provenance, [&](const std::string& line) { out(line); });
  });
  each(out, code_keys, [&](const std::string& key) { out(key); });
  return out.take();
}

StoredGraph decode_graph(std::string_view bytes) {
  ByteReader in(bytes);
  StoredGraph stored;
  CompiledGraph& graph = stored.graph;
  graph.plan = read_plan(in);
  strides(in, graph.output_strides);
  graph.library_calls = read_counts(in);
  for (size_t left = in.length(); left; --left) {
    std::string name;
    in(name);
    Fallback& f = graph.fallbacks[name];
    in(f.count), in(f.reason);
  }
  each(in, graph.kernels, [&](KernelReport& k) {
    in(k.launches);
    each(in, k.provenance, [&](std::string& line) { in(line); });
  });
  each(in, stored.code_keys, [&](std::string& key) { in(key); });
  const size_t kernels = graph.plan.kernels.size();
  if (!in.at_end() || graph.kernels.size() != kernels || stored.code_keys.size() != kernels)
    throw BadBytes("a stored graph and its kernels do not fit");
  for (size_t i = 0; i < kernels; ++i) graph.kernels[i].kernel.name = graph.plan.kernels[i].name;
  return stored;
}

}  // namespace ourjit
