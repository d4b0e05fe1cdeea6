#include "runtime/plan_bytes.h"

#include <optional>
#include <utility>
#include <variant>

namespace ourjit {

namespace {

// fields(io, x) names the fields of a struct once, for ByteWriter and for ByteReader, which fills
// them.

template <class IO, class T>
using Of = std::conditional_t<IO::kReads, T, const T>;

template <class IO, class T>
void value(IO& io, T& x);

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVariant : std::false_type {};
template <class... Ts>
struct IsVariant<std::variant<Ts...>> : std::true_type {};

template <class IO>
void fields(IO&, Of<IO, CallNone>&) {}
template <class IO>
void fields(IO& io, Of<IO, PlanBuffer>& x) {
  value(io, x.kind), value(io, x.input), value(io, x.bytes), value(io, x.name);
}
template <class IO>
void fields(IO& io, Of<IO, PlanTensor>& x) {
  value(io, x.buffer), value(io, x.dtype), value(io, x.sizes), value(io, x.strides),
      value(io, x.offset);
}
template <class IO>
void fields(IO& io, Of<IO, LaunchRow>& x) {
  value(io, x.tensors), value(io, x.sizes), value(io, x.extent);
}
template <class IO>
void fields(IO& io, Of<IO, LaunchStep>& x) {
  value(io, x.kernel), value(io, x.rows), value(io, x.cost_ns), value(io, x.silent);
}
template <class IO>
void fields(IO& io, Of<IO, CallTensor>& x) {
  value(io, x.tensor);
}
template <class IO>
void fields(IO& io, Of<IO, CallEnum>& x) {
  value(io, x.kind), value(io, x.name);
}
template <class IO>
void fields(IO& io, Of<IO, CallArg>& x) {
  value(io, x.v);
}
template <class IO>
void fields(IO& io, Of<IO, CallStep>& x) {
  value(io, x.target), value(io, x.args), value(io, x.results), value(io, x.into_results),
      value(io, x.loc);
}
template <class IO>
void fields(IO& io, Of<IO, SymbolSource>& x) {
  value(io, x.symbol), value(io, x.input), value(io, x.dim);
}
template <class IO>
void fields(IO& io, Of<IO, PlanInput>& x) {
  value(io, x.is_number), value(io, x.dtype), value(io, x.sizes), value(io, x.strides),
      value(io, x.name), value(io, x.written);
}
template <class IO>
void fields(IO& io, Of<IO, PlanOutput>& x) {
  value(io, x.tensor), value(io, x.number), value(io, x.same_as), value(io, x.shares);
}
template <class IO>
void fields(IO& io, Of<IO, PlanKernel>& x) {
  value(io, x.name);
}
template <class IO>
void fields(IO& io, Of<IO, Plan>& x) {
  value(io, x.name), value(io, x.inputs), value(io, x.symbols), value(io, x.buffers),
      value(io, x.tensors), value(io, x.kernels), value(io, x.steps), value(io, x.outputs),
      value(io, x.guarded), value(io, x.tensors_on), value(io, x.matmul);
}

template <class T>
constexpr bool kIsPrimitive = std::is_arithmetic_v<T> || std::is_enum_v<T> ||
                              std::is_same_v<T, std::string> || std::is_same_v<T, Sym>;

/// Reads the alternative of that number.
template <size_t I = 0, class IO, class V>
void read_alternative(IO& io, V& x, size_t number) {
  if constexpr (I < std::variant_size_v<V>) {
    if (number != I) return read_alternative<I + 1>(io, x, number);
    value(io, x.template emplace<I>());
  } else {
    throw BadBytes("a variant has no alternative of that number");
  }
}

template <class IO, class T>
void value(IO& io, T& x) {
  using U = std::remove_const_t<T>;
  if constexpr (kIsPrimitive<U>) {
    io(x);
  } else if constexpr (IsVector<U>::value) {
    if constexpr (IO::kReads)
      x.resize(io.length());
    else
      io(static_cast<uint64_t>(x.size()));
    for (auto& element : x) value(io, element);
  } else if constexpr (IsOptional<U>::value) {
    bool is_there = x.has_value();
    io(is_there);
    if constexpr (IO::kReads) x = is_there ? U(std::in_place) : U();
    if (is_there) value(io, *x);
  } else if constexpr (IsVariant<U>::value) {
    uint8_t number = static_cast<uint8_t>(x.index());
    io(number);
    if constexpr (IO::kReads)
      read_alternative(io, x, number);
    else
      std::visit([&](const auto& alternative) { value(io, alternative); }, x);
  } else {
    fields(io, x);
  }
}

}  // namespace

void write(ByteWriter& out, const Plan& plan) { value(out, plan); }

Plan read_plan(ByteReader& in) {
  Plan plan;
  value(in, plan);
  return plan;
}

}  // namespace ourjit
