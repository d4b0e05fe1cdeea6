#include "runtime/executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <set>
#include <utility>

namespace ourjit {
namespace {

/// y[i] = x[i] + 1 over f32.
void add_one(const KernelArgs* a) {
  const auto* x = static_cast<const float*>(a->buffers[0]);
  auto* y = static_cast<float*>(a->buffers[1]);
  for (int64_t i = a->begin; i < a->end; ++i) y[i] = x[i] + 1;
}

void fail_with_index_error(const KernelArgs* a) {
  if (a->begin <= 3 && 3 < a->end) *a->status = 1;
}
void fail_with_division_error(const KernelArgs* a) { *a->status = 2; }

/// Records what the executor asks for; cuts parallel loops in pieces of the grain.
class TestHost : public Host {
 public:
  void parallel_for(int64_t n, int64_t grain, TaskFunction task, void* context) override {
    ++parallel_loops;
    for (int64_t i = 0; i < n; i += grain) task(context, i, std::min(n, i + grain));
  }
  void call(int step, void** buffers) override {
    calls.push_back(step);
    if (call_result >= 0) buffers[call_result] = result.data();
  }
  void* allocate(int buffer, int64_t bytes) override {
    allocated.push_back(buffer);
    memory.emplace_back(static_cast<size_t>(bytes));
    return memory.back().data();
  }
  void release(int buffer) override { released.push_back(buffer); }

  int parallel_loops = 0;
  std::vector<int> calls, allocated, released;
  std::vector<std::vector<char>> memory;
  std::vector<float> result = std::vector<float>(64, 5);
  int call_result = -1;
};

/// y = ((x + 1) + 1) + ... with `n` kernels over f32[s0]; buffers: x, temporaries, y.
Plan chain(int n, double cost_ns = 1.0) {
  const Sym s0 = Sym::symbol("s0");
  Plan p;
  p.name = "chain";
  p.inputs = {{false, DType::f32, {s0}, {1}, "x"}};
  p.symbols = {{"s0", 0, 0}};
  for (int i = 0; i <= n; ++i) {
    const BufferKind kind = i == 0   ? BufferKind::Input
                            : i == n ? BufferKind::Output
                                     : BufferKind::Temp;
    p.buffers.push_back({kind, i == 0 ? 0 : -1, s0 * Sym(4), "b" + std::to_string(i)});
    p.tensors.push_back({i, DType::f32, {s0}, {1}, 0});
  }
  p.kernels = {{"add_one", {add_one, nullptr, nullptr}}};
  for (int i = 0; i < n; ++i) p.steps.push_back(LaunchStep{0, {{{i, i + 1}, {}, s0}}, cost_ns});
  p.outputs = {{n, std::nullopt}, {-1, s0 + Sym(1)}};
  return p;
}

TEST(Executor, RunsAChainThroughTheArena) {
  const Plan p = chain(5);
  const auto instance = instantiate(p, {100});
  EXPECT_EQ(instance->arena_bytes, 2 * 448);  // two buffers of 400 bytes take turns
  EXPECT_EQ(instance->numbers[1], 101);
  std::vector<float> x(100, 1);
  ArenaPool arenas;
  Frame frame(*instance);
  for (int round = 0; round < 2; ++round) {
    TestHost host;
    frame.buffers[0] = x.data();
    run(*instance, frame, arenas, host);
    ASSERT_EQ(host.allocated, std::vector<int>{5});
    EXPECT_EQ(host.released, std::vector<int>{0});
    const auto* y = static_cast<const float*>(frame.buffers[5]);
    EXPECT_TRUE(std::all_of(y, y + 100, [](float v) { return v == 6; }));
    EXPECT_EQ(host.parallel_loops, 0);
  }
}

/// Notes the steps that it sees, and what has been allocated and released by then.
class Watcher final : public TestHost {
 public:
  bool watches() const override { return true; }
  void begin_step(int step) override { note("begin", step); }
  void end_step(int step) override { note("end", step); }
  std::vector<std::string> seen;

