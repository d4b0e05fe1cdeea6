// Time of generated kernels per element on one thread, with data in the second-level cache and in
// memory, as the scheduler prepares them, and the time to compile them. Memory: bytes that must
// move over time.
//
// The executable `kernels_bench` links the core and LLVM libraries of the build and Google
// Benchmark.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backend/cpu_backend.h"
#include "base/scalar_eval.h"
#include "loop/text.h"
#include "schedule/schedule.h"

namespace {

using namespace ourjit;

/// A kernel over `s0` rows of 768, and the bytes that it moves for each element.
struct Case {
  const char* name;
  int bytes;
  const char* text;
};

constexpr Case kCases[] = {
    {"add", 12, R"(
kernel @add(a: in f32[s0*768], b: in f32[s0*768], y: out f32[s0*768], s0: index) {
  parallel p in 0..floordiv(s0*768 + 4095, 4096) {
    for i in p*4096..min(s0*768, p*4096 + 4096) {
      %0: f32 = load a[i]
      %1: f32 = load b[i]
      %2: f32 = add %0, %1
      store y[i], %2
    }
  }
})"},
    {"exp", 8, R"(
kernel @exp(a: in f32[s0*768], y: out f32[s0*768], s0: index) {
  parallel p in 0..floordiv(s0*768 + 4095, 4096) {
    for i in p*4096..min(s0*768, p*4096 + 4096) {
      %0: f32 = load a[i]
      %1: f32 = exp %0
      store y[i], %1
    }
  }
})"},
    {"gelu", 8, R"(
kernel @gelu(a: in f32[s0*768], y: out f32[s0*768], s0: index) {
  %5: f32 = const 0.5
  %6: f32 = const 0.70710678118654752
  %7: f32 = const 1.0
  parallel p in 0..floordiv(s0*768 + 4095, 4096) {
    for i in p*4096..min(s0*768, p*4096 + 4096) {
      %0: f32 = load a[i]
      %1: f32 = mul %0, %6
      %2: f32 = erf %1
      %3: f32 = add %2, %7
      %4: f32 = mul %3, %0
      %8: f32 = mul %4, %5
      store y[i], %8
    }
  }
})"},
    {"dropout", 9, R"(
kernel @dropout(seed: in i64[1], a: in f32[s0*768], y: out f32[s0*768], m: out bool[s0*768], s0: index) {
  %0: i64 = load seed[0]
  %1: f32 = const 0.1
  %2: f32 = const 1.1111112
  %3: f32 = const 0.0
  parallel p in 0..floordiv(s0*768 + 4095, 4096) {
    for i in p*4096..min(s0*768, p*4096 + 4096) {
      %4: i64 = index i
      %5: f32 = rand_uniform %0, %4
      %6: bool = ge %5, %1
      store m[i], %6
      %7: f32 = load a[i]
      %8: f32 = mul %7, %2
      %9: f32 = where %6, %8, %3
      store y[i], %9
    }
  }
})"},
    {"bf16_chain", 4, R"(
kernel @bf16_chain(a: in bf16[s0*768], y: out bf16[s0*768], s0: index) {
  parallel p in 0..floordiv(s0*768 + 4095, 4096) {
    for i in p*4096..min(s0*768, p*4096 + 4096) {
      %0: bf16 = load a[i]
      %1: f32 = cast %0
      %2: f32 = sigmoid %1
      %3: f32 = mul %1, %2
      %4: bf16 = cast %3
      store y[i], %4
    }
  }
})"},
    {"layer_norm", 8, R"(
kernel @layer_norm(x: in f32[s0*768], w: in f32[768], b: in f32[768], y: out f32[s0*768], s0: index) {
  %0: f32 = const 768.0
  %1: f32 = const 0.00001
  parallel r in 0..s0 {
    %2 = for c in 0..768 reduce sum f32 {
      %3: f32 = load x[r*768 + c]
      yield %3
    }
    %4: f32 = div %2, %0
    %5 = for d in 0..768 reduce sum f32 {
      %6: f32 = load x[r*768 + d]
      %7: f32 = sub %6, %4
      %8: f32 = mul %7, %7
      yield %8
    }
    %9: f32 = div %5, %0
    %10: f32 = add %9, %1
    %11: f32 = rsqrt %10
    for e in 0..768 {
      %12: f32 = load x[r*768 + e]
      %13: f32 = sub %12, %4
      %14: f32 = mul %13, %11
      %15: f32 = load w[e]
      %16: f32 = load b[e]
      %17: f32 = mul %14, %15
      %18: f32 = add %17, %16
      store y[r*768 + e], %18
    }
  }
})"},
    {"softmax", 8, R"(
kernel @softmax(x: in f32[s0*768], y: out f32[s0*768], s0: index) {
  local l: f32[768]
  parallel r in 0..s0 {
    %0 = for c in 0..768 reduce max f32 {
      %1: f32 = load x[r*768 + c]
      yield %1
    }
    %2 = for d in 0..768 reduce sum f32 {
      %3: f32 = load x[r*768 + d]
      %4: f32 = sub %3, %0
      %5: f32 = exp %4
      store l[d], %5
      yield %5
    }
    for e in 0..768 {
      %6: f32 = load l[e]
      %7: f32 = div %6, %2
      store y[r*768 + e], %7
    }
  }
})"},
    {"row_argmax", 4, R"(
kernel @row_argmax(x: in f32[s0*768], y: out i64[s0*768], s0: index) {
  parallel r in 0..s0 {
    %0 = for c in 0..768 reduce argmax f32 {
      %1: f32 = load x[r*768 + c]
      yield %1
    }
    store y[r], %0
  }
})"},
    {"column_sum", 4, R"(
kernel @column_sum(x: in f32[s0*768], y: out f32[s0*768], s0: index) {
  parallel p in 0..1 {
    for c in 0..768 {
      %0 = for r in 0..s0 reduce sum f32 {
        %1: f32 = load x[r*768 + c]
        yield %1
      }
      store y[c], %0
    }
  }
})"},
    {"transpose", 8, R"(
kernel @transpose(x: in f32[s0*768], y: out f32[s0*768], s0: index) {
  parallel p in 0..12 {
    for c in p*64..p*64 + 64 {
      for r in 0..s0 {
        %0: f32 = load x[r*768 + c]
        store y[c*s0 + r], %0
      }
    }
  }
})"},
    {"embedding", 8, R"(
kernel @embedding(idx: in i64[s0*768], x: in f32[s0*768], y: out f32[s0*768], s0: index) {
  parallel r in 0..s0 {
    %0: i64 = load idx[r]
    bind t = %0 in 0..s0
    for c in 0..768 {
      %1: f32 = load x[t*768 + c]
      store y[r*768 + c], %1
    }
  }
})"},
};

struct Compiled {
  loop::Kernel kernel;
  std::shared_ptr<LoadedKernel> code;
};

CpuBackend& backend() {
  static const auto b = make_cpu_backend(detect_host());
  return *b;
}

loop::Kernel scheduled(const Case& c) {
  return loop::schedule_cpu(loop::parse_kernel(c.text), detect_host().target);
}

int64_t iterations(const loop::Kernel& k, int64_t rows) {
  for (const loop::Node& n : k.body)
    if (const auto* f = std::get_if<loop::For>(&n.v); f && f->kind == loop::LoopKind::Parallel)
      return (f->end - f->begin).eval([&](std::string_view) { return std::optional(rows); });
  return 1;
}

void run(benchmark::State& state, const Case& c) {
  const int64_t rows = state.range(0), elements = rows * 768;
  const loop::Kernel k = scheduled(c);
  const auto code = backend().compile(k);
  std::vector<std::vector<double>> memory(k.buffers.size(),
                                          std::vector<double>(static_cast<size_t>(elements)));
  for (size_t b = 0; b < k.buffers.size(); ++b) {
    const DType t = k.buffers[b].dtype;
    auto* at = reinterpret_cast<char*>(memory[b].data());
    for (int64_t i = 0; i < elements; ++i, at += dtype_bytes(t))
      store_scalar(at, is_float(t) ? Scalar::number(t, static_cast<double>((i * 37) % 101) / 50 - 1)
                                   : Scalar::integer(t, (i * 7919) % rows));
  }
  std::vector<void*> buffers;
  for (auto& m : memory) buffers.push_back(m.data());
  int32_t status = 0;
  const KernelArgs args{buffers.data(), &rows, 0, iterations(k, rows), &status};
  for (auto _ : state) code->function()(&args);
  state.counters["ns/element"] = benchmark::Counter(
      static_cast<double>(elements) * 1e-9,
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  state.SetBytesProcessed(state.iterations() * elements * c.bytes);
}

void compile(benchmark::State& state, const Case& c) {
  const loop::Kernel k = scheduled(c);
  for (auto _ : state) benchmark::DoNotOptimize(backend().compile(k)->function());
}

}  // namespace

int main(int argc, char** argv) {
  for (const Case& c : kCases) {
    // 64 rows are 200 KB; 16384 are 50 MB.
    benchmark::RegisterBenchmark((std::string("run/") + c.name).c_str(), run, c)
        ->Arg(64)
        ->Arg(16384);
    benchmark::RegisterBenchmark((std::string("compile/") + c.name).c_str(), compile, c)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
