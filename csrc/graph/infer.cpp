#include "graph/infer.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "graph/text.h"

namespace ourjit {
namespace {

/// Symbolic numbers may be equal by what the tracer knows of their symbols (s0 is even), so they
/// only differ if their difference is a number.
bool differ(const Sym& a, const Sym& b) {
  const Sym difference = a - b;
  return difference.is_const() && !difference.is_const(0);
}

/// An application of an operator whose result type is asked for.
class Infer {
 public:
  Infer(Op op, const std::vector<TensorType>& operands, const Attrs& attrs)
      : op_(op), operands_(operands), attrs_(attrs) {}

  TensorType run() {
    const int want = op_operands(op_);
    if (want >= 0 && static_cast<int>(operands_.size()) != want)
      fail("takes " + std::to_string(want) + " operands");
    TensorType t = result();
    for (const TensorType& x : operands_)
      if (x.device != "cpu") t.device = x.device;
    return t;
  }

 private:
  TensorType result() {
    switch (op_category(op_)) {
      case OpCategory::Pointwise:
        return pointwise();
      case OpCategory::Generate:
        return generate();
      case OpCategory::View:
        return view();
      case OpCategory::Reduce:
        return op_ == Op::reduce ? reduce() : partial_reduce();
      case OpCategory::Join:
        return op_ == Op::concat ? concat() : pad();
      case OpCategory::Gather:
        return op_ == Op::gather ? gather() : index_select();
      case OpCategory::Scatter:
        return op_ == Op::scatter ? scatter() : index_put();
      case OpCategory::Scan:
        return scan();
      case OpCategory::Mutate:
        return copy_to();
      case OpCategory::Call:
        break;
    }
    fail("has no shape rule");
  }

  [[noreturn]] void fail(const std::string& message) const {
    std::string shapes;
    for (const TensorType& t : operands_) shapes += (shapes.empty() ? "" : ", ") + print(t);
    OURJIT_RAISE(UserError) << op_name(op_) << "(" << shapes << "): " << message;
    std::abort();
  }
  void need(bool cond, const char* message) const {
    if (!cond) fail(message);
  }

  const TensorType& operand(size_t i = 0) const { return operands_[i]; }
  bool has(std::string_view name) const { return attrs_.find(name) != attrs_.end(); }
  template <class T>
  const T& get(std::string_view name) const {
    const auto it = attrs_.find(name);
    if (it == attrs_.end()) fail("attribute " + std::string(name) + " is missing");
    const T* v = std::get_if<T>(&it->second);
    if (!v) fail("attribute " + std::string(name) + " is of another type");
    return *v;
  }
  int64_t number(std::string_view name) const {
    const Sym& s = get<Sym>(name);
    if (!s.is_const()) fail("attribute " + std::string(name) + " must be a number");
    return s.value();
  }
  /// A dim of a tensor of that rank.
  int64_t dim(int rank) const {
    const int64_t d = number("dim");
    need(d >= 0 && d < rank, "dim is out of range");
    return d;
  }
  /// Increasing dims of the first operand.
  std::vector<int64_t> dims() const {
    std::vector<int64_t> out;
    for (const Sym& s : get<std::vector<Sym>>("dims")) {
      need(s.is_const() && s.value() >= 0 && s.value() < operand().rank(), "a dim is out of range");
      need(out.empty() || out.back() < s.value(), "dims must increase");
      out.push_back(s.value());
    }
    return out;
  }
  ReduceOp reduce_op() const {
    const auto r = parse_reduce_op(get<std::string>("op"));
    need(r && *r != ReduceOp::exp_sum, "unknown reduction");
    return *r;
  }

  TensorType pointwise() {
    const ScalarOp s = scalar_op(op_);
    const ScalarOpInfo& info = scalar_op_info(s);
    const bool random = s == ScalarOp::rand_uniform || s == ScalarOp::rand_normal;
    const size_t first = s == ScalarOp::where ? 1 : 0;
    const DType dtype = operand(first).dtype;
    if (first == 1) need(operand().dtype == DType::boolean, "the condition must be bool");
    for (size_t i = first; i < operands_.size(); ++i)
      need(operand(i).dtype == dtype, "operands differ in dtype");
    if (random) need(dtype == DType::i64, "seed and index must be i64");
    if (!accepts(s, dtype)) fail("is not defined on " + std::string(dtype_name(dtype)));
    DType out = info.result == ScalarResult::Bool ? DType::boolean : dtype;
    if (info.result == ScalarResult::Cast) {
      out = get<DType>("dtype");
      if (has("round")) get<bool>("round");
    }
    if (random) need(is_float(out), "random numbers are floats");
    need(is_native(out), "the dtype is not supported in kernels");
    if (operands_.size() == 1) return make_type(out, operand().sizes);
    bool same = true;
    for (const TensorType& t : operands_) same = same && t.sizes == operand().sizes;
    if (same) return make_type(out, operand().sizes);
    std::vector<std::vector<Sym>> shapes;
    for (const TensorType& t : operands_) shapes.push_back(t.sizes);
    try {
      return make_type(out, broadcast(shapes));
    } catch (const UserError& e) {
      fail(e.what());
    }
  }

