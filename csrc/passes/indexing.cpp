#include "passes/indexing.h"

#include "graph/infer.h"

namespace ourjit {

IndexedDims indexed_dims(AtenCall& c, const Expr& x,
                         const std::vector<std::optional<ValueId>>& indices) {
  std::vector<int64_t> dims;
  std::vector<std::vector<Sym>> shapes;
  for (size_t d = 0; d < indices.size(); ++d) {
    if (!indices[d]) continue;
    const TensorType& t = c.b.type(*indices[d]);
    require(is_integer(t.dtype) && t.dtype != DType::u8, "indexing by a mask");
    dims.push_back(static_cast<int64_t>(d));
    shapes.push_back(t.sizes);
  }
  require(!dims.empty(), "no index");
  IndexedDims at{x, dims[0], {}, broadcast(shapes), all_dims(x.rank())};
  if (dims.back() - dims.front() + 1 != static_cast<int64_t>(dims.size())) {
    at.order = dims;
    for (const int64_t d : other_dims(x.rank(), dims)) at.order.push_back(d);
    at.base.v = c.b.permute(x.v, at.order);
    at.first = 0;
  }
  for (const int64_t d : dims) {
    const Expr i = cast({&c.b, *indices[static_cast<size_t>(d)]}, DType::i64);
    at.indices.push_back(i.sizes() == at.shape ? i : expand(i, at.shape));
  }
  return at;
}

Expr take(const Expr& x, const Expr& index, int64_t dim, bool wrap) {
  return {x.b, x.b->emit(Op::index_select, {x.v, index.v}, {{"dim", Sym(dim)}, {"wrap", wrap}})};
}

Expr put(const Expr& base, int64_t first, const std::vector<Expr>& indices, const Expr& updates,
         bool add) {
  std::vector<ValueId> operands{base.v, updates.v};
  std::vector<Sym> dims;
  for (const Expr& index : indices) {
    dims.push_back(first + static_cast<int64_t>(dims.size()));
    operands.push_back(index.v);
  }
  const Attrs attrs{{"dims", dims}, {"mode", std::string(add ? "add" : "set")}};
  return {base.b, base.b->emit(Op::index_put, std::move(operands), attrs)};
}

Expr wrap_index(const Expr& index, const Sym& size) {
  return where(index < 0, index + number(*index.b, size, DType::i64), index);
}

}  // namespace ourjit
