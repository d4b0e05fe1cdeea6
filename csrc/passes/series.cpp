#include "passes/series.h"

#include <cmath>

namespace ourjit {

Expr polynomial(const Expr& x, Coefficients c) {
  Expr sum = number(x, c[0]);
  for (const double next : c.subspan(1)) sum = sum * x + next;
  return sum;
}

Expr chebyshev(const Expr& y, Coefficients c) {
  const double least = std::abs(c.back()) * (y.dtype() == DType::f64 ? 0x1p-60 : 0x1p-32);
  while (std::abs(c[0]) < least) c = c.subspan(1);
  Expr sum = number(y, c[0]), last = number(y, 0);
  for (const double next : c.subspan(1, c.size() - 2)) {
    const Expr before = last;
    last = sum;
    sum = y * last - before + next;
  }
  return y * 0.5 * sum - last + c.back() / 2;
}

}  // namespace ourjit
