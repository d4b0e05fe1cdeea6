#include "graph/infer.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "base/error.h"
#include "evaluate.h"
#include "graph/text.h"

namespace ourjit {
namespace {

using List = std::vector<Sym>;
const Sym s0 = Sym::symbol("s0"), s1 = Sym::symbol("s1");

TEST(Broadcast, FollowsNumpy) {
  EXPECT_EQ(broadcast({{4, 1}, {3}}), (List{4, 3}));
  EXPECT_EQ(broadcast({{}, {s0, 1}, {1, s1}}), (List{s0, s1}));
  EXPECT_EQ(broadcast({{s0 + 1}, {1 + s0}}), (List{s0 + 1}));
  EXPECT_THROW(broadcast({{4}, {3}}), UserError);
  // Symbols may be equal by guards; numbers are not.
  EXPECT_EQ(broadcast({{s0}, {s1}}), (List{s0}));
  EXPECT_EQ(broadcast({{s0}, {5}}), (List{5}));
  EXPECT_THROW(broadcast({{s0}, {s0 + 1}}), UserError);
}

/// Whether index by index the elements of `t`, in row-major order, lie where `strides` over `sizes`
/// say.
bool same_places(const TensorType& t, const List& sizes, const List& strides) {
  const auto places = [](const List& sizes, const List& strides) {
    std::vector<int64_t> n, out;
    for (const Sym& s : sizes) n.push_back(s.value());
    testing::for_each_index(n, [&](const std::vector<int64_t>& at) {
      int64_t p = 0;
      for (size_t d = 0; d < at.size(); ++d) p += at[d] * strides[d].value();
      out.push_back(p);
    });
    return out;
  };
  return places(t.sizes, t.strides) == places(sizes, strides);
}

TEST(ViewStrides, PutsEveryElementWhereItWas) {
  std::mt19937 random(1);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int views = 0, copies = 0;
  for (int round = 0; round < 3000; ++round) {
    TensorType t = make_type(DType::f32, {});
    for (int d = below(4); d > 0; --d)
      t.sizes.emplace_back(std::vector<int>{1, 2, 3, 4, 6}[below(5)]);
    t.strides = contiguous_strides(t.sizes);
    for (size_t d = 0; d + 1 < t.sizes.size(); ++d)
      if (below(3) == 0) {
        std::swap(t.sizes[d], t.sizes[d + 1]);
        std::swap(t.strides[d], t.strides[d + 1]);
      }
    if (!t.sizes.empty() && below(4) == 0) t.strides[below(t.rank())] = Sym(below(2) ? 0 : 24);
    List to;
    int64_t left = t.numel().value();
    for (int tries = 0; tries < 4; ++tries) {
      const int64_t f = 1 + below(4);
      if (left % f == 0) to.emplace_back(f), left /= f;
    }
    to.emplace_back(left);
    std::shuffle(to.begin(), to.end(), random);
    const auto strides = view_strides(t, to);
    if (!strides) {
      ++copies;
      EXPECT_FALSE(is_contiguous(t)) << print(t);
      continue;
    }
    ++views;
    ASSERT_TRUE(same_places(t, to, *strides)) << print(t);
  }
  EXPECT_GT(views, 500);
  EXPECT_GT(copies, 100);
}

TEST(ViewStrides, OfSymbolicSizes) {
  const TensorType t = make_type(DType::f32, {s0, 4, 32});
  EXPECT_EQ(view_strides(t, {s0, 128}), (List{128, 1}));
  EXPECT_EQ(view_strides(t, {s0 * 4, 32}), (List{32, 1}));
  EXPECT_EQ(view_strides(t, {s0, 1, 8, 16}), (List{128, 128, 16, 1}));
  TensorType p = t;
  std::swap(p.sizes[0], p.sizes[1]);
  std::swap(p.strides[0], p.strides[1]);
  EXPECT_EQ(view_strides(p, {4, s0 * 32}), std::nullopt);
  EXPECT_EQ(view_strides(p, {2, 2, s0, 32}), (List{64, 32, 128, 1}));
}

TEST(IsContiguous, IgnoresDimsOfOneAndEmptyTensors) {
  TensorType t = make_type(DType::f32, {4, 1, 8});
  EXPECT_TRUE(is_contiguous(t));
  t.strides[1] = 77;
  EXPECT_TRUE(is_contiguous(t));
  t.strides[0] = 9;
  EXPECT_FALSE(is_contiguous(t));
  t.sizes[2] = 0;
  EXPECT_TRUE(is_contiguous(t));
}

// What an operator answers: its type's text, or "error" if it raises UserError.
std::string answer(Op op, const std::vector<TensorType>& operands, const Attrs& attrs) {
  try {
    return print(infer(op, operands, attrs));
  } catch (const UserError&) {
    return "error";
  }
}

TEST(Infer, Reductions) {
  const TensorType x = make_type(DType::i32, {2, s0, 4});
  const auto reduce = [&](std::string op, List dims, bool keepdim) {
    return answer(Op::reduce, {x}, {{"op", op}, {"dims", dims}, {"keepdim", keepdim}});
  };
  EXPECT_EQ(reduce("sum", {1}, false), "i64[2, 4]");
  EXPECT_EQ(reduce("max", {0, 2}, true), "i32[1, s0, 1]");
  EXPECT_EQ(reduce("argmax", {1}, false), "i64[2, 4]");
  EXPECT_EQ(reduce("argmax", {0, 1}, false), "error");
  EXPECT_EQ(reduce("argmin", {0, 1, 2}, false), "i64[]");
  EXPECT_EQ(reduce("sum", {2, 1}, false), "error");
  EXPECT_EQ(reduce("sum", {3}, false), "error");
  EXPECT_EQ(reduce("median", {0}, false), "error");
  const auto partial = [&](List dims, int64_t chunk) {
    return answer(Op::partial_reduce, {x},
                  {{"op", std::string("sum")}, {"dims", dims}, {"chunk", Sym(chunk)}});
  };
  EXPECT_EQ(partial({0, 1}, 64), "i32[floordiv(s0*2 + 63, 64), 4]");
  EXPECT_EQ(partial({0, 1}, 0), "error");
}

TEST(Infer, GathersAndScatters) {
  const TensorType x = make_type(DType::f32, {5, 6, 7}), i = make_type(DType::i64, {2, 3});
  EXPECT_EQ(answer(Op::index_select, {x, i}, {{"dim", Sym(1)}}), "f32[5, 2, 3, 7]");
  EXPECT_EQ(answer(Op::index_select, {x, x}, {{"dim", Sym(1)}}), "error");
  EXPECT_EQ(answer(Op::gather, {x, i}, {{"dim", Sym(1)}}), "error");
  const TensorType u = make_type(DType::f32, {2, 3, 7});
  const Attrs put = {{"dims", List{0, 1}}, {"mode", std::string("add")}};
  EXPECT_EQ(answer(Op::index_put, {x, u, i, i}, put), "f32[5, 6, 7]");
  EXPECT_EQ(answer(Op::index_put, {x, u, i}, put), "error");
  EXPECT_EQ(answer(Op::index_put, {x, x, i, i}, put), "error");
  const TensorType j = make_type(DType::i64, {2, 3, 7});
  EXPECT_EQ(answer(Op::scatter, {x, j, u}, {{"dim", Sym(0)}, {"mode", std::string("set")}}),
            "f32[5, 6, 7]");
  EXPECT_EQ(answer(Op::scatter, {x, j, u}, {{"dim", Sym(0)}, {"mode", std::string("mean")}}),
            "error");
}

TEST(Infer, Slices) {
  const TensorType x = make_type(DType::f32, {4, 10});
  const auto slice = [&](Sym start, Sym step, Sym size) {
    return answer(Op::slice, {x},
                  {{"dim", Sym(1)}, {"start", start}, {"step", step}, {"size", size}});
  };
  EXPECT_EQ(slice(1, 3, 3), "f32[4, 3]{10, 3}");
  EXPECT_EQ(slice(1, 3, 4), "error");
  EXPECT_EQ(slice(10, 1, 0), "f32[4, 0]{10, 1}");
  EXPECT_EQ(slice(-1, 1, 2), "error");
  EXPECT_EQ(slice(0, 0, 2), "error");
  EXPECT_EQ(slice(s0, 1, 2), "f32[4, 2]{10, 1}");
}

TEST(Infer, MissingOrWrongAttributesAreUserErrors) {
  const TensorType x = make_type(DType::f32, {4});
  for (const Op op : {Op::permute, Op::reshape, Op::expand, Op::slice, Op::flip, Op::reduce,
                      Op::partial_reduce, Op::concat, Op::pad, Op::cast})
    EXPECT_EQ(answer(op, {x}, {}), "error") << op_name(op);
  EXPECT_EQ(answer(Op::permute, {x}, {{"dims", true}}), "error");
  EXPECT_EQ(answer(Op::permute, {x}, {{"dims", List{s0}}}), "error");
  EXPECT_EQ(answer(Op::add, {x}, {}), "error");
  EXPECT_EQ(answer(Op::call, {x}, {}), "error");
}

}  // namespace
}  // namespace ourjit
