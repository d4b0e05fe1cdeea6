// A slow evaluator of native graph operators, the oracle of pass tests: element by element, without
// strides, with reductions in row-major order.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "graph/graph.h"

namespace ourjit::testing {

using Sizes = std::vector<int64_t>;
using Symbols = std::map<std::string, int64_t>;

struct Tensor {
  DType dtype = DType::f32;
  Sizes sizes;
  std::vector<Scalar> data;  // row-major
};

inline int64_t numel(const Sizes& sizes) {
  int64_t n = 1;
  for (const int64_t s : sizes) n *= s;
  return n;
}

/// Calls `f` with each index of a tensor in row-major order.
template <class F>
void for_each_index(const Sizes& sizes, F f) {
  Sizes at(sizes.size(), 0);
  for (int64_t i = 0; i < numel(sizes); ++i) {
    f(at);
    for (size_t d = sizes.size(); d-- > 0;) {
      if (++at[d] < sizes[d]) break;
      at[d] = 0;
    }
  }
}

inline size_t position(const Sizes& sizes, const Sizes& at) {
  int64_t p = 0;
  for (size_t d = 0; d < sizes.size(); ++d) p = p * sizes[d] + at[d];
  return static_cast<size_t>(p);
}

/// Element of `t` that index `at` of a broadcast result reads.
inline const Scalar& broadcast_at(const Tensor& t, const Sizes& at) {
  Sizes own(at.end() - static_cast<int64_t>(t.sizes.size()), at.end());
  for (size_t d = 0; d < own.size(); ++d)
    if (t.sizes[d] == 1) own[d] = 0;
  return t.data[position(t.sizes, own)];
}

/// Evaluates one graph.
class Evaluator {
 public:
  Evaluator(const Graph& g, const Symbols& symbols) : g_(g), symbols_(symbols) {}

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) {
    values_.resize(g_.values.size());
    size_t next = 0;
    for (const GraphInput& in : g_.inputs)
      if (in.value >= 0) values_[static_cast<size_t>(in.value)] = inputs.at(next++);
    for (const Node& n : g_.nodes) values_[static_cast<size_t>(n.results[0])] = node(n);
    std::vector<Tensor> out;
    for (const GraphOutput& o : g_.outputs)
      if (o.value >= 0) out.push_back(values_[static_cast<size_t>(o.value)]);
    return out;
  }

 private:
  int64_t number(const Sym& s) const {
    return s.eval([&](std::string_view name) -> std::optional<int64_t> {
      const auto it = symbols_.find(std::string(name));
      return it == symbols_.end() ? std::nullopt : std::optional(it->second);
    });
  }
  Sizes numbers(const std::vector<Sym>& list) const {
    Sizes out;
    for (const Sym& s : list) out.push_back(number(s));
    return out;
  }
  const Tensor& in(const Node& n, size_t i = 0) const {
    return values_[static_cast<size_t>(n.operands[i])];
  }
  Scalar value_attr(const Node& n, DType dtype) const {
    const Attr& a = n.attrs.find("value")->second;
    if (const double* d = std::get_if<double>(&a)) return Scalar::number(dtype, *d);
    return Scalar::integer(dtype, number(std::get<Sym>(a)));
  }

  /// A tensor like the result of `n`, each element by `f(index)`.
  template <class F>
  Tensor generate(const Node& n, F f) const {
    const TensorType& t = g_.type(n.results[0]);
    Tensor out{t.dtype, numbers(t.sizes), {}};
    for_each_index(out.sizes, [&](const Sizes& at) { out.data.push_back(f(at)); });
    return out;
  }

  Tensor node(const Node& n) const {
    if (is_pointwise(n.op)) return pointwise(n);
    switch (op_category(n.op)) {
      case OpCategory::View:
        return view(n);
      case OpCategory::Reduce:
        return reduce(n);
      default:
        break;
    }
    const TensorType& type = g_.type(n.results[0]);
    switch (n.op) {
      case Op::constant:
        return generate(n, [&](const Sizes&) { return value_attr(n, type.dtype); });
      case Op::iota:
        return generate(n, [&](const Sizes& at) { return Scalar::integer(type.dtype, at[0]); });
      case Op::concat:
        return concat(n);
      case Op::pad:
        return pad(n);
      case Op::copy_to:
        return in(n, 1);
      default:
        break;
    }
    OURJIT_CHECK(false) << op_name(n.op) << " is not evaluated";
    return {};
  }

  Tensor pointwise(const Node& n) const {
    return generate(n, [&](const Sizes& at) {
      std::vector<Scalar> args;
      for (size_t i = 0; i < n.operands.size(); ++i) args.push_back(broadcast_at(in(n, i), at));
      return eval_scalar(scalar_op(n.op), g_.type(n.results[0]).dtype, args).value;
    });
  }