  TensorType generate() {
    const DType dtype = get<DType>("dtype");
    if (op_ == Op::constant) {
      need(has("value"), "attribute value is missing");
      const Attr& value = attrs_.find("value")->second;
      need(std::holds_alternative<Sym>(value) || std::holds_alternative<double>(value),
           "value must be a number");
      need(is_float(dtype) || std::holds_alternative<Sym>(value), "value must be an integer");
      return make_type(dtype, {});
    }
    if (op_ == Op::iota) return make_type(dtype, {get<Sym>("size")});
    need(operand().dtype == DType::i64 && operand().rank() == 0, "the seed must be a 0-d i64");
    need(is_float(dtype), "random numbers are floats");
    return make_type(dtype, get<std::vector<Sym>>("sizes"));
  }

  TensorType view() {
    switch (op_) {
      case Op::permute:
        return permute();
      case Op::reshape:
        return reshape();
      case Op::expand:
        return expand();
      case Op::slice:
        return slice();
      case Op::flip:
        dims();
        return make_type(operand().dtype, operand().sizes);
      default:
        fail("has no shape rule");
    }
  }

  TensorType permute() {
    const TensorType& x = operand();
    const auto& order = get<std::vector<Sym>>("dims");
    need(order.size() == x.sizes.size(), "dims must name every dim once");
    std::vector<bool> seen(order.size(), false);
    TensorType t;
    t.dtype = x.dtype;
    for (const Sym& s : order) {
      need(s.is_const() && s.value() >= 0 && s.value() < x.rank(), "a dim is out of range");
      const auto d = static_cast<size_t>(s.value());
      need(!seen[d], "dims must name every dim once");
      seen[d] = true;
      t.sizes.push_back(x.sizes[d]);
      t.strides.push_back(x.strides[d]);
    }
    return t;
  }

  TensorType reshape() {
    const TensorType& x = operand();
    const auto& sizes = get<std::vector<Sym>>("sizes");
    if (differ(x.numel(), product(sizes)))
      fail("cannot have " + product(sizes).str() + " elements after reshape");
    TensorType t = make_type(x.dtype, sizes);
    if (auto strides = view_strides(x, sizes)) t.strides = std::move(*strides);
    return t;
  }

  TensorType expand() {
    const TensorType& x = operand();
    TensorType t;
    t.dtype = x.dtype;
    t.sizes = get<std::vector<Sym>>("sizes");
    need(t.rank() >= x.rank(), "expand cannot drop dims");
    const size_t lead = t.sizes.size() - x.sizes.size();
    t.strides.assign(t.sizes.size(), Sym(0));
    for (size_t i = 0; i < x.sizes.size(); ++i) {
      if (x.sizes[i].is_const(1) && !t.sizes[lead + i].is_const(1)) continue;
      need(!differ(x.sizes[i], t.sizes[lead + i]), "only dims of size 1 expand");
      t.strides[lead + i] = x.strides[i];
    }
    return t;
  }

  TensorType slice() {
    TensorType t = operand();
    const auto d = static_cast<size_t>(dim(t.rank()));
    const Sym &start = get<Sym>("start"), &step = get<Sym>("step"), &size = get<Sym>("size");
    need(!step.is_const() || step.value() > 0, "the step must be positive");
    need(!start.is_const() || start.value() >= 0, "the start is negative");
    need(!size.is_const() || size.value() >= 0, "the size is negative");
    if (!size.is_const(0)) {
      const Sym left = t.sizes[d] - (start + (size - 1) * step);
      need(!left.is_const() || left.value() > 0, "the slice leaves the tensor");
    }
    t.sizes[d] = size;
    t.strides[d] *= step;
    return t;
  }

  TensorType reduce() {
    const TensorType& x = operand();
    const ReduceOp op = reduce_op();
    const std::vector<int64_t> over = dims();
    const bool keepdim = get<bool>("keepdim");
    DType dtype = reduce_dtype(op, x.dtype);
    if (has("dtype")) {
      const DType given = get<DType>("dtype");
      need(op == ReduceOp::sum || op == ReduceOp::prod || given == dtype,
           "the result has another dtype");
      dtype = given;
    }
    need(is_native(x.dtype) && is_native(dtype), "the dtype is not supported in kernels");
    if (op == ReduceOp::argmax || op == ReduceOp::argmin)
      need(over.size() == 1 || over.size() == x.sizes.size(), "takes one dim or all");
    std::vector<Sym> sizes;
    for (int d = 0; d < x.rank(); ++d) {
      if (!std::binary_search(over.begin(), over.end(), d))
        sizes.push_back(x.sizes[static_cast<size_t>(d)]);
      else if (keepdim)
        sizes.emplace_back(1);
    }
    return make_type(dtype, std::move(sizes));
  }

