#include "loop/interpret.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "loop/text.h"

namespace ourjit::loop {
namespace {

TEST(Interpret, RowProgramWithSymbolicRows) {
  const Kernel k = parse_kernel(R"(kernel @softmax(b0: in f32[s0*3], b1: out f32[s0*3], s0: index) {
  local l0: f32[3]
  parallel r in 0..s0 {
    %0 = for c in 0..3 reduce max f32 {
      %1: f32 = load b0[r*3 + c]
      yield %1
    }
    %2 = for d in 0..3 reduce sum f32 {
      %3: f32 = load b0[r*3 + d]
      %4: f32 = sub %3, %0
      %5: f32 = exp %4
      store l0[d], %5
      yield %5
    }
    for e in 0..3 {
      %6: f32 = load l0[e]
      %7: f32 = div %6, %2
      store b1[r*3 + e], %7
    }
  }
})");
  std::vector<float> x{0, 0, 0, 1000, 1000, -1000}, y(6);
  EXPECT_EQ(interpret(k, {x.data(), y.data()}, {2}), Status::Ok);
  EXPECT_FLOAT_EQ(y[1], 1.0f / 3);
  EXPECT_FLOAT_EQ(y[3], 0.5f);
  EXPECT_EQ(y[5], 0);
}

TEST(Interpret, EmptyLoopsGiveIdentities) {
  const Kernel k =
      parse_kernel(R"(kernel @k(b0: in f32[1], b1: out f32[2], b2: out i64[1], s0: index) {
  %0, %1, %2 = for c in 0..s0 reduce sum f32, max f32, argmax f32 {
    %3: f32 = load b0[c]
    yield %3, %3, %3
  }
  store b1[0], %0
  store b1[1], %1
  store b2[0], %2
})");
  float x = 7, y[2];
  int64_t at = -1;
  interpret(k, {&x, y, &at}, {0});
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[1], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(at, 0);
}

TEST(Interpret, PositionsCountFromTheLoopsBegin) {
  const Kernel k = parse_kernel(R"(kernel @k(b0: in f32[6], b1: out i64[2]) {
  %0, %1 = for c in 2..6 reduce argmax f32, argmin f32 {
    %2: f32 = load b0[c]
    yield %2, %2
  }
  store b1[0], %0
  store b1[1], %1
})");
  float x[] = {9, 9, 1, 3, 3, 1};
  int64_t at[2];
  interpret(k, {x, at}, {});
  EXPECT_EQ(at[0], 1);
  EXPECT_EQ(at[1], 0);
  x[4] = std::nanf("");
  interpret(k, {x, at}, {});
  EXPECT_EQ(at[0], 2);
  EXPECT_EQ(at[1], 2);
}

TEST(Interpret, ExpSumIsThatOfTwoPasses) {
  const Kernel k =
      parse_kernel(R"(kernel @k(b0: in f32[4], b1: out f32[2], s0: index) threads(2, 1) {
  %0, %1 = for c in 0..s0 threads(x, 1) reduce exp_sum f32, max f32 {
    %2: f32 = load b0[c]
    yield %2, %2
  }
  store b1[0], %0
  store b1[1], %1
})");
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const std::vector<std::vector<float>> rows = {{},
                                                {1, 2, 0, 2},
                                                {-inf, 3, -inf, 1},
                                                {-inf, -inf},
                                                {1, inf, -inf, 3},
                                                {inf, 1, inf},
                                                {-1000, 0, 1000},
                                                {1, nan, 2},
                                                {nan, inf},
                                                {-inf, nan}};
  for (const std::vector<float>& row : rows) {
    float m = -inf, sum = 0, got[2];
    for (const float x : row) m = std::isnan(m) || std::isnan(x) ? nan : std::max(m, x);
    for (const float x : row) sum += std::exp(x - (std::isinf(m) ? 0 : m));
    std::vector<float> memory = row;
    memory.resize(4);
    interpret(k, {memory.data(), got}, {static_cast<int64_t>(row.size())});
    if (std::isnan(sum)) {
      EXPECT_TRUE(std::isnan(got[0]) && std::isnan(got[1]));
    } else {
      EXPECT_FLOAT_EQ(got[0], sum);
      EXPECT_EQ(got[1], m);
    }
  }
}

