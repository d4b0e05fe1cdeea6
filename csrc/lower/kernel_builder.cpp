#include "lower/kernel_builder.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "loop/visit.h"

namespace ourjit {

using loop::kNone;
using loop::ValueId;

KernelBuilder::KernelBuilder(std::string name) {
  kernel_.name = std::move(name);
  scopes_.push_back({{}, serials_++, {}});
}

void KernelBuilder::open(loop::LoopKind kind, const std::string& var, Sym begin, Sym end) {
  Scope s;
  s.loop.kind = kind;
  s.loop.var = var;
  s.loop.begin = std::move(begin);
  s.loop.end = std::move(end);
  s.serial = serials_++;
  scopes_.push_back(std::move(s));
  symbol_depth_[var] = depth();
}

void KernelBuilder::close() {
  OURJIT_CHECK(scopes_.size() > 1) << "no loop is open";
  Scope s = std::move(scopes_.back());
  scopes_.pop_back();
  symbol_depth_.erase(s.loop.var);
  scopes_.back().loop.body.push_back({std::move(s.loop)});
}

int KernelBuilder::add_buffer(DType dtype, loop::Access access, Sym size) {
  const std::string name = "b" + std::to_string(kernel_.buffers.size());
  kernel_.buffers.push_back({name, dtype, access, std::move(size)});
  return static_cast<int>(kernel_.buffers.size()) - 1;
}

void KernelBuilder::touch(int buffer, loop::Access access) {
  loop::Access& have = kernel_.buffers[static_cast<size_t>(buffer)].access;
  if (have != access) have = loop::Access::InOut;
}

std::string KernelBuilder::add_local(DType dtype, int64_t size) {
  const std::string name = "l" + std::to_string(kernel_.locals.size());
  kernel_.locals.push_back({name, dtype, size});
  return name;
}

ValueId KernelBuilder::new_value(DType dtype, int depth) {
  kernel_.types.push_back(dtype);
  depths_.push_back(depth);
  return static_cast<ValueId>(kernel_.types.size()) - 1;
}

int KernelBuilder::sym_depth(const Sym& s) const {
  int d = 0;
  for (const std::string& name : s.symbols()) {
    const auto it = symbol_depth_.find(name);
    if (it != symbol_depth_.end()) d = std::max(d, it->second);
  }
  return d;
}

template <class Make>
ValueId KernelBuilder::once(Key key, int depth, DType dtype, const Make& make) {
  auto& made = scopes_[static_cast<size_t>(depth)].made;
  const auto it = made.find(key);
  if (it != made.end()) return it->second;
  const ValueId v = new_value(dtype, depth);
  block(depth).push_back({make(v), line_});
  made.emplace(std::move(key), v);
  return v;
}

ValueId KernelBuilder::constant(DType dtype, double value) {
  if (!is_float(dtype)) return constant_int(dtype, static_cast<int64_t>(value));
  const auto bits = std::bit_cast<uint64_t>(value);
  return once({0, 0, dtype, {}, {}, {}, bits}, 0, dtype,
              [&](ValueId v) { return loop::Const{v, dtype, bits}; });
}

ValueId KernelBuilder::constant_int(DType dtype, int64_t value) {
  if (is_float(dtype)) return constant(dtype, static_cast<double>(value));
  const uint64_t bits = Scalar::integer(dtype, value).bits();
  return once({0, 0, dtype, {}, {}, {}, bits}, 0, dtype,
              [&](ValueId v) { return loop::Const{v, dtype, bits}; });
}

ValueId KernelBuilder::index(const Sym& expr) {
  const Sym e = bounds_.simplify(expr);
  if (e.is_const()) return constant_int(DType::i64, e.value());
  return once({1, 0, DType::i64, {}, {}, e, 0}, sym_depth(e), DType::i64,
              [&](ValueId v) { return loop::Index{v, e}; });
}

ValueId KernelBuilder::compute(ScalarOp op, DType result, std::vector<ValueId> args) {
  int d = 0;
  for (const ValueId a : args) d = std::max(d, value_depth(a));
  return once({2, static_cast<int>(op), result, args, {}, {}, 0}, d, result,
              [&](ValueId v) { return loop::Compute{v, op, result, args}; });
}

ValueId KernelBuilder::cast(ValueId v, DType to) {
  return dtype(v) == to ? v : compute(ScalarOp::cast, to, {v});
}

ValueId KernelBuilder::load(const std::string& memory, DType dtype, const Sym& at, ValueId mask,
                            bool mutable_memory) {
  const Sym e = bounds_.simplify(at);
  if (mutable_memory) {
    const ValueId v = new_value(dtype, depth());
    block(depth()).push_back({loop::Load{v, memory, e, mask}, line_});
    return v;
  }
  const int d = std::max(sym_depth(e), mask == kNone ? 0 : value_depth(mask));
  return once({3, 0, dtype, {mask}, memory, e, 0}, d, dtype,
              [&](ValueId v) { return loop::Load{v, memory, e, mask}; });
}

void KernelBuilder::store(const std::string& memory, const Sym& at, ValueId value, ValueId mask,
                          bool accumulate, bool atomic) {
  block(depth()).push_back(
      {loop::Store{memory, bounds_.simplify(at), value, mask, accumulate, atomic}, line_});
}

Sym KernelBuilder::bind(ValueId value, const Sym& extent, bool wrap, ValueId mask) {
  int d = std::max(value_depth(value), sym_depth(extent));
  if (mask != kNone) d = std::max(d, value_depth(mask));
  const std::string key = std::to_string(value) + "," + extent.str() + "," + std::to_string(wrap) +
                          "," + std::to_string(mask);
  const auto it = bound_.find(key);
  if (it != bound_.end()) return Sym::symbol(it->second);
  const std::string symbol = "i" + std::to_string(binds_++);
  block(d).push_back({loop::Bind{symbol, value, extent, wrap, mask}, line_});
  symbol_depth_[symbol] = d;
  bounds_.set_extent(symbol, extent);
  bound_.emplace(key, symbol);
  return Sym::symbol(symbol);
}

ValueId KernelBuilder::reduce(ReduceOp op, ValueId value, int from) {
  for (int d = depth(); d >= from; --d) {
    const bool index_result = op == ReduceOp::argmax || op == ReduceOp::argmin;
    OURJIT_CHECK(!index_result || depth() == from) << "argmax runs over one loop";
    const DType in = dtype(value);
    const ValueId result = new_value(index_result ? DType::i64 : in, d - 1);
    scopes_[static_cast<size_t>(d)].loop.reductions.push_back({op, in, value, result, line_});
    value = result;
  }
  return value;
}

namespace {

void collect_symbols(const std::vector<loop::Node>& body, std::set<std::string>& used,
                     std::set<std::string>& defined) {
  loop::for_each_node(body, [&](const loop::Node& n) {
    loop::for_each_sym(n, [&](const Sym& s) {
      for (const std::string& name : s.symbols()) used.insert(name);
    });
    if (const auto* b = std::get_if<loop::Bind>(&n.v)) defined.insert(b->symbol);
    if (const auto* f = std::get_if<loop::For>(&n.v)) defined.insert(f->var);
  });
}

}  // namespace

loop::Kernel KernelBuilder::take() {
  OURJIT_CHECK(scopes_.size() == 1) << "a loop is still open";
  kernel_.body = std::move(scopes_[0].loop.body);
  std::set<std::string> used, defined;
  collect_symbols(kernel_.body, used, defined);
  for (const loop::Buffer& b : kernel_.buffers)
    for (const std::string& name : b.size.symbols()) used.insert(name);
  for (const std::string& name : used)
    if (!defined.count(name)) kernel_.sizes.push_back(name);
  return std::move(kernel_);
}

}  // namespace ourjit
