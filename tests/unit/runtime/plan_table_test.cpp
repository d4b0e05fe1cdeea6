#include "runtime/plan_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace ourjit {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// x[i] += n[] over f32[s0], by a kernel whose first row is silent, and a call.
Plan update(int64_t temporary_bytes = 4) {
  const Sym s0 = Sym::symbol("s0");
  Plan p;
  p.name = "update";
  p.inputs = {{false, DType::f32, {s0}, {1}, "x", true}, {false, DType::f64, {}, {}, "n"}};
  p.symbols = {{"s0", 0, 0}};
  p.buffers = {{BufferKind::Input, 0, s0 * 4, "x"},
               {BufferKind::Input, 1, 8, "n"},
               {BufferKind::Temp, -1, temporary_bytes, "t"}};
  p.tensors = {
      {0, DType::f32, {s0}, {1}, 0}, {1, DType::f64, {}, {}, 0}, {2, DType::f32, {}, {}, 0}};
  p.kernels = {{"k", {}}};
  p.steps.emplace_back(
      LaunchStep{0, {{{0, 1, 2}, {s0}, floordiv(s0 + 7, 8)}, {{0, 2, 1}, {}, 1}}, 1.0, 1});
  p.steps.emplace_back(CallStep{"aten.relu_.default", {{CallTensor{0}}, {s0}}, {2}, false, ""});
  return p;
}

TEST(PlanTable, RowsOfAnyShapeShareLaunches) {
  const Plan p = plan_over_table(update(), {{{{2, 3}, {3, 1}}, {{}, {}}}, {{{}, {}}, {{}, {}}}});
  EXPECT_EQ(print(p), R"(plan @update {
  input 0 x.0: f32[2, 3]{3, 1}, written
  input 1 n.0: f64[]
  input 2 x.1: f32[], written
  input 3 n.1: f64[]
  buffer b0 x: input 0, 24 bytes
  buffer b1 n: input 1, 8 bytes
  buffer b2 t: temp, 4 bytes
  buffer b3 x: input 2, 4 bytes
  buffer b4 n: input 3, 8 bytes
  buffer b5 t: temp, 4 bytes
  tensor t0 = b0 as f32[6]{1}
  tensor t1 = b1 as f64[]
  tensor t2 = b2 as f32[]
  tensor t3 = b3 as f32[1]{1}
  tensor t4 = b4 as f64[]
  tensor t5 = b5 as f32[]
  launch k of 4 rows, 2 silent
    (t0, t1, t2; 6) over 1
    (t3, t4, t5; 1) over 1
    (t0, t2, t1) over 1
    (t3, t5, t4) over 1
  call aten.relu_.default(t0, 6) -> t2
  call aten.relu_.default(t3, 1) -> t5
  return 
}
)");
}

TEST(PlanTable, LargeTemporariesOfOneRowLiveAtATime) {
  const Plan p = plan_over_table(update(1 << 20), {{{{2}, {1}}, {{}, {}}}, {{{3}, {1}}, {{}, {}}}});
  ASSERT_EQ(p.steps.size(), 4u);
  EXPECT_TRUE(std::holds_alternative<CallStep>(p.steps[1]));
}

TEST(PlanTable, RefusesWhatDoesNotFit) {
  const auto table = [](TensorLayout x, TensorLayout n) {
    return [=] { plan_over_table(update(), {{x, n}}); };
  };
  EXPECT_THAT(table({{4}, {2}}, {{}, {}}), ThrowsMessage<Error>(HasSubstr("x has gaps")));
  EXPECT_THAT(table({{2, 2}, {0, 1}}, {{}, {}}), ThrowsMessage<Error>(HasSubstr("x has gaps")));
  EXPECT_THAT(table({{4}, {1}}, {{1}, {1}}),
              ThrowsMessage<Error>(HasSubstr("n has another shape")));
  EXPECT_THAT([] { plan_over_table(update(), {{{{4}, {1}}}}); },
              ThrowsMessage<Error>(HasSubstr("row 0 of the table has 1 tensors, not 2")));
  Plan alike = update();
  alike.inputs[1] = alike.inputs[0];
  EXPECT_THAT([&] { plan_over_table(alike, {{{{2, 3}, {3, 1}}, {{2, 3}, {1, 2}}}}); },
              ThrowsMessage<Error>(HasSubstr("laid out otherwise")));
  Plan returns = update();
  returns.outputs.push_back({0, {}, -1, -1});
  EXPECT_THAT([&] { plan_over_table(returns, {}); },
              ThrowsMessage<Error>(HasSubstr("update has outputs")));
}

}  // namespace
}  // namespace ourjit