 private:
  void note(const char* what, int step) {
    seen.push_back(std::string(what) + " " + std::to_string(step) + ", " +
                   std::to_string(allocated.size()) + " made, " + std::to_string(released.size()) +
                   " gone");
  }
};

TEST(Executor, AHostThatWatchesSeesEachStepWithAllItsMemory) {
  const Plan p = chain(2);
  const auto instance = instantiate(p, {10});
  std::vector<float> x(10, 1);
  ArenaPool arenas;
  Frame frame(*instance);
  frame.buffers[0] = x.data();
  Watcher host;
  run(*instance, frame, arenas, host);
  EXPECT_EQ(host.seen,
            (std::vector<std::string>{"begin 0, 0 made, 0 gone", "end 0, 0 made, 0 gone",
                                      "begin 1, 1 made, 1 gone", "end 1, 1 made, 1 gone"}));
}

/// y[i] = x[i] + 1, and one element too many.
void add_one_too_far(const KernelArgs* a) {
  add_one(a);
  static_cast<float*>(a->buffers[1])[a->end] = 0;
}

/// The last buffer after one call of a chain over ones.
std::vector<float> run_on_ones(const Plan& p, int64_t size) {
  const auto instance = instantiate(p, {size});
  std::vector<float> x(static_cast<size_t>(size), 1);
  Frame frame(*instance);
  frame.buffers[0] = x.data();
  ArenaPool arenas;
  TestHost host;
  run(*instance, frame, arenas, host);
  const auto* y = static_cast<const float*>(frame.buffers.back());
  return {y, y + size};
}

TEST(Executor, GuardedKernelsComputeTheSame) {
  Plan p = chain(3);
  p.guarded = true;
  EXPECT_EQ(run_on_ones(p, 100), std::vector<float>(100, 4));
}

TEST(ExecutorDeathTest, GuardedKernelsDieWhereTheyWriteOutside) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  Plan p = chain(1);
  p.kernels = {{"add_one_too_far", {add_one_too_far, nullptr, nullptr}}};
  p.guarded = true;
  EXPECT_DEATH(run_on_ones(p, 100), "");
}

TEST(Executor, MuchWorkGoesParallelAndLittleDoesNot) {
  ArenaPool arenas;
  for (const auto& [size, loops] : {std::pair{1000, 0}, {100000, 1}}) {
    const Plan p = chain(1, 10.0);
    const auto instance = instantiate(p, {size});
    std::vector<float> x(static_cast<size_t>(size), 1);
    Frame frame(*instance);
    frame.buffers[0] = x.data();
    TestHost host;
    run(*instance, frame, arenas, host);
    EXPECT_EQ(host.parallel_loops, loops);
    const auto* y = static_cast<const float*>(frame.buffers[1]);
    EXPECT_TRUE(std::all_of(y, y + size, [](float v) { return v == 2; }));
  }
}

/// One launch over a row for each of `sizes`, each with its own input and output.
Plan table(const std::vector<int64_t>& sizes, double cost_ns) {
  Plan p;
  p.name = "table";
  p.kernels = {{"add_one", {add_one, nullptr, nullptr}}};
  LaunchStep step{0, {}, cost_ns};
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int t = static_cast<int>(p.tensors.size());
    p.inputs.push_back({false, DType::f32, {sizes[i]}, {1}, "x" + std::to_string(i)});
    p.buffers.push_back({BufferKind::Input, static_cast<int>(i), sizes[i] * 4, "x"});
    p.buffers.push_back({BufferKind::Output, -1, sizes[i] * 4, "y"});
    p.tensors.push_back({t, DType::f32, {sizes[i]}, {1}, 0});
    p.tensors.push_back({t + 1, DType::f32, {sizes[i]}, {1}, 0});
    step.rows.push_back({{t, t + 1}, {}, sizes[i]});
    p.outputs.push_back({t + 1, std::nullopt});
  }
  p.steps.push_back(std::move(step));
  return p;
}

