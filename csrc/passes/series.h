// Tables of coefficients, those of the highest order first, turned into formulas.
#pragma once

#include <span>

#include "passes/aten_args.h"

namespace ourjit {

using Coefficients = std::span<const double>;

/// An argument for functions whose series would lose digits in f32.
inline Expr in_f64(AtenCall& c, int i) { return cast(c.wide(i), DType::f64); }

/// By Horner's rule.
Expr polynomial(const Expr& x, Coefficients c);
/// A quotient of polynomials.
inline Expr rational(const Expr& x, Coefficients p, Coefficients q) {
  return polynomial(x, p) / polynomial(x, q);
}
/// The sum of c_k T_k(y / 2), of which c_0 counts half, by Clenshaw's recurrence. Leading terms
/// that no sum of y's dtype can tell from zero are left out.
Expr chebyshev(const Expr& y, Coefficients c);

}  // namespace ourjit
