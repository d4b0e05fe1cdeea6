#include "machine.h"

#include <algorithm>
#include <array>
#include <boost/context/fiber.hpp>
#include <cstring>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <unordered_map>
#include <utility>

namespace ourjit::emulator {
namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kStackBytes = 256 * 1024;

struct Fault {
  std::string text;
};

/// What a thread waits for.
enum class Wait : uint8_t { None, Barrier, WarpBarrier, Shuffle, Done };

std::string wait_name(Wait w) {
  switch (w) {
    case Wait::None:
      return "runs";
    case Wait::Barrier:
      return "waits at a barrier of the block";
    case Wait::WarpBarrier:
      return "waits at a barrier of its warp";
    case Wait::Shuffle:
      return "waits for a shuffle";
    case Wait::Done:
      return "has ended";
  }
  return "";
}

/// A named piece of memory.
struct Range {
  std::string name;
  const char* begin;
  uint64_t bytes;

  bool holds(const void* p, int n) const {
    const char* c = static_cast<const char*>(p);
    return c >= begin && c + n <= begin + bytes;
  }
};

/// The sectors that were used last.
class Cache {
 public:
  static constexpr uint64_t kSector = 32;

  /// Uses the sectors of an access; bytes of those that were not there.
  int64_t use(const void* p, int bytes, int64_t capacity) {
    int64_t missing = 0;
    const auto begin = reinterpret_cast<uintptr_t>(p);
    for (uint64_t s = begin / kSector; s * kSector < begin + static_cast<unsigned>(bytes); ++s) {
      if (const auto it = where_.find(s); it != where_.end()) {
        order_.splice(order_.begin(), order_, it->second);
        continue;
      }
      missing += kSector;
      order_.push_front(s);
      where_[s] = order_.begin();
      if (static_cast<int64_t>(order_.size() * kSector) > capacity) {
        where_.erase(order_.back());
        order_.pop_back();
      }
    }
    return missing;
  }
  void clear() {
    order_.clear();
    where_.clear();
  }

 private:
  std::list<uint64_t> order_;  // the latest first
  std::unordered_map<uint64_t, std::list<uint64_t>::iterator> where_;
};

/// Who met an element of shared memory since which barriers.
struct Shadow {
  int64_t writer = -1, reader = -1;
  int64_t write_epoch = -1, read_epoch = -1;  // of the block
  int64_t write_warp_epoch = -1, read_warp_epoch = -1;
  bool many_readers = false;
};

template <size_t... I>
void call_with(KernelCode code, const uint64_t* p, std::index_sequence<I...>) {
  using Function = void (*)(decltype(static_cast<void>(I), uint64_t{})...);
  reinterpret_cast<Function>(code)(p[I]...);
}

template <size_t N>
void call_n(KernelCode code, const uint64_t* p) {
  call_with(code, p, std::make_index_sequence<N>());
}

using Call = void (*)(KernelCode, const uint64_t*);
template <size_t... N>
constexpr std::array<Call, sizeof...(N)> calls(std::index_sequence<N...>) {
  return {call_n<N>...};
}
constexpr auto kCalls = calls(std::make_index_sequence<kMostParameters + 1>());

/// The numbers below n, in an order that `seed` chooses; ascending for 0.
std::vector<uint64_t> block_order(uint64_t n, uint64_t seed) {
  std::vector<uint64_t> order(n);
  std::iota(order.begin(), order.end(), uint64_t{0});
  if (seed != 0) std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
  return order;
}

class Machine {
 public:
  Machine();

  std::string run(oj_emulate_context** slot, KernelCode code,
                  const std::vector<uint64_t>& parameters, Dim grid, Dim block, Counters& counters,
                  Owns owns, uint64_t seed) {
    code_ = code;
    owns_ = owns;
    parameters_ = parameters;
    dim_ = block;
    counters_ = &counters;
    cache_.clear();
    context_.grid = {grid.x, grid.y, grid.z};
    *slot = &context_;
    const size_t n = static_cast<size_t>(block.x) * block.y * block.z;
    while (threads_.size() < n) add_thread();
    try {
      for (const uint64_t b : block_order(uint64_t{grid.x} * grid.y * grid.z, seed)) {
        context_.block = {static_cast<unsigned>(b % grid.x),
                          static_cast<unsigned>(b / grid.x % grid.y),
                          static_cast<unsigned>(b / grid.x / grid.y)};
        run_block(n);
      }
    } catch (const Fault& f) {
      stop(n);
      return f.text;
    }
    ++counters.launches;
    counters.blocks += int64_t{grid.x} * grid.y * grid.z;
    return "";
  }