TEST(Executor, ALaunchRunsAllRowsOfItsTable) {
  ArenaPool arenas;
  const std::vector<int64_t> sizes{3, 0, 70000, 1, 0, 0, 5000, 128};
  for (const double cost : {0.001, 100.0}) {  // on one thread, and on several
    const Plan p = table(sizes, cost);
    const auto instance = instantiate(p, {});
    std::vector<std::vector<float>> x;
    Frame frame(*instance);
    for (size_t i = 0; i < sizes.size(); ++i) {
      x.emplace_back(static_cast<size_t>(sizes[i]), static_cast<float>(i));
      frame.buffers[2 * i] = x.back().data();
    }
    TestHost host;
    run(*instance, frame, arenas, host);
    EXPECT_EQ(host.parallel_loops, cost > 1);
    for (size_t i = 0; i < sizes.size(); ++i) {
      const auto* y = static_cast<const float*>(frame.buffers[2 * i + 1]);
      for (int64_t k = 0; k < sizes[i]; ++k) ASSERT_EQ(y[k], static_cast<float>(i) + 1) << i;
    }
  }
}

TEST(Executor, TensorsMayStartInsideABuffer) {
  Plan p = chain(1);
  p.tensors[0].offset = 3;
  p.steps[0] = LaunchStep{0, {{{0, 1}, {}, Sym::symbol("s0") - Sym(3)}}, 1.0};
  const auto instance = instantiate(p, {8});
  std::vector<float> x = {0, 1, 2, 3, 4, 5, 6, 7};
  ArenaPool arenas;
  Frame frame(*instance);
  frame.buffers[0] = x.data();
  TestHost host;
  run(*instance, frame, arenas, host);
  EXPECT_EQ(static_cast<const float*>(frame.buffers[1])[0], 4);
  EXPECT_EQ(static_cast<const float*>(frame.buffers[1])[4], 8);
}

TEST(Executor, LibraryCallsDefineBuffersThatAreReleasedAfterTheirLastUse) {
  Plan p = chain(2);
  p.buffers[1].kind = BufferKind::CallResult;
  p.steps[0] = CallStep{"aten.foo.default", {CallArg{CallTensor{0}}}, {1}, false, ""};
  const auto instance = instantiate(p, {64});
  EXPECT_EQ(instance->arena_bytes, 0);
  std::vector<float> x(64, 1);
  ArenaPool arenas;
  Frame frame(*instance);
  frame.buffers[0] = x.data();
  TestHost host;
  host.call_result = 1;
  run(*instance, frame, arenas, host);
  EXPECT_EQ(host.calls, std::vector<int>{0});
  EXPECT_EQ(host.released, (std::vector<int>{0, 1}));
  EXPECT_EQ(static_cast<const float*>(frame.buffers[2])[63], 6);
}

TEST(Executor, ErrorsOfKernelsAreRaisedAfterTheLoopAndTheArenaComesBack) {
  ArenaPool arenas;
  for (double cost : {0.1, 1e6}) {
    Plan p = chain(2, cost);
    p.kernels = {{"k", {fail_with_index_error, nullptr, nullptr}}};
    const auto instance = instantiate(p, {10});
    std::vector<float> x(10);
    Frame frame(*instance);
    frame.buffers[0] = x.data();
    TestHost host;
    EXPECT_THROW(run(*instance, frame, arenas, host), IndexOutOfRange);
    EXPECT_EQ(host.parallel_loops, cost > 1 ? 1 : 0);
  }
  Plan p = chain(2);
  p.kernels = {{"k", {fail_with_division_error, nullptr, nullptr}}};
  const auto instance = instantiate(p, {10});
  std::vector<float> x(10);
  Frame frame(*instance);
  frame.buffers[0] = x.data();
  TestHost host;
  EXPECT_THROW(run(*instance, frame, arenas, host), ZeroDivision);
  arenas.trim();
  EXPECT_EQ(arenas.bytes(), 0);  // nothing is still held
}

TEST(Executor, EmptyTensorsRunNothing) {
  const Plan p = chain(3);
  const auto instance = instantiate(p, {0});
  ArenaPool arenas;
  Frame frame(*instance);
  TestHost host;
  run(*instance, frame, arenas, host);
  EXPECT_EQ(host.allocated, std::vector<int>{3});
}

