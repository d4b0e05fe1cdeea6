#include "loop/interpret.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "loop/races.h"

namespace ourjit::loop {
namespace {

/// Where the elements of a buffer or local are.
struct Memory {
  DType dtype;
  std::byte* data;
  int64_t size;
  bool of_block = false;   // a local
  bool of_thread = false;  // there is a copy for each thread of the block
};

/// What differs between the lanes of a vector loop; outside of one there is a single lane.
struct Lane {
  std::vector<Scalar> values;
  std::vector<std::pair<std::string, int64_t>> symbols;

  Scalar& value(ValueId id) { return values.at(static_cast<size_t>(id)); }
  bool enabled(ValueId mask) { return mask == kNone || value(mask).truth(); }

  int64_t eval(const Sym& s) const {
    if (s.is_const()) return s.value();
    return s.eval([&](std::string_view name) -> std::optional<int64_t> {
      for (auto it = symbols.rbegin(); it != symbols.rend(); ++it)
        if (it->first == name) return it->second;
      return std::nullopt;
    });
  }
};

/// One result of a loop on its way.
struct Accumulator {
  Scalar best;
  Scalar sum;  // of exp_sum
  int64_t index = 0;
  bool any = false;
};

class Interpreter {
 public:
  Interpreter(const Kernel& k, const std::vector<void*>& buffers, const std::vector<int64_t>& sizes)
      : k_(k) {
    OURJIT_CHECK(buffers.size() == k.buffers.size() && sizes.size() == k.sizes.size())
        << "@" << k.name << " takes " << k.buffers.size() << " buffers and " << k.sizes.size()
        << " sizes";
    lanes_.resize(1);
    lanes_[0].values.resize(k.types.size());
    for (size_t i = 0; i < sizes.size(); ++i) lanes_[0].symbols.emplace_back(k.sizes[i], sizes[i]);
    for (size_t i = 0; i < buffers.size(); ++i)
      memories_[k.buffers[i].name] = {k.buffers[i].dtype, static_cast<std::byte*>(buffers[i]),
                                      lanes_[0].eval(k.buffers[i].size)};
    local_data_.resize(k.locals.size());
    for (size_t i = 0; i < k.locals.size(); ++i) {
      const Local& l = k.locals[i];
      const bool own = l.space == Space::Thread;
      const int64_t copies = own ? int64_t{k.threads_x} * k.threads_y : 1;
      local_data_[i].resize(static_cast<size_t>(copies * l.size * dtype_bytes(l.dtype)));
      memories_[l.name] = {l.dtype, local_data_[i].data(), l.size, true, own};
    }
    forget_locals();
  }

  Status run() {
    block(k_.body);
    epilogue();
    return status_;
  }

 private:
  /// One thread runs it after everything else.
  void epilogue() {
    races_.end_launch();
    in_x_ = in_y_ = true;
    block(k_.epilogue);
  }

  /// Fills scratch memory with NaNs, so that reading what was never written shows.
  void forget_locals() {
    for (auto& data : local_data_) std::memset(data.data(), 0xFF, data.size());
  }

  void record(Status s) {
    if (status_ == Status::Ok) status_ = s;
  }

  const Memory& memory(const std::string& name) const {
    const auto it = memories_.find(name);
    OURJIT_CHECK(it != memories_.end()) << "@" << k_.name << " has no memory named " << name;
    return it->second;
  }

  enum class Meets : uint8_t { Read, Write, Add };

  std::byte* address(const Memory& m, const std::string& name, const Sym& index, const Lane& lane,
                     Meets how) {
    const int64_t i = lane.eval(index);
    OURJIT_CHECK(i >= 0 && i < m.size) << "@" << k_.name << ": " << name << "[" << index.str()
                                       << "] is element " << i << " of " << m.size;
    if (has_threads(k_) && !m.of_thread) {
      const Threads who{in_x_ || k_.threads_x == 1 ? thread_x_ : -1,
                        in_y_ || k_.threads_y == 1 ? thread_y_ : -1};
      switch (how) {
        case Meets::Read:
          races_.read(name, i, who, m.of_block);
          break;
        case Meets::Write:
          races_.write(name, i, who, m.of_block);
          break;
        case Meets::Add:
          races_.add(name, i, who, m.of_block);
          break;
      }
    }
    const int64_t copy = m.of_thread ? thread_y_ * k_.threads_x + thread_x_ : 0;
    return m.data + (copy * m.size + i) * dtype_bytes(m.dtype);
  }

