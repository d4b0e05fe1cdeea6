// Time to partition graphs of thousands of nodes, and how it grows with their number.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "fusion/group.h"
#include "graph/builder.h"

namespace {

using namespace ourjit;

constexpr int64_t kRows = 256, kColumns = 128;

ValueId matmul(Builder& b, ValueId x, ValueId w) {
  const std::vector<Sym> sizes{b.type(x).sizes[0], b.type(w).sizes[1]};
  return b.call("aten.mm.default", {x, w}, {Arg{OperandRef{0}}, Arg{OperandRef{1}}},
                {make_type(DType::f32, sizes)})[0];
}

ValueId tensor(Builder& b, const std::string& name, std::vector<Sym> sizes) {
  return b.input(name, make_type(DType::f32, std::move(sizes)));
}

/// Layers with a library call, a norm over rows and a residual, which all read one mask.
Graph layers(size_t nodes) {
  Builder b("layers");
  ValueId x = tensor(b, "x", {kRows, kColumns});
  const ValueId w = tensor(b, "w", {kColumns, kColumns}), mask = tensor(b, "m", {kRows, kColumns});
  const ValueId bias = tensor(b, "b", {kColumns});
  while (b.graph().nodes.size() < nodes) {
    const ValueId h = b.pointwise(ScalarOp::tanh, {b.add(matmul(b, x, w), bias)});
    const ValueId masked = b.mul(h, mask);
    const ValueId mean = b.reduce(ReduceOp::sum, masked, {1}, true);
    const ValueId centered = b.sub(masked, mean);
    const ValueId square = b.reduce(ReduceOp::sum, b.mul(centered, centered), {1}, true);
    x = b.add(x, b.mul(centered, b.pointwise(ScalarOp::rsqrt, {square})));
  }
  b.output({x, {}, false, {}});
  return b.take();
}

/// Chains that have nothing in common but a scalar.
Graph parameters(size_t nodes) {
  Builder b("parameters");
  const ValueId rate = tensor(b, "rate", {});
  for (int i = 0; b.graph().nodes.size() < nodes; ++i) {
    const std::string n = std::to_string(i);
    const ValueId p = tensor(b, "p" + n, {kRows, kColumns}),
                  g = tensor(b, "g" + n, {kRows, kColumns});
    const ValueId m = b.add(b.mul(p, rate), g);
    const ValueId d = b.pointwise(ScalarOp::sqrt, {b.mul(m, m)});
    b.output({b.sub(p, b.div(m, d)), {}, false, {}});
    b.output({m, {}, false, {}});
  }
  return b.take();
}

/// Groups that cannot be one, all of which read the same memory.
Graph readers(size_t nodes) {
  Builder b("readers");
  const ValueId x = tensor(b, "x", {kRows, kColumns}), w = tensor(b, "w", {kColumns, kColumns});
  while (b.graph().nodes.size() < nodes) {
    const ValueId y = matmul(b, b.pointwise(ScalarOp::exp, {x}), w);
    const ValueId rows = b.reduce(ReduceOp::sum, b.mul(x, y), {1}, true);
    b.output({b.reduce(ReduceOp::max, b.mul(x, rows), {0}, true), {}, false, {}});
  }
  return b.take();
}

/// Values that are read at other elements than they are made at: almost every node is a group.
Graph transposes(size_t nodes) {
  Builder b("transposes");
  std::vector<ValueId> made{tensor(b, "x", {kColumns, kColumns}),
                            tensor(b, "y", {kColumns, kColumns})};
  while (b.graph().nodes.size() < nodes) {
    const ValueId last = b.permute(made.back(), {1, 0}), far = made[made.size() / 2];
    made.push_back(b.add(b.pointwise(ScalarOp::tanh, {last}), far));
  }
  b.output({made.back(), {}, false, {}});
  return b.take();
}

void partition(benchmark::State& state, Graph (*make)(size_t)) {
  const Graph g = insert_copies(make(static_cast<size_t>(state.range(0))));
  size_t groups = 0;
  for (auto _ : state) groups = fuse(g).steps.size();
  state.counters["nodes"] = static_cast<double>(g.nodes.size());
  state.counters["steps"] = static_cast<double>(groups);
  state.SetComplexityN(state.range(0));
}

}  // namespace

int main(int argc, char** argv) {
  const std::pair<const char*, Graph (*)(size_t)> kCases[] = {{"layers", layers},
                                                              {"parameters", parameters},
                                                              {"readers", readers},
                                                              {"transposes", transposes}};
  for (const auto& [name, make] : kCases)
    benchmark::RegisterBenchmark(name, partition, make)
        ->RangeMultiplier(4)
        ->Range(312, 20000)
        ->Unit(benchmark::kMillisecond)
        ->Complexity();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