TEST(Interpret, BindsWrapMaskAndReport) {
  const Kernel k =
      parse_kernel(R"(kernel @k(b0: in i64[1], b1: in f32[4], b2: out f32[1], b3: in bool[1]) {
  %0: i64 = load b0[0]
  %1: bool = load b3[0]
  bind i = %0 in 0..4 wrap mask %1
  %2: f32 = load b1[i]
  store b2[0], %2
})");
  float table[] = {10, 11, 12, 13}, out = 0;
  bool use = true;
  const auto run = [&](int64_t i) { return interpret(k, {&i, table, &out, &use}, {}); };
  EXPECT_EQ(run(2), Status::Ok);
  EXPECT_EQ(out, 12);
  EXPECT_EQ(run(-1), Status::Ok);
  EXPECT_EQ(out, 13);
  EXPECT_EQ(run(4), Status::IndexError);
  EXPECT_EQ(out, 10);
  EXPECT_EQ(run(-5), Status::IndexError);
  use = false;
  EXPECT_EQ(run(4), Status::Ok);
}

TEST(Interpret, DivisionByZeroIsReported) {
  const Kernel k = parse_kernel(R"(kernel @k(b0: in i32[2], b1: out i32[1]) {
  %0: i32 = load b0[0]
  %1: i32 = load b0[1]
  %2: i32 = floor_div %0, %1
  store b1[0], %2
})");
  int32_t x[] = {7, 0}, y = 0;
  EXPECT_EQ(interpret(k, {x, &y}, {}), Status::ZeroDivisionError);
  x[1] = -2;
  EXPECT_EQ(interpret(k, {x, &y}, {}), Status::Ok);
  EXPECT_EQ(y, -4);
}

TEST(Interpret, AccessesAreChecked) {
  const Kernel k = parse_kernel(R"(kernel @k(b0: in f32[4], b1: out f32[4], s0: index) {
  for c in 0..s0 {
    %0: f32 = load b0[c]
    store b1[c], %0
  }
})");
  float x[4] = {}, y[4];
  EXPECT_EQ(interpret(k, {x, y}, {4}), Status::Ok);
  EXPECT_THROW(interpret(k, {x, y}, {5}), InternalError);
  EXPECT_THROW(interpret(k, {x}, {4}), InternalError);
}

TEST(Interpret, MaskedAccessesTouchNothing) {
  const Kernel k = parse_kernel(R"(kernel @k(b0: in bool[4], b1: inout f32[4], b2: in f32[2]) {
  %0: f32 = const 1.0
  for c in 0..4 {
    %1: bool = load b0[c]
    %2: f32 = load b2[c] mask %1
    %3: f32 = add %2, %0
    store accumulate b1[c], %3 mask %1
    %4: bool = logical_not %1
    store b1[c], %2 mask %4
  }
})");
  bool on[] = {true, true, false, false};
  float y[] = {10, 20, 30, 40}, x[] = {1, 2};
  EXPECT_EQ(interpret(k, {on, y, x}, {}), Status::Ok);
  EXPECT_EQ(y[0], 12);
  EXPECT_EQ(y[1], 23);
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[3], 0);
}

TEST(Interpret, LanesRunStatementByStatement) {
  // As a serial loop this copies b1[0] along; lanes all read before any of them writes.
  const auto run = [](const std::string& marks) {
    const Kernel k = parse_kernel("kernel @k(b1: inout f32[5]) {\n  for c in 0..4 " + marks +
                                  "{\n    %0: f32 = load b1[c]\n    store b1[c + 1], %0\n  }\n}\n");
    std::vector<float> x{1, 2, 3, 4, 5};
    interpret(k, {x.data()}, {});
    return x;
  };
  EXPECT_EQ(run(""), (std::vector<float>{1, 1, 1, 1, 1}));
  EXPECT_EQ(run("vector(4, 1) "), (std::vector<float>{1, 1, 2, 3, 4}));
}

TEST(Interpret, LocalsAreUndefinedInEachParallelIteration) {
  const Kernel k = parse_kernel(R"(kernel @k(b0: out f32[2]) {
  local l0: f32[1]
  parallel p in 0..2 {
    %0: f32 = load l0[0]
    store b0[p], %0
    %1: f32 = const 3.0
    store l0[0], %1
  }
})");
  float y[2] = {};
  interpret(k, {y}, {});
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_TRUE(std::isnan(y[1]));
}

}  // namespace
}  // namespace ourjit::loop
