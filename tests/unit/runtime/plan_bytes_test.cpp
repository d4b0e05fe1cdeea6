#include "runtime/plan_bytes.h"

#include <gtest/gtest.h>

#include "base/build_id.h"
#include "base/bytes.h"
#include "base/error.h"

namespace ourjit {
namespace {

/// A plan with a value in each field that is kept.
Plan full_plan() {
  const Sym n = Sym::symbol("s0");
  Plan p;
  p.name = "forward";
  p.symbols = {{"s0", 0, 1}};
  p.inputs = {{false, DType::bf16, {Sym(3), n}, {n, Sym(1)}, "x", true},
              {true, DType::i64, {}, {}, "n"}};
  p.buffers = {{BufferKind::Input, 0, n * Sym(6), "x"}, {BufferKind::Output, -1, n * Sym(12), "y"}};
  p.tensors = {{0, DType::bf16, {Sym(3), n}, {n, Sym(1)}, Sym(0)},
               {1, DType::f32, {n}, {Sym(2)}, n + Sym(4)}};
  p.kernels = {{"k0_add", {}, {{true, false}, {false, true}}}};
  LaunchStep launch;
  launch.kernel = 0;
  launch.rows = {{{0, 1}, {n, Sym(7)}, n}};
  launch.cost_ns = 0.75;
  launch.silent = 2;
  launch.provenance = {"add %y  # model.py:3"};
  CallStep call;
  call.target = "aten.mm.default";
  call.args = {{CallTensor{1}},
               {CallNone{}},
               {true},
               {n},
               {-0.5},
               {std::string("none")},
               {CallEnum{"dtype", "f32"}},
               {std::vector<CallArg>{{Sym(1)}, {CallTensor{0}}}}};
  call.results = {1, -1};
  call.into_results = true;
  call.loc = "model.py:4";
  p.steps = {launch, call};
  p.outputs = {{1, std::nullopt, -1, -1}, {-1, n * Sym(2), 0, 0}};
  p.guarded = true;
  p.tensors_on = "cpu";
  p.matmul = "aten";
  return p;
}

std::string bytes_of(const Plan& p) {
  ByteWriter out;
  write(out, p);
  return out.take();
}

Plan plan_of(std::string_view bytes) {
  ByteReader in(bytes);
  Plan p = read_plan(in);
  EXPECT_TRUE(in.at_end());
  return p;
}

TEST(PlanBytes, GiveThePlanBack) {
  const Plan p = full_plan();
  const std::string bytes = bytes_of(p);
  const Plan back = plan_of(bytes);
  EXPECT_EQ(print(back), print(p));
  EXPECT_EQ(bytes_of(back), bytes);
  EXPECT_EQ(std::get<LaunchStep>(back.steps[0]).provenance,
            (std::vector<std::string>{"add %y  # model.py:3"}));
  EXPECT_FALSE(back.kernels[0].buffers[0].written);
  EXPECT_TRUE(back.inputs[0].written);
  EXPECT_EQ(back.matmul, "aten");
}

TEST(PlanBytes, AreRefusedWhereTheyEnd) {
  const std::string bytes = bytes_of(full_plan());
  for (size_t n = 0; n < bytes.size(); ++n) {
    ByteReader in(std::string_view(bytes).substr(0, n));
    EXPECT_THROW(read_plan(in), BadBytes) << n;
  }
}

TEST(PlanBytes, ThatAreChangedDoNoHarm) {
  const std::string bytes = bytes_of(full_plan());
  for (size_t n = 0; n < bytes.size(); ++n)
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      std::string changed = bytes;
      changed[n] = static_cast<char>(changed[n] ^ flip);
      ByteReader in(changed);
      try {
        read_plan(in);
      } catch (const Error&) {  // bad bytes, or a bad size expression
      }
    }
}

TEST(BuildId, IsThere) {
  EXPECT_GE(build_id().size(), 16u);
  EXPECT_EQ(build_id(), build_id());
}

}  // namespace
}  // namespace ourjit