TEST(Instance, UnusedInputsAreReleasedFirstAndUnwrittenOutputsStillExist) {
  Plan p = chain(1);
  p.inputs.push_back({false, DType::f32, {4}, {1}, "unused"});
  p.buffers.push_back({BufferKind::Input, 1, 16, "unused"});
  p.buffers.push_back({BufferKind::Output, -1, 0, "nothing"});
  p.tensors.push_back({3, DType::f32, {0}, {1}, 0});
  p.outputs.push_back({2, std::nullopt});
  const auto instance = instantiate(p, {4});
  EXPECT_EQ(instance->release_at_start, std::vector<int>{2});
  EXPECT_EQ(instance->acquire_at_end, std::vector<int>{3});
}

TEST(Instance, ReturnedInputsAreNotReleased) {
  Plan p = chain(1);
  p.outputs.push_back({0, std::nullopt});
  EXPECT_TRUE(instantiate(p, {4})->release.empty());
}

TEST(Instance, ATemporaryMayNotBeReturned) {
  Plan p = chain(2);
  p.outputs[0].tensor = 1;
  EXPECT_THROW(instantiate(p, {4}), InternalError);
}

TEST(Instance, TensorsLieWithinTheirBuffersWhateverTheSizes) {
  const Sym s0 = Sym::symbol("s0");
  Plan p = chain(2);
  p.tensors[1].strides = {Sym(2)};  // 8 * s0 - 4 bytes of 4 * s0
  EXPECT_THROW(instantiate(p, {2}), InternalError);
  for (const int64_t n : {0, 1}) EXPECT_NO_THROW(instantiate(p, {n}));
  p.tensors[1].strides = {Sym(-1)};
  EXPECT_THROW(instantiate(p, {2}), InternalError);
  p.tensors[1].offset = s0 - Sym(1);
  EXPECT_NO_THROW(instantiate(p, {2}));
}

TEST(Instance, CacheKeepsTheLatestSizes) {
  const Plan p = chain(2);
  InstanceCache<const PlanInstance> cache(2);
  int made = 0;
  const auto get = [&](int64_t n) {
    return cache.get({n}, [&](const std::vector<int64_t>& v) {
      ++made;
      return std::shared_ptr<const PlanInstance>(instantiate(p, v));
    });
  };
  EXPECT_EQ(get(3)->buffer_bytes[0], 12);
  EXPECT_EQ(get(5)->buffer_bytes[0], 20);
  get(3);
  EXPECT_EQ(made, 2);
  get(7);  // drops 5
  get(3);
  EXPECT_EQ(made, 3);
  get(5);
  EXPECT_EQ(made, 4);
  EXPECT_EQ(cache.size(), 2u);
}

TEST(Plan, PrintsWithoutAddresses) {
  Plan p = chain(1);
  p.steps.push_back(
      CallStep{"aten.mm.default",
               {CallArg{CallTensor{0}}, CallArg{std::vector<CallArg>{{Sym(2)}, {CallNone{}}}},
                CallArg{CallEnum{"dtype", "f32"}}, CallArg{0.5}},
               {1, -1},
               true,
               "model.py:3"});
  EXPECT_EQ(
      print(p),
      "plan @chain {\n"
      "  input 0 x: f32[s0]{1}\n"
      "  symbol s0 = input 0 dim 0\n"
      "  buffer b0 b0: input 0, s0*4 bytes\n"
      "  buffer b1 b1: output, s0*4 bytes\n"
      "  tensor t0 = b0 as f32[s0]{1}\n"
      "  tensor t1 = b1 as f32[s0]{1}\n"
      "  launch add_one(t0, t1) over s0\n"
      "  call aten.mm.default(t0, [2, none], dtype.f32, 0.5) -> t1, none in place  # model.py:3\n"
      "  return t1, s0 + 1\n"
      "}\n");
}

/// Runs its kernels at once, or when it is told to.
class TestDevice : public Device, public std::enable_shared_from_this<TestDevice> {
 public:
  explicit TestDevice(bool synchronous) : synchronous_(synchronous) {}
  bool synchronous() const override { return synchronous_; }
  void* enter() override {
    ++entered;
    return this;
  }
  void leave(void* before) override {
    EXPECT_EQ(before, this);
    --entered;
  }
  std::shared_ptr<int32_t> new_status() override {
    EXPECT_EQ(entered, 1);
    return std::make_shared<int32_t>(0);
  }
  void launch(std::function<void()> work) {
    EXPECT_EQ(entered, 1);
    pending.push_back(std::move(work));
    if (synchronous_) finish();
  }
  void finish() {
    for (const auto& work : pending) work();
    pending.clear();
  }