  TensorType partial_reduce() {
    const TensorType& x = operand();
    const ReduceOp op = reduce_op();
    need(op != ReduceOp::argmax && op != ReduceOp::argmin, "cannot be cut into parts");
    const std::vector<int64_t> over = dims();
    need(!over.empty(), "needs dims");
    const int64_t chunk = number("chunk");
    need(chunk > 0, "chunk must be positive");
    Sym count = 1;
    std::vector<Sym> sizes = {0};
    for (int d = 0; d < x.rank(); ++d) {
      const Sym& size = x.sizes[static_cast<size_t>(d)];
      if (std::binary_search(over.begin(), over.end(), d))
        count *= size;
      else
        sizes.push_back(size);
    }
    sizes[0] = ceildiv(count, chunk);
    return make_type(x.dtype, std::move(sizes));
  }

  TensorType concat() {
    need(!operands_.empty(), "needs an operand");
    const TensorType& x = operand();
    const auto d = static_cast<size_t>(dim(x.rank()));
    std::vector<Sym> sizes = x.sizes;
    for (size_t i = 1; i < operands_.size(); ++i) {
      const TensorType& y = operand(i);
      need(y.dtype == x.dtype, "operands differ in dtype");
      need(y.rank() == x.rank(), "operands differ in rank");
      for (size_t k = 0; k < sizes.size(); ++k)
        need(k == d || y.sizes[k] == x.sizes[k], "operands differ in other sizes");
      sizes[d] += y.sizes[d];
    }
    return make_type(x.dtype, std::move(sizes));
  }

  TensorType pad() {
    const TensorType& x = operand();
    const auto& low = get<std::vector<Sym>>("low");
    const auto& high = get<std::vector<Sym>>("high");
    need(low.size() == x.sizes.size() && high.size() == x.sizes.size(),
         "low and high need a number for each dim");
    need(has("value"), "attribute value is missing");
    const Attr& value = attrs_.find("value")->second;
    need(std::holds_alternative<Sym>(value) ||
             (std::holds_alternative<double>(value) && is_float(x.dtype)),
         "value must be a number of the operand's dtype");
    std::vector<Sym> sizes = x.sizes;
    for (size_t i = 0; i < sizes.size(); ++i) {
      for (const Sym& s : {low[i], high[i]})
        need(!s.is_const() || s.value() >= 0, "padding may not be negative");
      sizes[i] += low[i] + high[i];
    }
    return make_type(x.dtype, std::move(sizes));
  }

  void need_index(const TensorType& t) const {
    need(t.dtype == DType::i64 || t.dtype == DType::i32, "an index must be i64 or i32");
  }

  TensorType gather() {
    const TensorType &x = operand(), &index = operand(1);
    need_index(index);
    need(x.rank() == index.rank(), "operand and index differ in rank");
    dim(x.rank());
    return make_type(x.dtype, index.sizes);
  }

  TensorType index_select() {
    const TensorType &x = operand(), &index = operand(1);
    need_index(index);
    const auto d = static_cast<size_t>(dim(x.rank()));
    if (has("wrap")) get<bool>("wrap");
    std::vector<Sym> sizes(x.sizes.begin(), x.sizes.begin() + static_cast<int64_t>(d));
    sizes.insert(sizes.end(), index.sizes.begin(), index.sizes.end());
    sizes.insert(sizes.end(), x.sizes.begin() + static_cast<int64_t>(d) + 1, x.sizes.end());
    return make_type(x.dtype, std::move(sizes));
  }

  /// The attribute `name`, which must be one of some words.
  const std::string& word(const char* name, const std::vector<std::string>& words) const {
    const std::string& given = get<std::string>(name);
    if (std::find(words.begin(), words.end(), given) != words.end()) return given;
    std::string list;
    for (size_t i = 0; i < words.size(); ++i)
      list += (i == 0 ? "\"" : i + 1 < words.size() ? ", \"" : " or \"") + words[i] + "\"";
    fail(std::string(name) + " must be " + list);
  }

  TensorType scan() {
    const TensorType& x = operand();
    const std::string& op = word("op", {"sum", "prod", "logsumexp"});
    need(op != "logsumexp" || is_float(x.dtype), "logsumexp needs floats");
    dim(x.rank());
    return make_type(x.dtype, x.sizes);
  }