  /// Runs each statement in all lanes before the next one.
  void block(const std::vector<Node>& body) {
    for (const Node& n : body) {
      if (const For* f = std::get_if<For>(&n.v)) {
        loop(*f);
        continue;
      }
      for (size_t i = 0; i < active_; ++i) statement(n, lanes_[i]);
    }
  }

  void statement(const Node& n, Lane& lane) {
    std::visit(
        Overloaded{
            [&](const Const& c) { lane.value(c.result) = Scalar::from_bits(c.dtype, c.bits); },
            [&](const Index& i) {
              lane.value(i.result) = Scalar::integer(DType::i64, lane.eval(i.expr));
            },
            [&](const Compute& c) { compute(c, lane); },
            [&](const Load& l) {
              const Memory& m = memory(l.buffer);
              lane.value(l.result) =
                  lane.enabled(l.mask)
                      ? load_scalar(m.dtype, address(m, l.buffer, l.index, lane, Meets::Read))
                      : Scalar::integer(m.dtype, 0);
            },
            [&](const Store& s) { store(s, lane); },
            [&](const Bind& b) { bind(b, lane); },
            [&](const Barrier&) { races_.barrier(in_y_ ? thread_y_ : -1); },
            [](const For&) {},
        },
        n.v);
  }

  void compute(const Compute& c, Lane& lane) {
    args_.clear();
    for (const ValueId a : c.args) args_.push_back(lane.value(a));
    const Evaluated e = eval_scalar(c.op, c.dtype, args_);
    if (e.zero_division) record(Status::ZeroDivisionError);
    lane.value(c.result) = e.value;
  }

  void store(const Store& s, Lane& lane) {
    if (!lane.enabled(s.mask)) return;
    const Memory& m = memory(s.buffer);
    std::byte* p = address(m, s.buffer, s.index, lane, s.atomic ? Meets::Add : Meets::Write);
    const Scalar& x = lane.value(s.value);
    OURJIT_CHECK(x.dtype == m.dtype) << "a " << dtype_name(x.dtype) << " is stored to " << s.buffer;
    store_scalar(p, s.accumulate ? reduce_combine(ReduceOp::sum, load_scalar(m.dtype, p), x) : x);
  }

  void bind(const Bind& b, Lane& lane) {
    int64_t i = 0;
    if (lane.enabled(b.mask)) {
      const int64_t extent = lane.eval(b.extent);
      i = lane.value(b.value).i;
      if (b.wrap && i < 0) i += extent;
      if (i < 0 || i >= extent) {
        record(Status::IndexError);
        i = 0;
      }
    }
    lane.symbols.emplace_back(b.symbol, i);
  }

  static void combine(const Reduction& r, Accumulator& a, const Scalar& x, int64_t iteration) {
    OURJIT_CHECK(x.dtype == r.dtype)
        << "a reduction of " << dtype_name(r.dtype) << " gets " << dtype_name(x.dtype);
    if (r.op == ReduceOp::argmax || r.op == ReduceOp::argmin) {
      if (!a.any || reduce_wins(r.op, x, a.best)) {
        a.best = x;
        a.index = iteration;
      }
      a.any = true;
    } else if (r.op == ReduceOp::exp_sum) {
      const ScaledSum both = exp_sum_combine({a.best, a.sum}, {x, Scalar::number(r.dtype, 1)});
      a.best = both.max;
      a.sum = both.sum;
    } else {
      a.best = reduce_combine(r.op, a.best, x);
    }
  }

  static Scalar result(const Reduction& r, const Accumulator& a) {
    const bool position = r.op == ReduceOp::argmax || r.op == ReduceOp::argmin;
    if (r.op == ReduceOp::exp_sum) return a.sum;
    return position ? Scalar::integer(DType::i64, a.index) : a.best;
  }

  static std::vector<Accumulator> identities(const For& f) {
    std::vector<Accumulator> out;
    for (const Reduction& r : f.reductions)
      out.push_back({reduce_identity(r.op, r.dtype), Scalar::integer(r.dtype, 0)});
    return out;
  }

