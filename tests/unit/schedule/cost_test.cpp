#include "schedule/cost.h"

#include <gtest/gtest.h>

#include "loop/text.h"
#include "schedule/schedule.h"

namespace ourjit::loop {
namespace {

SymEnv size(int64_t s0) {
  return [s0](std::string_view name) -> std::optional<int64_t> {
    if (name == "s0") return s0;
    return std::nullopt;
  };
}

constexpr const char* kRows =
    R"(kernel @rows(b0: in f32[s0*100], b1: in f32[100], b2: out f32[s0*100], s0: index) {
  local l0: f32[100]
  parallel r in 0..s0 {
    %0 = for c in 0..100 reduce sum f32 {
      %1: f32 = load b0[r*100 + c]
      store l0[c], %1
      yield %1
    }
    for d in 0..100 {
      %2: f32 = load l0[d]
      %3: f32 = load b1[d]
      %4: f32 = load b0[r*100 + d]
      %5: f32 = add %2, %3
      %6: f32 = add %5, %4
      %7: f32 = div %6, %0
      store b2[r*100 + d], %7
    }
  }
})";

TEST(Cost, BytesAreThoseOfDistinctElements) {
  const Kernel k = parse_kernel(kRows);
  // b0 is read twice, the second time from cache; the local does not count.
  const IterationCost c = iteration_cost(k);
  EXPECT_EQ(c.bytes_read, 800);
  EXPECT_EQ(c.bytes_written, 400);
  // All rows read b1 only once.
  const KernelBytes all = kernel_bytes(k, size(50));
  EXPECT_EQ(all.read, 50 * 400 + 400);
  EXPECT_EQ(all.written, 50 * 400);
  // Schedules move the same bytes.
  const Kernel s = schedule_cpu(k, {});
  EXPECT_EQ(iteration_cost(s).bytes_read, 800);
}

TEST(Cost, TilesCountEachElementOnce) {
  const Kernel k = parse_kernel(R"(kernel @t(b0: in f32[64*80], b1: out f32[64*80]) {
  for a in 0..64 {
    for b in 0..80 {
      %0: f32 = load b0[b*64 + a]
      store b1[a*80 + b], %0
    }
  }
})");
  for (const Kernel& x : {k, schedule_cpu(k, {})}) {
    EXPECT_EQ(kernel_bytes(x).read, 64 * 80 * 4) << print(x);
    EXPECT_EQ(kernel_bytes(x).written, 64 * 80 * 4) << print(x);
  }
}

TEST(Cost, VectorsAndExpensiveOperationsShow) {
  const auto cycles = [](const std::string& op, const std::string& loop) {
    return iteration_cost(
               parse_kernel("kernel @k(b0: in f32[1024], b1: out f32[1024]) {\n for c in 0..1024 " +
                            loop + "{\n %0: f32 = load b0[c]\n %1: f32 = " + op +
                            " %0\n store b1[c], %1\n }\n}\n"))
        .cycles;
  };
  EXPECT_GT(cycles("neg", ""), 8 * cycles("neg", "vector(16, 1) "));
  EXPECT_GT(cycles("tanh", ""), 2 * cycles("neg", ""));
}

TEST(Cost, SizesDecideTheTime) {
  const Kernel k = parse_kernel(R"(kernel @k(b0: in f32[s0*4], b1: out f32[4], s0: index) {
  parallel p in 0..4 {
    %0 = for c in 0..s0 reduce sum f32 {
      %1: f32 = load b0[p*s0 + c]
      yield %1
    }
    store b1[p], %0
  }
})");
  EXPECT_GT(iteration_cost_ns(k, size(10000)), 50 * iteration_cost_ns(k, size(100)));
  EXPECT_EQ(iteration_cost_ns(k), iteration_cost_ns(k, size(kGuessedSize)));
}

}  // namespace
}  // namespace ourjit::loop
