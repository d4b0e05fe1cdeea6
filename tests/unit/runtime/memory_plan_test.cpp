#include "runtime/memory_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace ourjit {
namespace {

bool alive_together(const MemoryRequest& a, const MemoryRequest& b) {
  return a.life.first <= b.life.last && b.life.first <= a.life.last;
}

void expect_valid(const std::vector<MemoryRequest>& requests, const MemoryLayout& layout) {
  ASSERT_EQ(layout.offsets.size(), requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(layout.offsets[i] % kArenaAlignment, 0);
    if (requests[i].bytes > 0 && requests[i].life.first >= 0) {
      EXPECT_LE(layout.offsets[i] + requests[i].bytes, layout.bytes);
      for (size_t j = 0; j < i; ++j) {
        if (requests[j].bytes == 0 || requests[j].life.first < 0) continue;
        if (!alive_together(requests[i], requests[j])) continue;
        const bool apart = layout.offsets[i] + requests[i].bytes <= layout.offsets[j] ||
                           layout.offsets[j] + requests[j].bytes <= layout.offsets[i];
        EXPECT_TRUE(apart) << "requests " << i << " and " << j << " share memory";
      }
    }
  }
}

TEST(MemoryPlan, ReusesMemoryOfBuffersThatAreNotAliveTogether) {
  const std::vector<MemoryRequest> chain = {
      {1024, {0, 1}}, {1024, {1, 2}}, {1024, {2, 3}}, {1024, {3, 4}}};
  const MemoryLayout layout = plan_memory(chain);
  expect_valid(chain, layout);
  EXPECT_EQ(layout.bytes, 2048);
}

TEST(MemoryPlan, KeepsBuffersOfOneStepApart) {
  const std::vector<MemoryRequest> same = {{100, {2, 2}}, {100, {2, 2}}};
  const MemoryLayout layout = plan_memory(same);
  expect_valid(same, layout);
  EXPECT_EQ(layout.bytes, 256);
}

TEST(MemoryPlan, FillsAGapBetweenLongLivedBuffers) {
  // The second request leaves a gap of 512 bytes that the last one fits into.
  const std::vector<MemoryRequest> r = {
      {1024, {0, 9}}, {512, {0, 1}}, {256, {0, 9}}, {512, {2, 3}}};
  const MemoryLayout layout = plan_memory(r);
  expect_valid(r, layout);
  EXPECT_EQ(layout.bytes, 1024 + 512 + 256);
}

TEST(MemoryPlan, UnusedAndEmptyRequestsTakeNothing) {
  const MemoryLayout layout = plan_memory({{0, {0, 1}}, {4096, {-1, -1}}});
  EXPECT_EQ(layout.bytes, 0);
}

TEST(MemoryPlan, RandomLifetimesNeverCollide) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<MemoryRequest> requests;
    for (int i = 0; i < 60; ++i) {
      const int first = static_cast<int>(random() % 100);
      requests.push_back({static_cast<int64_t>(random() % 5000),
                          {first, first + static_cast<int>(random() % 20)}});
    }
    const MemoryLayout layout = plan_memory(requests);
    expect_valid(requests, layout);
    // At least the load of the busiest step, at most everything side by side.
    int64_t busiest = 0, all = 0;
    for (int step = 0; step < 120; ++step) {
      int64_t load = 0;
      for (const MemoryRequest& r : requests)
        if (r.life.first <= step && step <= r.life.last) load += r.bytes;
      busiest = std::max(busiest, load);
    }
    for (const MemoryRequest& r : requests) all += r.bytes + kArenaAlignment;
    EXPECT_GE(layout.bytes, busiest);
    EXPECT_LE(layout.bytes, all);
  }
}

TEST(BufferLives, SpanFirstToLastTouchAlsoThroughViewsAndCalls) {
  Plan p;
  p.buffers = {{BufferKind::Input, 0, 64, "x"},
               {BufferKind::Temp, -1, 64, "h"},
               {BufferKind::Output, -1, 64, "y"}};
  p.tensors = {{0, DType::f32, {16}, {1}, 0},
               {1, DType::f32, {16}, {1}, 0},
               {1, DType::f32, {4, 4}, {4, 1}, 0},
               {2, DType::f32, {16}, {1}, 0}};
  p.kernels = {{"k", {nullptr, nullptr, nullptr}}};
  p.steps.push_back(LaunchStep{0, {{{0, 1}, {}, 1}}, 1.0});
  p.steps.push_back(LaunchStep{0, {{{0, 3}, {}, 1}}, 1.0});
  // A view of buffer 1 inside a list argument.
  p.steps.push_back(CallStep{
      "aten.cat.default", {CallArg{std::vector<CallArg>{{CallTensor{2}}}}}, {3}, true, ""});
  const std::vector<BufferLife> lives = buffer_lives(p);
  EXPECT_EQ(lives[0].first, 0);
  EXPECT_EQ(lives[0].last, 1);
  EXPECT_EQ(lives[1].first, 0);
  EXPECT_EQ(lives[1].last, 2);
  EXPECT_EQ(lives[2].first, 1);
  EXPECT_EQ(lives[2].last, 2);
}

TEST(StepAccess, TellsWhatIsReadFromWhatIsWritten) {
  Plan p;
  p.kernels = {{"k", {nullptr, nullptr, nullptr}, {{true, false}, {false, true}, {true, true}}}};
  const StepAccess launch =
      step_access(p, LaunchStep{0, {{{0, 1, 2}, {}, 1}, {{3, 4, 5}, {}, 1}}, 1.0});
  EXPECT_EQ(launch.read, (std::vector<int>{0, 2, 3, 5}));
  EXPECT_EQ(launch.written, (std::vector<int>{1, 2, 4, 5}));
  const std::vector<CallArg> two = {CallArg{CallTensor{6}}, CallArg{CallTensor{7}}};
  const StepAccess call = step_access(p, CallStep{"aten.mm.default", two, {8, -1}, true, ""});
  EXPECT_EQ(call.read, (std::vector<int>{6, 7}));
  EXPECT_EQ(call.written, std::vector<int>{8});
  const StepAccess in_place = step_access(p, CallStep{"aten.add_.Tensor", two, {8}, false, ""});
  EXPECT_EQ(in_place.written, (std::vector<int>{6, 8}));
}

}  // namespace
}  // namespace ourjit
