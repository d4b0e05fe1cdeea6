#include "base/scalar_eval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"

namespace ourjit {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

double real(ScalarOp op, DType t, std::vector<double> args) {
  std::vector<Scalar> xs;
  for (const double a : args) xs.push_back(Scalar::number(t, a));
  return eval_scalar(op, t, xs).value.f;
}

int64_t whole(ScalarOp op, DType t, std::vector<int64_t> args, bool* zero = nullptr) {
  std::vector<Scalar> xs;
  for (const int64_t a : args) xs.push_back(Scalar::integer(t, a));
  const Evaluated e = eval_scalar(op, t, xs);
  if (zero) *zero = e.zero_division;
  return e.value.i;
}

TEST(ScalarEval, IntegersWrap) {
  EXPECT_EQ(whole(ScalarOp::add, DType::i8, {127, 1}), -128);
  EXPECT_EQ(whole(ScalarOp::mul, DType::u8, {16, 17}), 16);
  EXPECT_EQ(whole(ScalarOp::neg, DType::u8, {1}), 255);
  EXPECT_EQ(whole(ScalarOp::abs, DType::i32, {INT32_MIN}), INT32_MIN);
  EXPECT_EQ(whole(ScalarOp::add, DType::i64, {INT64_MAX, 1}), INT64_MIN);
}

TEST(ScalarEval, DivisionRoundsAsPython) {
  EXPECT_EQ(whole(ScalarOp::floor_div, DType::i32, {-7, 2}), -4);
  EXPECT_EQ(whole(ScalarOp::trunc_div, DType::i32, {-7, 2}), -3);
  EXPECT_EQ(whole(ScalarOp::mod, DType::i32, {-7, 3}), 2);
  EXPECT_EQ(whole(ScalarOp::mod, DType::i32, {7, -3}), -2);
  EXPECT_EQ(whole(ScalarOp::fmod, DType::i32, {-7, 3}), -1);
  EXPECT_EQ(whole(ScalarOp::floor_div, DType::i64, {INT64_MIN, -1}), INT64_MIN);
  EXPECT_EQ(whole(ScalarOp::trunc_div, DType::i32, {INT32_MIN, -1}), INT32_MIN);
  EXPECT_EQ(whole(ScalarOp::mod, DType::i64, {INT64_MIN, -1}), 0);
}

TEST(ScalarEval, IntegerDivisionByZeroIsReported) {
  for (const ScalarOp op :
       {ScalarOp::floor_div, ScalarOp::trunc_div, ScalarOp::mod, ScalarOp::fmod}) {
    bool zero = false;
    whole(op, DType::i32, {5, 0}, &zero);
    EXPECT_TRUE(zero) << scalar_op_info(op).name;
    whole(op, DType::i32, {5, 2}, &zero);
    EXPECT_FALSE(zero);
  }
  EXPECT_EQ(real(ScalarOp::floor_div, DType::f32, {1, 0}), kInf);
}

TEST(ScalarEval, ShiftsOutOfRange) {
  EXPECT_EQ(whole(ScalarOp::shl, DType::i32, {1, 31}), INT32_MIN);
  EXPECT_EQ(whole(ScalarOp::shl, DType::i32, {1, 32}), 0);
  EXPECT_EQ(whole(ScalarOp::shl, DType::i32, {1, -1}), 0);
  EXPECT_EQ(whole(ScalarOp::shr, DType::i32, {-8, 1}), -4);
  EXPECT_EQ(whole(ScalarOp::shr, DType::i32, {-8, 40}), -1);
  EXPECT_EQ(whole(ScalarOp::shr, DType::i64, {-8, 64}), -1);
  EXPECT_EQ(whole(ScalarOp::shr, DType::u8, {200, 8}), 0);
}

TEST(ScalarEval, IntegerPower) {
  EXPECT_EQ(whole(ScalarOp::pow, DType::i32, {3, 4}), 81);
  EXPECT_EQ(whole(ScalarOp::pow, DType::i32, {2, -1}), 0);
  EXPECT_EQ(whole(ScalarOp::pow, DType::i32, {-1, -3}), -1);
  EXPECT_EQ(whole(ScalarOp::pow, DType::i8, {2, 7}), -128);
}

TEST(ScalarEval, NanPropagatesThroughMinimumAndMaximumOnly) {
  for (const auto& args : {std::vector<double>{kNan, 1}, std::vector<double>{1, kNan}}) {
    EXPECT_TRUE(std::isnan(real(ScalarOp::minimum, DType::f32, args)));
    EXPECT_TRUE(std::isnan(real(ScalarOp::maximum, DType::f32, args)));
    EXPECT_EQ(real(ScalarOp::fmin, DType::f32, args), 1);
    EXPECT_EQ(real(ScalarOp::fmax, DType::f32, args), 1);
  }
}

TEST(ScalarEval, SinglePrecisionRounds) {
  EXPECT_EQ(real(ScalarOp::add, DType::f32, {16777216, 1}), 16777216);
  EXPECT_EQ(real(ScalarOp::add, DType::f64, {16777216, 1}), 16777217);
  // 1 / sqrt(x) rounds twice, as in ATen.
  EXPECT_EQ(real(ScalarOp::rsqrt, DType::f32, {3}), 1.0f / std::sqrt(3.0f));
  EXPECT_EQ(real(ScalarOp::exp, DType::f32, {100}), kInf);
  EXPECT_EQ(real(ScalarOp::round, DType::f32, {2.5}), 2);
  EXPECT_EQ(real(ScalarOp::sign, DType::f32, {kNan}), 0);
}

TEST(ScalarEval, FloatDivisionWithRemainder) {
  EXPECT_EQ(real(ScalarOp::floor_div, DType::f32, {-7, 2}), -4);
  EXPECT_EQ(real(ScalarOp::mod, DType::f32, {-7, 3}), 2);
  EXPECT_EQ(real(ScalarOp::fmod, DType::f32, {-7, 3}), -1);
  EXPECT_EQ(real(ScalarOp::trunc_div, DType::f32, {-7, 2}), -3);
  // 1 / 0.1 is a little less than 10 when nothing is rounded.
  EXPECT_EQ(real(ScalarOp::floor_div, DType::f64, {1.0, 0.1}), 9);
}

TEST(ScalarEval, SpecialFunctions) {
  EXPECT_NEAR(real(ScalarOp::digamma, DType::f64, {1}), -0.57721566490153286, 1e-14);
  EXPECT_NEAR(real(ScalarOp::digamma, DType::f64, {-0.5}), 0.03648997397857652, 1e-13);
  EXPECT_TRUE(std::isnan(real(ScalarOp::digamma, DType::f64, {-2})));
  EXPECT_EQ(real(ScalarOp::digamma, DType::f64, {0.0}), -kInf);
  EXPECT_EQ(real(ScalarOp::digamma, DType::f64, {-0.0}), kInf);
  for (const double x : {-0.999999, -0.7, -1e-5, 1e-10, 0.3, 0.5, 0.9, 0.99999999})
    EXPECT_NEAR(std::erf(real(ScalarOp::erfinv, DType::f64, {x})), x, 3e-16) << x;
  EXPECT_EQ(real(ScalarOp::erfinv, DType::f64, {1}), kInf);
  EXPECT_TRUE(std::isnan(real(ScalarOp::erfinv, DType::f64, {1.5})));
  EXPECT_EQ(real(ScalarOp::sigmoid, DType::f64, {-1000}), 0);
  EXPECT_EQ(real(ScalarOp::sigmoid, DType::f64, {1000}), 1);
}

TEST(ScalarEval, Casts) {
  const auto cast = [](DType from, double v, DType to) {
    return cast_scalar(Scalar::number(from, v), to);
  };
  EXPECT_EQ(cast(DType::f32, -1.9, DType::i32).i, -1);
  EXPECT_EQ(cast(DType::f32, 3e9, DType::i32).i, INT32_MIN);
  EXPECT_EQ(cast(DType::f32, kNan, DType::i64).i, INT64_MIN);
  EXPECT_EQ(cast(DType::f32, -1, DType::u8).i, 255);
  EXPECT_EQ(cast(DType::f32, 0.5, DType::boolean).i, 1);
  EXPECT_EQ(cast(DType::f32, kNan, DType::boolean).i, 1);
  // Through f64 this would round to the wrong neighbour.
  const int64_t v = (int64_t{1} << 54) + (int64_t{1} << 30) + 1;
  EXPECT_EQ(Scalar::integer(DType::f32, v).f, static_cast<double>(static_cast<float>(v)));
}

TEST(ScalarEval, SixteenBitFloatsRoundToNearestEven) {
  EXPECT_EQ(Scalar::number(DType::bf16, 1.00390625).f, 1);         // halfway, to even
  EXPECT_EQ(Scalar::number(DType::bf16, 1.01171875).f, 1.015625);  // halfway, to even
  EXPECT_EQ(Scalar::number(DType::f16, 65519).f, 65504);
  EXPECT_EQ(Scalar::number(DType::f16, 65520).f, kInf);
  EXPECT_EQ(Scalar::number(DType::f16, 2049).f, 2048);
  EXPECT_EQ(Scalar::number(DType::f16, 2051).f, 2052);
  EXPECT_EQ(Scalar::number(DType::f16, 0x1p-24).f, 0x1p-24);
  EXPECT_EQ(Scalar::number(DType::f16, 0x1p-25).f, 0);
  EXPECT_TRUE(std::isnan(Scalar::number(DType::bf16, kNan).f));
}

TEST(ScalarEval, EverySixteenBitPatternSurvivesMemory) {
  for (const DType t : {DType::f16, DType::bf16})
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      const auto in = static_cast<uint16_t>(bits);
      uint16_t out = 0;
      const Scalar x = load_scalar(t, &in);
      store_scalar(&out, x);
      if (std::isnan(x.f))
        EXPECT_TRUE(std::isnan(load_scalar(t, &out).f));
      else
        ASSERT_EQ(in, out) << dtype_name(t);
    }
}