  void loop(const For& f) {
    const int64_t begin = lanes_[0].eval(f.begin), end = lanes_[0].eval(f.end);
    if (f.kind == LoopKind::Vector)
      vector_loop(f, begin, end);
    else
      scalar_loop(f, begin, end);
  }

  /// All lanes of a vector loop around it take each iteration together.
  void scalar_loop(const For& f, int64_t begin, int64_t end) {
    std::vector<std::vector<Accumulator>> accumulators(active_, identities(f));
    const size_t scope = lanes_[0].symbols.size();
    for (int64_t i = begin; i < end; ++i) {
      if (f.kind == LoopKind::Parallel) {
        forget_locals();
        races_.next_block();
      }
      for (size_t l = 0; l < active_; ++l) lanes_[l].symbols.emplace_back(f.var, i);
      if (is_thread_loop(f)) enter_thread(f, i - begin);
      block(f.body);
      for (size_t l = 0; l < active_; ++l) {
        for (size_t r = 0; r < f.reductions.size(); ++r)
          combine(f.reductions[r], accumulators[l][r], lanes_[l].value(f.reductions[r].value),
                  i - begin);
        lanes_[l].symbols.resize(scope);
      }
    }
    if (is_thread_loop(f)) leave_threads(f);
    for (size_t l = 0; l < active_; ++l)
      for (size_t r = 0; r < f.reductions.size(); ++r)
        lanes_[l].value(f.reductions[r].result) = result(f.reductions[r], accumulators[l][r]);
  }

  void leave_threads(const For& f) {
    thread_of(f) = 0;
    (f.kind == LoopKind::ThreadX ? in_x_ : in_y_) = false;
  }

  int64_t& thread_of(const For& f) { return f.kind == LoopKind::ThreadX ? thread_x_ : thread_y_; }

  /// Becomes the thread that takes iteration `i` of a thread loop, counted from its begin.
  void enter_thread(const For& f, int64_t i) {
    const int64_t threads = f.kind == LoopKind::ThreadX ? k_.threads_x : k_.threads_y;
    thread_of(f) = i / f.width % threads;
    (f.kind == LoopKind::ThreadX ? in_x_ : in_y_) = true;
    if (!f.slot.empty())
      lanes_[0].symbols.emplace_back(f.slot, i / (threads * f.width) * f.width + i % f.width);
  }

  void vector_loop(const For& f, int64_t begin, int64_t end) {
    std::vector<Accumulator> accumulators = identities(f);
    const Lane outside = lanes_[0];
    const auto width = static_cast<size_t>(f.width);
    for (int64_t i = begin; i < end; i += f.width) {
      active_ = std::min(width, static_cast<size_t>(end - i));
      lanes_.assign(active_, outside);
      for (size_t l = 0; l < active_; ++l)
        lanes_[l].symbols.emplace_back(f.var, i + static_cast<int64_t>(l));
      block(f.body);
      for (size_t l = 0; l < active_; ++l)
        for (size_t r = 0; r < f.reductions.size(); ++r)
          combine(f.reductions[r], accumulators[r], lanes_[l].value(f.reductions[r].value),
                  i + static_cast<int64_t>(l) - begin);
    }
    active_ = 1;
    lanes_.assign(1, outside);
    for (size_t r = 0; r < f.reductions.size(); ++r)
      lanes_[0].value(f.reductions[r].result) = result(f.reductions[r], accumulators[r]);
  }

  const Kernel& k_;
  std::vector<Lane> lanes_;
  size_t active_ = 1;
  std::unordered_map<std::string, Memory> memories_;
  std::vector<std::vector<std::byte>> local_data_;
  std::vector<Scalar> args_;
  Status status_ = Status::Ok;
  RaceDetector races_{k_.name};
  int64_t thread_x_ = 0, thread_y_ = 0;  // the thread at hand
  bool in_x_ = false, in_y_ = false;     // inside a loop of that axis
};

}  // namespace

Status interpret(const Kernel& k, const std::vector<void*>& buffers,
                 const std::vector<int64_t>& sizes) {
  return Interpreter(k, buffers, sizes).run();
}

}  // namespace ourjit::loop