  TensorType scatter() {
    const TensorType &base = operand(), &index = operand(1), &updates = operand(2);
    need_index(index);
    word("mode", {"set", "add", "mul", "minimum", "maximum"});
    need(base.dtype == updates.dtype, "base and updates differ in dtype");
    need(base.rank() == index.rank(), "base and index differ in rank");
    need(index.sizes == updates.sizes, "index and updates differ in shape");
    dim(base.rank());
    return make_type(base.dtype, base.sizes);
  }

  TensorType index_put() {
    need(operands_.size() >= 3, "needs base, updates and an index");
    const TensorType &base = operand(), &updates = operand(1);
    word("mode", {"set", "add"});
    need(base.dtype == updates.dtype, "base and updates differ in dtype");
    const std::vector<int64_t> over = dims();
    need(over.size() == operands_.size() - 2, "needs one dim for each index");
    need(over.back() - over.front() + 1 == static_cast<int64_t>(over.size()),
         "dims must be adjacent");
    for (size_t i = 2; i < operands_.size(); ++i) {
      need_index(operand(i));
      need(operand(i).sizes == operand(2).sizes, "indices differ in shape");
    }
    const auto begin = base.sizes.begin();
    std::vector<Sym> sizes(begin, begin + over.front());
    sizes.insert(sizes.end(), operand(2).sizes.begin(), operand(2).sizes.end());
    sizes.insert(sizes.end(), begin + over.back() + 1, base.sizes.end());
    need(updates.sizes == sizes, "updates do not fit base and indices");
    return make_type(base.dtype, base.sizes);
  }

  TensorType copy_to() {
    need(operand(0).dtype == operand(1).dtype, "target and value differ in dtype");
    need(operand(0).sizes == operand(1).sizes, "target and value differ in shape");
    return operand(0);
  }

  const Op op_;
  const std::vector<TensorType>& operands_;
  const Attrs& attrs_;
};

}  // namespace

DType reduce_dtype(ReduceOp op, DType operand) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::prod:
      return is_float(operand) ? operand : DType::i64;
    case ReduceOp::max:
    case ReduceOp::min:
      return operand;
    case ReduceOp::argmax:
    case ReduceOp::argmin:
      return DType::i64;
    case ReduceOp::exp_sum:
      break;
  }
  return operand;
}

TensorType infer(Op op, const std::vector<TensorType>& operands, const Attrs& attrs) {
  return Infer(op, operands, attrs).run();
}

std::vector<Sym> broadcast(const std::vector<std::vector<Sym>>& shapes) {
  size_t rank = 0;
  for (const auto& s : shapes) rank = std::max(rank, s.size());
  std::vector<Sym> out(rank, Sym(1));
  for (const auto& s : shapes) {
    const size_t lead = rank - s.size();
    for (size_t i = 0; i < s.size(); ++i) {
      Sym& o = out[lead + i];
      if (s[i].is_const(1)) continue;
      if (!o.is_const(1) && differ(o, s[i]))
        OURJIT_RAISE(UserError) << "sizes " << o.str() << " and " << s[i].str()
                                << " do not broadcast";
      if (o.is_const(1) || s[i].is_const()) o = s[i];
    }
  }
  return out;
}

std::optional<std::vector<Sym>> view_strides(const TensorType& t, const std::vector<Sym>& sizes) {
  if (t.sizes == sizes) return t.strides;
  for (const Sym& s : t.sizes)
    if (s.is_const(0)) return contiguous_strides(sizes);
  std::vector<Sym> out(sizes.size(), Sym(1));
  size_t j = sizes.size();  // sizes[j..] are done
  size_t i = t.sizes.size();
  while (i > 0) {
    if (t.sizes[i - 1].is_const(1)) {
      --i;
      continue;
    }
    // The longest run of dims that lie in memory as one.
    Sym step = t.strides[i - 1], run = t.sizes[i - 1];
    for (--i; i > 0; --i) {
      if (t.sizes[i - 1].is_const(1)) continue;
      if (t.strides[i - 1] != run * step) break;
      run *= t.sizes[i - 1];
    }
    Sym done = 1;
    while (done != run) {
      if (j == 0) return std::nullopt;
      if (done.is_const() && run.is_const() && done.value() > run.value()) return std::nullopt;
      --j;
      out[j] = step * done;
      done *= sizes[j];
    }
  }
  while (j > 0) {
    --j;
    if (!sizes[j].is_const(1)) return std::nullopt;
    out[j] = j + 1 < sizes.size() ? out[j + 1] * sizes[j + 1] : Sym(1);
  }
  return out;
}

}  // namespace ourjit