  // Called by the kernel at hand.
  void buffer(const char* name, const void* p, uint64_t bytes) {
    for (const Range& r : buffers_)
      if (r.begin == p && r.name == name) return;
    if (owns_ && bytes > 0 && !owns_(p, bytes))
      fault("has buffer " + std::string(name) + ", which is no memory of the device");
    buffers_.push_back({name, static_cast<const char*>(p), bytes});
  }
  void shared(const char* name, const void* p, uint64_t bytes) {
    for (const Range& r : shared_)
      if (r.begin == p) return;
    shared_.push_back({name, static_cast<const char*>(p), bytes});
  }
  void access(const void* p, int bytes, bool writes) {
    bool found = false;
    for (const Range& r : buffers_) found |= r.holds(p, bytes);
    if (!found) fault(std::string(writes ? "writes" : "reads") + " outside of all buffers");
    if (reinterpret_cast<uintptr_t>(p) % static_cast<unsigned>(bytes) != 0)
      fault("an access of " + std::to_string(bytes) + " bytes is not aligned");
    (writes ? counters_->stored : counters_->loaded) += bytes;
    if (bytes == 16) counters_->in_units_of_16 += bytes;
    if (!writes && counters_->cache_bytes > 0)
      counters_->fetched += cache_.use(p, bytes, counters_->cache_bytes);
  }
  void shared_access(const void* p, int bytes, bool writes);
  void wait(Wait w);
  unsigned shuffle(unsigned value, int mask);

 private:
  struct Thread {
    boost::context::fiber fiber;
    Wait wait = Wait::Done;
    unsigned word = 0;
    int mask = 0;
  };

  void add_thread();
  void run_block(size_t n);
  void resume(size_t i);
  bool release(size_t n);
  bool release_warp(size_t first, size_t end);
  void stop(size_t n);
  [[noreturn]] void fault(const std::string& what) const;
  std::string place(size_t thread) const;

  oj_emulate_context context_{};
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Range> buffers_, shared_;
  Cache cache_;
  std::unordered_map<const void*, Shadow> shadows_;
  std::vector<int64_t> warp_epochs_;
  int64_t epoch_ = 0;
  size_t at_ = 0;  // the thread at hand
  KernelCode code_ = nullptr;
  Owns owns_ = nullptr;
  std::vector<uint64_t> parameters_;
  Dim dim_;
  Counters* counters_ = nullptr;
  bool stopping_ = false;
  std::string failure_;
};

/// Launches take place one at a time: the callbacks find the machine here.
Machine* the_machine = nullptr;

Machine::Machine() {
  the_machine = this;
  context_.buffer = [](const char* n, const void* p, unsigned long long b) {
    the_machine->buffer(n, p, b);
  };
  context_.shared = [](const char* n, const void* p, unsigned long long b) {
    the_machine->shared(n, p, b);
  };
  context_.access = [](const void* p, int b, bool w) { the_machine->access(p, b, w); };
  context_.shared_access = [](const void* p, int b, bool w) {
    the_machine->shared_access(p, b, w);
  };
  context_.barrier = [] { the_machine->wait(Wait::Barrier); };
  context_.warp_barrier = [] { the_machine->wait(Wait::WarpBarrier); };
  context_.shuffle_xor = [](unsigned v, int m) { return the_machine->shuffle(v, m); };
}

/// A coroutine that runs the kernel of the launch at hand each time it is resumed after its end.
void Machine::add_thread() {
  threads_.push_back(std::make_unique<Thread>());
  Thread& t = *threads_.back();
  t.fiber = boost::context::fiber(std::allocator_arg, boost::context::fixedsize_stack(kStackBytes),
                                  [this, &t](boost::context::fiber&& back) {
                                    for (;;) {
                                      // The way back to the scheduler is kept where wait() finds
                                      // it.
                                      t.fiber = std::move(back);
                                      try {
                                        kCalls[parameters_.size()](code_, parameters_.data());
                                      } catch (const Fault& f) {
                                        if (failure_.empty()) failure_ = f.text;
                                      }
                                      t.wait = Wait::Done;
                                      back = std::move(t.fiber).resume();
                                    }
                                    return std::move(back);
                                  });
}

void Machine::resume(size_t i) {
  at_ = i;
  Thread& t = *threads_[i];
  const auto x = static_cast<unsigned>(i);
  context_.thread = {x % dim_.x, x / dim_.x % dim_.y, x / dim_.x / dim_.y};
  t.wait = Wait::None;
  boost::context::fiber next = std::move(t.fiber);
  t.fiber = std::move(next).resume();
  if (!failure_.empty() && !stopping_) {
    Fault f{failure_};
    failure_.clear();
    throw f;
  }
}

void Machine::wait(Wait w) {
  Thread& t = *threads_[at_];
  t.wait = w;
  const size_t me = at_;
  boost::context::fiber back = std::move(t.fiber);
  back = std::move(back).resume();
  threads_[me]->fiber = std::move(back);
  if (stopping_) throw Fault{"stopped"};
}

unsigned Machine::shuffle(unsigned value, int mask) {
  Thread& t = *threads_[at_];
  t.word = value;
  t.mask = mask;
  wait(Wait::Shuffle);
  return t.word;
}

void Machine::run_block(size_t n) {
  buffers_.clear();  // each row of a table has its own
  shared_.clear();
  shadows_.clear();
  warp_epochs_.assign((n + kWarp - 1) / kWarp, 0);
  for (size_t i = 0; i < n; ++i) resume(i);
  for (;;) {
    bool done = true;
    for (size_t i = 0; i < n; ++i) done &= threads_[i]->wait == Wait::Done;
    if (done) return;
    if (!release(n)) {
      for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < n; ++j)
          if (threads_[i]->wait != Wait::Done && threads_[i]->wait != threads_[j]->wait)
            throw Fault{"threads take different ways: " + place(i) + " " +
                        wait_name(threads_[i]->wait) + ", " + place(j) + " " +
                        wait_name(threads_[j]->wait)};
      throw Fault{"no thread can go on"};
    }
    for (size_t i = 0; i < n; ++i)
      if (threads_[i]->wait == Wait::None) resume(i);
  }
}

