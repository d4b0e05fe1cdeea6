#include "fusion/view_index.h"

#include <algorithm>

#include "base/error.h"

namespace ourjit {
namespace {

bool has_zero(const std::vector<Sym>& sizes) {
  for (const Sym& s : sizes)
    if (s.is_const(0)) return true;
  return false;
}

/// Row-major position within dims [begin, end).
Sym linearize(const std::vector<Sym>& sizes, const IndexVector& index, size_t begin, size_t end) {
  Sym at = 0;
  for (size_t i = begin; i < end; ++i) at = at * sizes[i] + index[i];
  return at;
}

}  // namespace

IndexVector delinearize(const Sym& position, const std::vector<Sym>& sizes,
                        const SymBounds& bounds) {
  IndexVector out(sizes.size());
  if (has_zero(sizes)) return out;
  Sym below = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    const Sym above = floordiv(position, below);
    out[i] = bounds.simplify(i == 0 ? above : mod(above, sizes[i]));
    below *= sizes[i];
  }
  return out;
}

IndexVector reshape_index(const std::vector<Sym>& from, const std::vector<Sym>& to,
                          const IndexVector& index, const SymBounds& bounds) {
  IndexVector out(to.size(), Sym(0));
  if (has_zero(from)) return out;
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    // The shortest runs of dims with equal products.
    size_t i_end = i, j_end = j;
    Sym p = 1, q = 1;
    if (i_end < from.size()) p = from[i_end++];
    if (j_end < to.size()) q = to[j_end++];
    while (p != q) {
      if (j_end < to.size() && (i_end == from.size() || exact_div(p, q))) {
        q *= to[j_end++];
      } else if (i_end < from.size()) {
        p *= from[i_end++];
      } else {
        break;
      }
    }
    const Sym position = linearize(from, index, i, i_end);
    const IndexVector part = delinearize(
        position, {to.begin() + static_cast<int64_t>(j), to.begin() + static_cast<int64_t>(j_end)},
        bounds);
    std::copy(part.begin(), part.end(), out.begin() + static_cast<int64_t>(j));
    i = i_end;
    j = j_end;
  }
  for (size_t k = 0; k < to.size(); ++k)
    if (to[k].is_const(1)) out[k] = 0;
  return out;
}

IndexVector broadcast_index(const IndexVector& index, const std::vector<Sym>& sizes) {
  const size_t drop = index.size() - sizes.size();
  IndexVector out;
  for (size_t i = 0; i < sizes.size(); ++i)
    out.push_back(sizes[i].is_const(1) ? Sym(0) : index[i + drop]);
  return out;
}

IndexVector view_operand_index(const Graph& g, const Node& n, const IndexVector& index,
                               const SymBounds& bounds) {
  const std::vector<Sym>& from = g.type(n.results[0]).sizes;
  const std::vector<Sym>& to = g.type(n.operands[0]).sizes;
  switch (n.op) {
    case Op::permute: {
      const std::vector<int64_t> dims = int_list_attr(n, "dims");
      IndexVector out(to.size());
      for (size_t i = 0; i < dims.size(); ++i) out[static_cast<size_t>(dims[i])] = index[i];
      return out;
    }
    case Op::reshape:
      return reshape_index(from, to, index, bounds);
    case Op::expand:
      return broadcast_index(index, to);
    case Op::slice: {
      IndexVector out = index;
      const auto d = static_cast<size_t>(int_attr(n, "dim"));
      out[d] = out[d] * attr<Sym>(n, "step") + attr<Sym>(n, "start");
      return out;
    }
    case Op::flip: {
      IndexVector out = index;
      for (const int64_t d : int_list_attr(n, "dims")) {
        const auto i = static_cast<size_t>(d);
        out[i] = to[i] - 1 - out[i];
      }
      return out;
    }
    default:
      break;
  }
  OURJIT_CHECK(false) << op_name(n.op) << " is not a view";
  return {};
}

Sym linear_offset(const IndexVector& index, const std::vector<Sym>& strides,
                  const SymBounds& bounds) {
  Sym at = 0;
  for (size_t i = 0; i < index.size(); ++i) at += index[i] * strides[i];
  return bounds.simplify(at);
}

std::optional<std::vector<Sym>> common_refinement(const std::vector<Sym>& a,
                                                  const std::vector<Sym>& b) {
  const auto without_ones = [](const std::vector<Sym>& sizes) {
    std::vector<Sym> out;
    for (const Sym& s : sizes)
      if (!s.is_const(1)) out.push_back(s);
    return out;
  };
  const std::vector<Sym> x = without_ones(a), y = without_ones(b);
  if (has_zero(x) || has_zero(y)) return x == y ? std::optional(x) : std::nullopt;
  std::vector<Sym> out;
  size_t i = 0, j = 0;
  Sym p = 1, q = 1;  // what is left of x[i - 1] and y[j - 1]
  for (;;) {
    if (p.is_const(1) && i < x.size()) p = x[i++];
    if (q.is_const(1) && j < y.size()) q = y[j++];
    if (p.is_const(1) && q.is_const(1)) return out;
    if (p.is_const(1) || q.is_const(1)) return std::nullopt;
    // Row-major order: the leading part of a dim is its outer factor, so the outer factor of the
    // larger one is the smaller one.
    if (p == q) {
      out.push_back(p);
      p = q = 1;
    } else if (auto r = exact_div(q, p)) {
      out.push_back(p);
      q = *r;
      p = 1;
    } else if (auto s = exact_div(p, q)) {
      out.push_back(q);
      p = *s;
      q = 1;
    } else {
      return std::nullopt;
    }
  }
}

std::optional<IndexVector> align(const std::vector<Sym>& dims, const IndexVector& vars,
                                 const std::vector<Sym>& shape) {
  IndexVector out;
  size_t i = 0;
  for (const Sym& size : shape) {
    if (size.is_const(1)) {
      out.emplace_back(0);
      continue;
    }
    if (i == dims.size()) return std::nullopt;
    Sym p = dims[i], at = vars[i];
    ++i;
    while (p != size) {
      if (i == dims.size()) return std::nullopt;
      at = at * dims[i] + vars[i];
      p *= dims[i];
      ++i;
    }
    out.push_back(at);
  }
  while (i < dims.size() && dims[i].is_const(1)) ++i;
  if (i != dims.size()) return std::nullopt;
  return out;
}

}  // namespace ourjit
