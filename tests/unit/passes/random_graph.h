// Random graphs of native operators, for tests that a pass keeps what a graph computes.
#pragma once

#include <random>

#include "../graph/evaluate.h"
#include "graph/builder.h"

namespace ourjit::testing {

/// Grows a graph of about `size` nodes from a seed. Shapes stay small; numbers are those where
/// rewriting goes wrong most easily (zeros of both signs, ones, infinities, NaN).
class RandomGraph {
 public:
  RandomGraph(unsigned seed, int size) : random_(seed), b_("random") {
    for (int i = 0; i < 3; ++i) input(DType::f32);
    input(DType::i64);
    input(DType::boolean);
    input(DType::bf16);
    for (int i = 0; i < size; ++i) try {
        step();
      } catch (const UserError&) {
        // The operands drawn do not fit each other.
      }
    for (int i = 0; i < 4; ++i) b_.output({pick(), {}, false, {}});
    graph = b_.take();
  }

  Graph graph;
  std::vector<Tensor> inputs;

 private:
  int below(size_t n) { return static_cast<int>(random_() % std::max<size_t>(n, 1)); }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return *(list.begin() + below(list.size()));
  }
  ValueId pick() { return below(b_.graph().values.size()); }
  /// A value of that dtype; the last ones made are likelier.
  ValueId pick(DType dtype) {
    const auto n = static_cast<int>(b_.graph().values.size());
    for (int tries = 0; tries < 200; ++tries) {
      const ValueId v = below(2) ? pick() : n - 1 - below(static_cast<size_t>(std::min(n, 6)));
      if (b_.type(v).dtype == dtype) return v;
    }
    return b_.constant(int64_t{1}, dtype);
  }
  DType any_dtype() {
    return one_of({DType::f32, DType::f32, DType::f32, DType::i64, DType::boolean, DType::bf16});
  }

  void input(DType dtype) {
    const std::vector<Sym> sizes =
        one_of<std::vector<Sym>>({std::vector<Sym>{2, 3, 4}, std::vector<Sym>{3, 4},
                                  std::vector<Sym>{2, 1, 4}, std::vector<Sym>{4, 1}});
    b_.input("x" + std::to_string(inputs.size()), make_type(dtype, sizes));
    Tensor t{dtype, {}, {}};
    for (const Sym& s : sizes) t.sizes.push_back(s.value());
    for (int64_t i = 0; i < numel(t.sizes); ++i) {
      const double number =
          one_of<double>({0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1e-3, 7.0, INFINITY, NAN});
      t.data.push_back(is_float(dtype) ? Scalar::number(dtype, number)
                                       : Scalar::integer(dtype, below(5) - 2));
    }
    inputs.push_back(std::move(t));
  }

  void step() {
    switch (below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        pointwise();
        break;
      case 4:
        constant();
        break;
      case 5:
        b_.emit(Op::cast, {pick()}, {{"dtype", any_dtype()}});
        break;
      case 6:
        reduce();
        break;
      case 7:
        join();
        break;
      default:
        view();
        break;
    }
  }

  void constant() {
    const DType dtype = any_dtype();
    const double number = one_of({0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, -2.0, 8.0});
    const ValueId c = is_float(dtype) ? b_.constant(number, dtype)
                                      : b_.constant(static_cast<int64_t>(number), dtype);
    if (below(2)) b_.expand(c, b_.type(pick()).sizes);
  }

  void pointwise() {
    const DType dtype = any_dtype();
    if (below(5) == 0) {
      b_.pointwise(ScalarOp::where, {pick(DType::boolean), pick(dtype), pick(dtype)});
      return;
    }
    const auto op =
        one_of({ScalarOp::add, ScalarOp::add, ScalarOp::sub, ScalarOp::mul, ScalarOp::mul,
                ScalarOp::div, ScalarOp::pow, ScalarOp::neg, ScalarOp::abs, ScalarOp::minimum,
                ScalarOp::maximum, ScalarOp::eq, ScalarOp::ne, ScalarOp::lt, ScalarOp::logical_not,
                ScalarOp::bitwise_not, ScalarOp::bitwise_and, ScalarOp::bitwise_or});
    if (scalar_op_info(op).arity == 1)
      b_.pointwise(op, {pick(dtype)});
    else
      b_.pointwise(op, {pick(dtype), pick(dtype)});
  }