/// Lets threads go on whose partners have all arrived. False if there are none.
bool Machine::release(size_t n) {
  bool all = true;
  for (size_t i = 0; i < n; ++i) all &= threads_[i]->wait == Wait::Barrier;
  if (all) {
    ++epoch_;
    ++counters_->barriers;
    for (size_t i = 0; i < n; ++i) threads_[i]->wait = Wait::None;
    return true;
  }
  bool any = false;
  for (size_t first = 0; first < n; first += kWarp)
    any |= release_warp(first, std::min<size_t>(n, first + kWarp));
  return any;
}

bool Machine::release_warp(size_t first, size_t end) {
  const Wait w = threads_[first]->wait;
  if (w != Wait::WarpBarrier && w != Wait::Shuffle) return false;
  for (size_t i = first; i < end; ++i)
    if (threads_[i]->wait != w || threads_[i]->mask != threads_[first]->mask) return false;
  if (w == Wait::WarpBarrier) {
    ++warp_epochs_[first / kWarp];
  } else {
    std::vector<unsigned> words;
    for (size_t i = first; i < end; ++i) words.push_back(threads_[i]->word);
    for (size_t i = first; i < end; ++i) {
      // A lane that does not exist gives nothing of use; CUDA leaves it undefined.
      const size_t from = (i - first) ^ static_cast<size_t>(threads_[i]->mask);
      threads_[i]->word = from < words.size() ? words[from] : 0xdeadbeef;
    }
  }
  for (size_t i = first; i < end; ++i) threads_[i]->wait = Wait::None;
  return true;
}

/// After a fault: ends all threads that are in the kernel.
void Machine::stop(size_t n) {
  stopping_ = true;
  for (size_t i = 0; i < n; ++i)
    if (threads_[i]->wait != Wait::Done) resume(i);
  stopping_ = false;
  failure_.clear();
}

void Machine::shared_access(const void* p, int bytes, bool writes) {
  bool found = false;
  for (const Range& r : shared_) found |= r.holds(p, bytes);
  if (!found) fault(std::string(writes ? "writes" : "reads") + " outside of all shared memory");
  Shadow& s = shadows_[p];
  const auto me = static_cast<int64_t>(at_);
  const size_t warp = at_ / kWarp;
  const auto ordered = [&](int64_t who, int64_t epoch, int64_t warp_epoch) {
    if (who < 0 || who == me || epoch != epoch_) return true;
    return static_cast<size_t>(who) / kWarp == warp && warp_epoch != warp_epochs_[warp];
  };
  if (!ordered(s.writer, s.write_epoch, s.write_warp_epoch))
    fault(std::string(writes ? "writes" : "reads") + " shared memory that " +
          place(static_cast<size_t>(s.writer)) + " wrote, without a barrier between");
  if (writes) {
    const bool others = s.many_readers && s.read_epoch == epoch_;
    if (others || !ordered(s.reader, s.read_epoch, s.read_warp_epoch))
      fault("writes shared memory that " + place(static_cast<size_t>(s.reader)) +
            " read, without a barrier between");
    s.writer = me;
    s.write_epoch = epoch_;
    s.write_warp_epoch = warp_epochs_[warp];
    s.many_readers = false;
  } else {
    s.many_readers = s.reader >= 0 && s.reader != me && s.read_epoch == epoch_ &&
                     s.read_warp_epoch == warp_epochs_[warp];
    s.reader = me;
    s.read_epoch = epoch_;
    s.read_warp_epoch = warp_epochs_[warp];
  }
}

std::string Machine::place(size_t thread) const {
  const auto i = static_cast<unsigned>(thread);
  return "thread (" + std::to_string(i % dim_.x) + ", " + std::to_string(i / dim_.x % dim_.y) + ")";
}

void Machine::fault(const std::string& what) const {
  throw Fault{"block " + std::to_string(context_.block.x) + ", " + place(at_) + " " + what};
}

}  // namespace

std::string launch(oj_emulate_context** context, KernelCode code,
                   const std::vector<uint64_t>& parameters, Dim grid, Dim block, Counters& counters,
                   Owns owns, uint64_t seed) {
  if (parameters.size() > kMostParameters) return "too many parameters";
  // Never destroyed: its coroutines may be inside of units that are gone by then.
  static Machine& machine = *new Machine;
  return machine.run(context, code, parameters, grid, block, counters, owns, seed);
}

}  // namespace ourjit::emulator
