// What activation functions and their backward share.
#pragma once

#include <numbers>

#include "passes/expr.h"

namespace ourjit {

inline constexpr double kSqrtHalf = std::numbers::sqrt2 / 2;
inline constexpr double kSqrtTwoOverPi = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
inline constexpr double kInvSqrtTwoPi = std::numbers::inv_sqrtpi * kSqrtHalf;
inline constexpr double kGeluCubic = 0.044715;
inline constexpr double kSeluAlpha = 1.6732632423543772848170429916717;
inline constexpr double kSeluScale = 1.0507009873554804934193349852946;

/// sqrt(2/pi) (x + 0.044715 x^3), the argument of gelu's tanh form.
Expr gelu_inner(const Expr& x);
/// exp(min(x, 40)): its square is finite, and beyond 40 tanh(softplus(x)) rounds to 1.
Expr exp_clamped(const Expr& x);
/// tanh(log1p(e)) = (e^2 + 2e) / (e^2 + 2e + 2) for e = exp_clamped(x).
Expr tanh_softplus(const Expr& e);

}  // namespace ourjit