  void reduce() {
    const ValueId x = pick();
    std::vector<Sym> dims;
    for (int d = 0; d < b_.type(x).rank(); ++d)
      if (below(2)) dims.emplace_back(d);
    b_.emit(Op::reduce, {x},
            {{"op", one_of<std::string>({"sum", "sum", "max", "min", "prod", "argmax"})},
             {"dims", dims},
             {"keepdim", below(2) == 0}});
  }

  void join() {
    const ValueId x = pick();
    const int rank = b_.type(x).rank();
    if (rank == 0) return;
    if (below(2)) {
      b_.emit(Op::concat, {x, pick(b_.type(x).dtype)},
              {{"dim", Sym(below(static_cast<size_t>(rank)))}});
      return;
    }
    std::vector<Sym> low(static_cast<size_t>(rank), Sym(0)), high = low;
    low[static_cast<size_t>(below(low.size()))] = below(3);
    high[static_cast<size_t>(below(low.size()))] = below(3);
    b_.emit(Op::pad, {x}, {{"low", low}, {"high", high}, {"value", Sym(below(2))}});
  }

  void view() {
    const ValueId x = below(3) ? static_cast<ValueId>(b_.graph().values.size()) - 1 : pick();
    const std::vector<Sym> sizes = b_.type(x).sizes;
    const auto rank = static_cast<size_t>(sizes.size());
    switch (below(5)) {
      case 0: {
        std::vector<Sym> dims;
        for (size_t d = 0; d < rank; ++d) dims.emplace_back(static_cast<int64_t>(d));
        std::shuffle(dims.begin(), dims.end(), random_);
        b_.emit(Op::permute, {x}, {{"dims", dims}});
        break;
      }
      case 1:
        reshape(x);
        break;
      case 2: {
        std::vector<Sym> to = sizes;
        for (Sym& s : to)
          if (s.is_const(1) && below(2)) s = 1 + below(3);
        if (rank < 4 && below(2)) to.insert(to.begin(), Sym(1 + below(3)));
        b_.emit(Op::expand, {x}, {{"sizes", to}});
        break;
      }
      case 3: {
        if (rank == 0) break;
        const auto d = static_cast<size_t>(below(rank));
        const int64_t n = sizes[d].value(), step = 1 + below(2);
        const int64_t start = below(static_cast<size_t>(n)),
                      most = n == 0 ? 0 : (n - start - 1) / step + 1;
        b_.emit(Op::slice, {x},
                {{"dim", Sym(static_cast<int64_t>(d))},
                 {"start", Sym(start)},
                 {"step", Sym(step)},
                 {"size", Sym(below(4) ? most : below(static_cast<size_t>(most + 1)))}});
        break;
      }
      default: {
        std::vector<Sym> dims;
        for (size_t d = 0; d < rank; ++d)
          if (below(2)) dims.emplace_back(static_cast<int64_t>(d));
        b_.emit(Op::flip, {x}, {{"dims", dims}});
      }
    }
  }

  void reshape(ValueId x) {
    const int64_t n = b_.type(x).numel().value();
    std::vector<Sym> to;
    int64_t left = n;
    for (const int64_t f : {2, 3, 4, 2})
      if (left > 0 && left % f == 0 && below(2)) {
        to.emplace_back(f);
        left /= f;
      }
    to.insert(to.begin() + below(to.size() + 1), Sym(left));
    if (below(3) == 0) to.insert(to.begin() + below(to.size() + 1), Sym(1));
    b_.emit(Op::reshape, {x}, {{"sizes", to}});
  }

  std::mt19937 random_;
  Builder b_;
};

}  // namespace ourjit::testing
