#include "loop/interpret.h"

#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "base/scalar_eval.h"

namespace ourjit::loop {
namespace {

/// Where the elements of a buffer or local are.
struct Memory {
  DType dtype;
  std::byte* data;
  int64_t size;
};

class Interpreter {
 public:
  Interpreter(const Kernel& k, const std::vector<void*>& buffers, const std::vector<int64_t>& sizes)
      : k_(k), values_(k.types.size()) {
    OURJIT_CHECK(buffers.size() == k.buffers.size() && sizes.size() == k.sizes.size())
        << "@" << k.name << " takes " << k.buffers.size() << " buffers and " << k.sizes.size()
        << " sizes";
    for (size_t i = 0; i < sizes.size(); ++i) symbols_.emplace_back(k.sizes[i], sizes[i]);
    for (size_t i = 0; i < buffers.size(); ++i)
      memories_[k.buffers[i].name] = {k.buffers[i].dtype, static_cast<std::byte*>(buffers[i]),
                                      eval(k.buffers[i].size)};
    local_data_.resize(k.locals.size());
    for (size_t i = 0; i < k.locals.size(); ++i) {
      const Local& l = k.locals[i];
      local_data_[i].resize(static_cast<size_t>(l.size * dtype_bytes(l.dtype)));
      memories_[l.name] = {l.dtype, local_data_[i].data(), l.size};
    }
    forget_locals();
  }

  Status run() {
    block(k_.body);
    return status_;
  }

 private:
  /// Fills scratch memory with NaNs, so that reading what was never written shows.
  void forget_locals() {
    for (auto& data : local_data_) std::memset(data.data(), 0xFF, data.size());
  }

  int64_t eval(const Sym& s) const {
    if (s.is_const()) return s.value();
    return s.eval([&](std::string_view name) -> std::optional<int64_t> {
      for (auto it = symbols_.rbegin(); it != symbols_.rend(); ++it)
        if (it->first == name) return it->second;
      return std::nullopt;
    });
  }

  Scalar& value(ValueId id) { return values_.at(static_cast<size_t>(id)); }
  bool enabled(ValueId mask) { return mask == kNone || value(mask).truth(); }

  void record(Status s) {
    if (status_ == Status::Ok) status_ = s;
  }

  const Memory& memory(const std::string& name) const {
    const auto it = memories_.find(name);
    OURJIT_CHECK(it != memories_.end()) << "@" << k_.name << " has no memory named " << name;
    return it->second;
  }

  std::byte* address(const Memory& m, const std::string& name, const Sym& index) const {
    const int64_t i = eval(index);
    OURJIT_CHECK(i >= 0 && i < m.size) << "@" << k_.name << ": " << name << "[" << index.str()
                                       << "] is element " << i << " of " << m.size;
    return m.data + i * dtype_bytes(m.dtype);
  }

  void block(const std::vector<Node>& body) {
    for (const Node& n : body)
      std::visit(
          Overloaded{
              [&](const Const& c) { value(c.result) = Scalar::from_bits(c.dtype, c.bits); },
              [&](const Index& i) {
                value(i.result) = Scalar::integer(DType::i64, eval(i.expr));
              },
              [&](const Compute& c) { compute(c); },
              [&](const Load& l) {
                const Memory& m = memory(l.buffer);
                value(l.result) = enabled(l.mask)
                                      ? load_scalar(m.dtype, address(m, l.buffer, l.index))
                                      : Scalar::integer(m.dtype, 0);
              },
              [&](const Store& s) { store(s); },
              [&](const Bind& b) { bind(b); },
              [&](const For& f) { loop(f); },
          },
          n.v);
  }

  void compute(const Compute& c) {
    args_.clear();
    for (const ValueId a : c.args) args_.push_back(value(a));
    const Evaluated e = eval_scalar(c.op, c.dtype, args_);
    if (e.zero_division) record(Status::ZeroDivisionError);
    value(c.result) = e.value;
  }

  void store(const Store& s) {
    if (!enabled(s.mask)) return;
    const Memory& m = memory(s.buffer);
    std::byte* p = address(m, s.buffer, s.index);
    const Scalar& x = value(s.value);
    OURJIT_CHECK(x.dtype == m.dtype) << "a " << dtype_name(x.dtype) << " is stored to " << s.buffer;
    store_scalar(p, s.accumulate ? reduce_combine(ReduceOp::sum, load_scalar(m.dtype, p), x) : x);
  }

  void bind(const Bind& b) {
    int64_t i = 0;
    if (enabled(b.mask)) {
      const int64_t extent = eval(b.extent);
      i = value(b.value).i;
      if (b.wrap && i < 0) i += extent;
      if (i < 0 || i >= extent) {
        record(Status::IndexError);
        i = 0;
      }
    }
    symbols_.emplace_back(b.symbol, i);
  }

  /// One result of a loop on its way.
  struct Accumulator {
    Scalar best;
    int64_t index = 0;
    bool any = false;
  };

  void combine(const Reduction& r, Accumulator& a, int64_t iteration) {
    const Scalar& x = value(r.value);
    OURJIT_CHECK(x.dtype == r.dtype) << "a reduction of " << dtype_name(r.dtype) << " gets "
                                     << dtype_name(x.dtype);
    if (r.op == ReduceOp::argmax || r.op == ReduceOp::argmin) {
      if (!a.any || reduce_wins(r.op, x, a.best)) {
        a.best = x;
        a.index = iteration;
      }
      a.any = true;
    } else {
      a.best = reduce_combine(r.op, a.best, x);
    }
  }

  void loop(const For& f) {
    const int64_t begin = eval(f.begin), end = eval(f.end);
    std::vector<Accumulator> accumulators;
    for (const Reduction& r : f.reductions)
      accumulators.push_back({reduce_identity(r.op, r.dtype)});
    const size_t scope = symbols_.size();
    for (int64_t i = begin; i < end; ++i) {
      if (f.kind == LoopKind::Parallel) forget_locals();
      symbols_.emplace_back(f.var, i);
      block(f.body);
      for (size_t r = 0; r < accumulators.size(); ++r)
        combine(f.reductions[r], accumulators[r], i - begin);
      symbols_.resize(scope);
    }
    for (size_t r = 0; r < accumulators.size(); ++r) {
      const bool arg =
          f.reductions[r].op == ReduceOp::argmax || f.reductions[r].op == ReduceOp::argmin;
      value(f.reductions[r].result) =
          arg ? Scalar::integer(DType::i64, accumulators[r].index) : accumulators[r].best;
    }
  }

  const Kernel& k_;
  std::vector<Scalar> values_;
  std::vector<std::pair<std::string, int64_t>> symbols_;
  std::unordered_map<std::string, Memory> memories_;
  std::vector<std::vector<std::byte>> local_data_;
  std::vector<Scalar> args_;
  Status status_ = Status::Ok;
};

}  // namespace

Status interpret(const Kernel& k, const std::vector<void*>& buffers,
                 const std::vector<int64_t>& sizes) {
  return Interpreter(k, buffers, sizes).run();
}

}  // namespace ourjit::loop