TEST(ScalarEval, TextIsExact) {
  EXPECT_EQ(scalar_str(Scalar::number(DType::f32, 0.1)), "0.1");
  EXPECT_EQ(scalar_str(Scalar::number(DType::f64, 0.1f)), "0.10000000149011612");
  EXPECT_EQ(scalar_str(Scalar::number(DType::f32, -0.0)), "-0.0");
  EXPECT_EQ(scalar_str(Scalar::number(DType::f32, 2)), "2.0");
  EXPECT_EQ(scalar_str(Scalar::number(DType::f32, -kInf)), "-inf");
  EXPECT_EQ(scalar_str(Scalar::number(DType::f32, kNan)), "nan");
  EXPECT_EQ(scalar_str(Scalar::integer(DType::boolean, 1)), "true");
  EXPECT_EQ(scalar_str(Scalar::integer(DType::i64, INT64_MIN)), "-9223372036854775808");
}

TEST(ScalarEval, ReductionsHaveNeutralElements) {
  for (const DType t : {DType::i8, DType::u8, DType::i16, DType::i32, DType::i64})
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::prod, ReduceOp::max, ReduceOp::min})
      for (const int64_t v : {-128, 0, 5}) {
        const Scalar x = Scalar::integer(t, v);
        EXPECT_EQ(reduce_combine(op, reduce_identity(op, t), x).i, x.i)
            << reduce_op_name(op) << " " << dtype_name(t);
      }
  EXPECT_EQ(reduce_identity(ReduceOp::max, DType::i64).i, INT64_MIN);
  EXPECT_EQ(reduce_identity(ReduceOp::min, DType::i32).i, INT32_MAX);
  EXPECT_EQ(reduce_identity(ReduceOp::max, DType::f32).f, -kInf);
}

