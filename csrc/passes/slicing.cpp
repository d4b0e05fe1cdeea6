#include "passes/slicing.h"

#include <algorithm>

namespace ourjit {
namespace {

/// Guards keep the sign of arguments (u_s0, ...) where it matters, and the tracer counts positions
/// from the front then. Of numbers that data decide (u0, ...) it is not known.
bool is_size_expression(const Sym& s) {
  const std::vector<std::string> names = s.symbols();
  return std::all_of(names.begin(), names.end(),
                     [](const std::string& n) { return is_size(n) || n.starts_with("u_s"); });
}

}  // namespace

Sym slice_start(const AtenCall& c, int i, const Sym& size) {
  if (c.none(i)) return 0;
  const Sym start = c.sym(i);
  require(is_size_expression(start), "a slice starts at a number that data decide");
  if (!start.is_const() || start.value() >= 0)
    return size.is_const() && start.is_const() ? Sym(std::min(start.value(), size.value())) : start;
  if (size.is_const()) return std::max<int64_t>(0, size.value() + start.value());
  return max(size + start, Sym(0));
}

Sym wrapped_index(const AtenCall& c, int i, const Sym& size) {
  const Sym index = c.sym(i);
  require(is_size_expression(index), "an index is a number that data decide");
  return index.is_const() && index.value() < 0 ? size + index : index;
}

}  // namespace ourjit
