// Time of the vector maths per element, in the first-level cache, for each function and width that
// the processor has.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <string>
#include <vector>

#include "testing/vecmath_arrays.h"

namespace {

using ourjit::VecmathFunction;
using ourjit::VecmathRandom;
using ourjit::VecmathTable;

constexpr std::size_t kCount = 2048;

/// Numbers in [0.1, 8): inside the ordinary domain of nearly every function.
template <class T>
std::vector<T> arguments(double step) {
  std::vector<T> values(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    const double phase = static_cast<double>(i) * step;
    values[i] = static_cast<T>(0.1 + 7.9 * (phase - static_cast<double>(static_cast<long>(phase))));
  }
  return values;
}

void report(benchmark::State& state) {
  state.counters["ns/elem"] = benchmark::Counter(
      static_cast<double>(kCount) * 1e-9,
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

template <class T>
void run_function(benchmark::State& state, const VecmathFunction* function) {
  const std::vector<T> a = arguments<T>(0.6180339887);
  const std::vector<T> b = arguments<T>(0.4142135624);
  std::vector<T> out(kCount);
  for (auto _ : state) {
    function->apply(a.data(), b.data(), out.data(), kCount);
    benchmark::ClobberMemory();
  }
  report(state);
}

template <class T>
void run_random(benchmark::State& state, const VecmathRandom* random) {
  std::vector<long> index(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    index[i] = static_cast<long>(i);
  }
  std::vector<T> out(kCount);
  for (auto _ : state) {
    random->apply(42, index.data(), out.data(), kCount);
    benchmark::ClobberMemory();
  }
  report(state);
}

void register_table(const VecmathTable* table) {
  const std::string width = "/" + std::to_string(table->vector_bits);
  for (std::size_t i = 0; i < table->function_count; ++i) {
    const VecmathFunction* function = &table->functions[i];
    const std::string name = function->name + std::string(function->is_double ? "_f64" : "_f32");
    benchmark::RegisterBenchmark((name + width).c_str(),
                                 function->is_double ? run_function<double> : run_function<float>,
                                 function);
  }
  for (std::size_t i = 0; i < table->random_count; ++i) {
    const VecmathRandom* random = &table->randoms[i];
    const std::string name = random->name + std::string(random->is_double ? "_f64" : "_f32");
    benchmark::RegisterBenchmark(
        (name + width).c_str(), random->is_double ? run_random<double> : run_random<float>, random);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (__builtin_cpu_supports("x86-64-v4")) {
    register_table(ourjit::ourjit_vecmath_table_512());
  }
  if (__builtin_cpu_supports("x86-64-v3")) {
    register_table(ourjit::ourjit_vecmath_table_256());
  }
  if (__builtin_cpu_supports("x86-64-v2")) {
    register_table(ourjit::ourjit_vecmath_table_128());
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
