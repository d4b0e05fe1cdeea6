#include "passes/expr.h"

#include <algorithm>

#include "base/error.h"

namespace ourjit {

Expr number(Builder& b, double value, DType dtype) {
  if (is_float(dtype)) return {&b, b.constant(value, dtype)};
  if (is_bool(dtype)) return {&b, b.constant(int64_t{value != 0}, dtype)};
  return {&b, b.constant(static_cast<int64_t>(value), dtype)};
}

Expr number(const Expr& like, double value) { return number(*like.b, value, like.dtype()); }

Expr number(Builder& b, const Sym& value, DType dtype) {
  if (value.is_const()) {
    const int64_t n = value.value();
    if (is_float(dtype)) return {&b, b.constant(static_cast<double>(n), dtype)};
    return {&b, b.constant(is_bool(dtype) ? int64_t{n != 0} : n, dtype)};
  }
  return {&b, b.emit(Op::constant, {}, {{"value", value}, {"dtype", dtype}})};
}

Expr squeeze(const Expr& a, int64_t dim) {
  std::vector<Sym> sizes = a.sizes();
  OURJIT_CHECK(dim >= 0 && dim < a.rank() && sizes[dim].is_const(1)) << "dim " << dim;
  sizes.erase(sizes.begin() + dim);
  return reshape(a, std::move(sizes));
}

Expr constant(Builder& b, const Scalar& value) {
  return value.is_float() ? number(b, value.f, value.dtype) : number(b, Sym(value.i), value.dtype);
}

Expr neutral(Builder& b, ReduceOp op, DType dtype) {
  return constant(b, reduce_identity(op, dtype));
}

Expr split_dim(const Expr& a, int64_t dim, const Sym& outer, const Sym& inner) {
  std::vector<Sym> sizes = a.sizes();
  sizes[static_cast<size_t>(dim)] = outer;
  sizes.insert(sizes.begin() + dim + 1, inner);
  return reshape(a, std::move(sizes));
}

Expr repeat_interleave(const Expr& a, int64_t dim, const Sym& times) {
  if (times.is_const(1)) return a;
  std::vector<Sym> whole = a.sizes();
  whole[static_cast<size_t>(dim)] *= times;
  const Expr line = unsqueeze(a, dim + 1);
  std::vector<Sym> sizes = line.sizes();
  sizes[static_cast<size_t>(dim) + 1] = times;
  return reshape(expand(line, std::move(sizes)), std::move(whole));
}

Expr reduce(ReduceOp op, const Expr& a, std::vector<int64_t> dims, bool keepdim) {
  if (dims.empty()) return a;
  std::sort(dims.begin(), dims.end());
  return {a.b, a.b->reduce(op, a.v, std::move(dims), keepdim)};
}

Expr mean(const Expr& a, const std::vector<int64_t>& dims, bool keepdim) {
  return sum(a, dims, keepdim) / number(*a.b, count(a, dims), a.dtype());
}

Expr along(const Expr& a, int64_t dim, int rank) {
  if (rank == 1) return a;
  std::vector<Sym> sizes(static_cast<size_t>(rank), Sym(1));
  sizes[static_cast<size_t>(dim)] = a.b->type(a.v).numel();
  return reshape(a, std::move(sizes));
}

Expr iota(Builder& b, const Sym& size, DType dtype, int64_t dim, int rank) {
  const Expr line{&b, b.emit(Op::iota, {}, {{"size", size}, {"dtype", dtype}})};
  return along(line, dim, rank);
}

Expr full(Builder& b, double value, DType dtype, const std::vector<Sym>& sizes) {
  const Expr c = number(b, value, dtype);
  return sizes.empty() ? c : expand(c, sizes);
}

Expr pad_zeros(const Expr& a, int64_t dim, const Sym& low, const Sym& high) {
  std::vector<Sym> lows(a.sizes().size(), Sym(0)), highs(a.sizes().size(), Sym(0));
  lows[static_cast<size_t>(dim)] = low;
  highs[static_cast<size_t>(dim)] = high;
  Attr zero = is_float(a.dtype()) ? Attr(0.0) : Attr(Sym(0));
  return {a.b, a.b->emit(Op::pad, {a.v}, {{"low", lows}, {"high", highs}, {"value", zero}})};
}

Expr concat(const std::vector<Expr>& parts, int64_t dim) {
  OURJIT_CHECK(!parts.empty()) << "nothing to join";
  if (parts.size() == 1) return parts[0];
  // Sizes that are only equal in value are renamed; a number is the best name.
  std::vector<Sym> sizes = parts[0].sizes();
  for (const Expr& p : parts) {
    OURJIT_CHECK(p.sizes().size() == sizes.size()) << "operands to join differ in rank";
    for (size_t d = 0; d < sizes.size(); ++d)
      if (p.sizes()[d].is_const()) sizes[d] = p.sizes()[d];
  }
  std::vector<ValueId> operands;
  for (const Expr& p : parts) {
    sizes[static_cast<size_t>(dim)] = p.sizes()[static_cast<size_t>(dim)];
    operands.push_back(p.sizes() == sizes ? p.v : reshape(p, sizes).v);
  }
  return {parts[0].b, parts[0].b->emit(Op::concat, std::move(operands), {{"dim", Sym(dim)}})};
}

Sym count(const Expr& a, const std::vector<int64_t>& dims) {
  Sym n = 1;
  for (const int64_t d : dims) n *= a.sizes()[static_cast<size_t>(d)];
  return n;
}

std::vector<int64_t> all_dims(int rank) {
  std::vector<int64_t> dims;
  for (int d = 0; d < rank; ++d) dims.push_back(d);
  return dims;
}

std::vector<int64_t> inverse_order(const std::vector<int64_t>& order) {
  std::vector<int64_t> inverse(order.size());
  for (size_t d = 0; d < order.size(); ++d)
    inverse[static_cast<size_t>(order[d])] = static_cast<int64_t>(d);
  return inverse;
}

std::vector<int64_t> other_dims(int rank, const std::vector<int64_t>& dims) {
  std::vector<int64_t> others;
  for (int d = 0; d < rank; ++d)
    if (std::find(dims.begin(), dims.end(), d) == dims.end()) others.push_back(d);
  return others;
}

}  // namespace ourjit