TEST(ScalarEval, FirstExtremeWinsAndNanIsExtreme) {
  const auto f = [](double v) { return Scalar::number(DType::f32, v); };
  EXPECT_FALSE(reduce_wins(ReduceOp::argmax, f(1), f(1)));
  EXPECT_TRUE(reduce_wins(ReduceOp::argmax, f(2), f(1)));
  EXPECT_TRUE(reduce_wins(ReduceOp::argmin, f(kNan), f(1)));
  EXPECT_FALSE(reduce_wins(ReduceOp::argmin, f(kNan), f(kNan)));
}

TEST(ScalarEval, BoolArithmeticIsLogic) {
  EXPECT_EQ(whole(ScalarOp::add, DType::boolean, {1, 1}), 1);
  EXPECT_EQ(whole(ScalarOp::mul, DType::boolean, {1, 0}), 0);
  EXPECT_EQ(whole(ScalarOp::bitwise_not, DType::boolean, {1}), 0);
}

TEST(ScalarEval, UnfitOperandsAreInternalErrors) {
  const std::vector<Scalar> one{Scalar::number(DType::f32, 1)};
  EXPECT_THROW(eval_scalar(ScalarOp::add, DType::f32, one), InternalError);
  EXPECT_THROW(eval_scalar(ScalarOp::bitwise_not, DType::f32, one), InternalError);
}

}  // namespace
}  // namespace ourjit