  Tensor view(const Node& n) const {
    const Tensor& x = in(n);
    if (n.op == Op::reshape) {
      Tensor out = x;
      out.sizes = numbers(attr<std::vector<Sym>>(n, "sizes"));
      return out;
    }
    return generate(n, [&](Sizes at) {
      if (n.op == Op::expand) return broadcast_at(x, at);
      Sizes from = at;
      if (n.op == Op::permute) {
        const Sizes dims = int_list_attr(n, "dims");
        for (size_t i = 0; i < at.size(); ++i) from[static_cast<size_t>(dims[i])] = at[i];
      } else if (n.op == Op::slice) {
        int64_t& d = from[static_cast<size_t>(int_attr(n, "dim"))];
        d = number(attr<Sym>(n, "start")) + d * number(attr<Sym>(n, "step"));
      } else {
        for (const int64_t d : int_list_attr(n, "dims"))
          from[static_cast<size_t>(d)] =
              x.sizes[static_cast<size_t>(d)] - 1 - at[static_cast<size_t>(d)];
      }
      return x.data.at(position(x.sizes, from));
    });
  }

  Tensor reduce(const Node& n) const {
    const Tensor& x = in(n);
    const ReduceOp op = *parse_reduce_op(attr<std::string>(n, "op"));
    const Sizes dims = int_list_attr(n, "dims");
    const bool partial = n.op == Op::partial_reduce;
    const int64_t chunk = partial ? int_attr(n, "chunk") : 0;
    const bool keepdim = !partial && attr<bool>(n, "keepdim");
    const bool index = op == ReduceOp::argmax || op == ReduceOp::argmin;
    const DType dtype = g_.type(n.results[0]).dtype;
    const DType acc = index ? x.dtype : compute_dtype(dtype);
    Tensor out = generate(n, [&](const Sizes&) { return reduce_identity(op, acc); });
    std::vector<int64_t> winner(out.data.size(), -1);
    for_each_index(x.sizes, [&](const Sizes& at) {
      Sizes to;
      int64_t linear = 0;
      for (size_t d = 0; d < at.size(); ++d) {
        if (std::find(dims.begin(), dims.end(), static_cast<int64_t>(d)) == dims.end()) {
          to.push_back(at[d]);
          continue;
        }
        linear = linear * x.sizes[d] + at[d];
        if (keepdim) to.push_back(0);
      }
      if (partial) to.insert(to.begin(), linear / chunk);
      const size_t p = position(out.sizes, to);
      const Scalar& element = x.data[position(x.sizes, at)];
      if (!index) {
        out.data[p] = reduce_combine(op, out.data[p], cast_scalar(element, acc));
      } else if (winner[p] < 0 || reduce_wins(op, element, out.data[p])) {
        out.data[p] = element;
        winner[p] = linear;
      }
    });
    for (size_t i = 0; i < out.data.size(); ++i)
      out.data[i] = index ? Scalar::integer(dtype, std::max<int64_t>(winner[i], 0))
                          : cast_scalar(out.data[i], dtype);
    return out;
  }

  Tensor concat(const Node& n) const {
    const auto d = static_cast<size_t>(int_attr(n, "dim"));
    return generate(n, [&](Sizes at) {
      size_t i = 0;
      for (; at[d] >= in(n, i).sizes[d]; ++i) at[d] -= in(n, i).sizes[d];
      return in(n, i).data[position(in(n, i).sizes, at)];
    });
  }

  Tensor pad(const Node& n) const {
    const Tensor& x = in(n);
    const Sizes low = numbers(attr<std::vector<Sym>>(n, "low"));
    return generate(n, [&](Sizes at) {
      for (size_t d = 0; d < at.size(); ++d) {
        at[d] -= low[d];
        if (at[d] < 0 || at[d] >= x.sizes[d]) return value_attr(n, x.dtype);
      }
      return x.data[position(x.sizes, at)];
    });
  }

  const Graph& g_;
  const Symbols& symbols_;
  std::vector<Tensor> values_;
};

/// Values of the outputs that are tensors. Calls, gathers and scatters are not evaluated
/// (InternalError).
inline std::vector<Tensor> evaluate(const Graph& g, const std::vector<Tensor>& inputs,
                                    const Symbols& symbols = {}) {
  return Evaluator(g, symbols).run(inputs);
}

/// Whether elements agree: bit for bit if `tolerance` is 0 (NaNs are alike); else floats may differ
/// by `tolerance` relative to the larger one, absolutely below 1, and in the sign of zero.
inline bool agree(const Scalar& a, const Scalar& b, double tolerance) {
  if (a.dtype != b.dtype) return false;
  if (!a.is_float()) return a.i == b.i;
  if (std::isnan(a.f) || std::isnan(b.f)) return std::isnan(a.f) && std::isnan(b.f);
  if (tolerance == 0) return a.f == b.f && std::signbit(a.f) == std::signbit(b.f);
  if (a.f == b.f) return true;
  return std::abs(a.f - b.f) <= tolerance * std::max({std::abs(a.f), std::abs(b.f), 1.0});
}

inline bool agree(const Tensor& a, const Tensor& b, double tolerance) {
  if (a.dtype != b.dtype || a.sizes != b.sizes || a.data.size() != b.data.size()) return false;
  for (size_t i = 0; i < a.data.size(); ++i)
    if (!agree(a.data[i], b.data[i], tolerance)) return false;
  return true;
}

}  // namespace ourjit::testing