  int entered = 0;
  std::vector<std::function<void()>> pending;

 private:
  const bool synchronous_;
};

/// Adds 1 to `sizes[0]` floats; reports an index error if one of them is negative.
struct AddOneOnDevice : DeviceKernel {
  explicit AddOneOnDevice(TestDevice& device) : device(device) {}
  void launch(const LaunchTable& t, int32_t* status, void* stream) const override {
    grids.push_back(t.starts[t.rows]);
    streams.push_back(stream);
    const auto* x = static_cast<const float*>(t.pointers[0]);
    auto* y = static_cast<float*>(t.pointers[1]);
    const int64_t n = t.sizes[0];
    device.launch([=] {
      for (int64_t i = 0; i < n; ++i) {
        if (x[i] < 0) *status = 1;
        y[i] = x[i] + 1;
      }
    });
  }
  TestDevice& device;
  mutable std::vector<int64_t> grids;
  mutable std::vector<void*> streams;
};

class StreamHost : public TestHost {
 public:
  void* stream() override { return this; }
};

Plan device_chain(int n, const std::shared_ptr<TestDevice>& device,
                  const std::shared_ptr<AddOneOnDevice>& kernel) {
  Plan p = chain(n);
  p.device = device;
  p.kernels = {{"add_one", {nullptr, kernel.get(), kernel}}};
  for (PlanStep& s : p.steps) std::get<LaunchStep>(s).rows[0].sizes = {Sym::symbol("s0")};
  return p;
}

TEST(Executor, LaunchesKernelsOnTheDevicesStream) {
  const auto device = std::make_shared<TestDevice>(true);
  const auto kernel = std::make_shared<AddOneOnDevice>(*device);
  const Plan p = device_chain(3, device, kernel);
  const auto instance = instantiate(p, {40});
  std::vector<float> x(40, 1);
  ArenaPool arenas;
  Frame frame(*instance);
  frame.buffers[0] = x.data();
  StreamHost host;
  run(*instance, frame, arenas, host);
  EXPECT_EQ(static_cast<const float*>(frame.buffers[3])[39], 4);
  EXPECT_EQ(kernel->grids, (std::vector<int64_t>{40, 40, 40}));
  EXPECT_EQ(kernel->streams, (std::vector<void*>(3, &host)));
  EXPECT_EQ(host.parallel_loops, 0);
  EXPECT_EQ(device->entered, 0);
}

TEST(Executor, ErrorsOnASynchronousDeviceAreRaisedByTheCall) {
  const auto device = std::make_shared<TestDevice>(true);
  const auto kernel = std::make_shared<AddOneOnDevice>(*device);
  const Plan p = device_chain(2, device, kernel);
  const auto instance = instantiate(p, {4});
  std::vector<float> x = {1, -5, 1, 1};
  ArenaPool arenas;
  Frame frame(*instance);
  frame.buffers[0] = x.data();
  TestHost host;
  EXPECT_THROW(run(*instance, frame, arenas, host), IndexOutOfRange);
  EXPECT_EQ(device->entered, 0);
  x[1] = 0;
  run(*instance, frame, arenas, host);  // the error is not reported twice
}

TEST(Executor, ErrorsOnOtherDevicesAreRaisedByTheNextCall) {
  const auto device = std::make_shared<TestDevice>(false);
  const auto kernel = std::make_shared<AddOneOnDevice>(*device);
  const Plan p = device_chain(1, device, kernel);
  const auto instance = instantiate(p, {4});
  std::vector<float> x = {1, -1, 1, 1};
  ArenaPool arenas;
  Frame frame(*instance);
  frame.buffers[0] = x.data();
  TestHost host;
  run(*instance, frame, arenas, host);
  device->finish();
  EXPECT_THROW(run(*instance, frame, arenas, host), IndexOutOfRange);
  EXPECT_TRUE(device->pending.empty());  // it launched nothing
  x[1] = 1;
  run(*instance, frame, arenas, host);
  device->finish();
  run(*instance, frame, arenas, host);
}

}  // namespace
}  // namespace ourjit
