#include "adapter/operators.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>
#include <ATen/core/List.h>
#include <ATen/core/jit_type.h>
#include <ATen/ops/scalar_tensor.h>

#include <array>
#include <bit>
#include <charconv>
#include <mutex>

#include "adapter/dtypes.h"
#include "adapter/native_calls.h"
#include "base/error.h"

namespace ourjit {

namespace {

struct TargetName {
  std::string op, overload;
};

/// "aten.add.Tensor" is operator aten::add, overload Tensor; "default" is the overload without a
/// name.
TargetName split(const std::string& target) {
  const size_t first = target.find('.'), last = target.rfind('.');
  if (first == std::string::npos || first == last)
    OURJIT_RAISE(UserError) << "'" << target << "' is not of the form namespace.name.overload";
  std::string overload = target.substr(last + 1);
  if (overload == "default") overload.clear();
  return {target.substr(0, first) + "::" + target.substr(first + 1, last - first - 1), overload};
}

/// One argument, converted to the schema's type.
class Converter {
 public:
  Converter(const std::string& where, const ArgumentValues& values)
      : where_(where), values_(values) {}

  c10::IValue convert(const CallArg& a, const c10::TypePtr& type) const {
    if (std::holds_alternative<CallNone>(a.v)) return {};
    if (const auto* t = std::get_if<CallTensor>(&a.v)) return values_.tensor(t->tensor);
    switch (type->kind()) {
      case c10::TypeKind::OptionalType:
        return convert(a, type->castRaw<c10::OptionalType>()->getElementType());
      case c10::TypeKind::ListType:
        return list(a, type->castRaw<c10::ListType>()->getElementType());
      case c10::TypeKind::TensorType:
        return scalar_tensor(a);
      case c10::TypeKind::FloatType:
        return number(a).toDouble();
      case c10::TypeKind::BoolType:
        return std::holds_alternative<bool>(a.v) ? c10::IValue(std::get<bool>(a.v))
                                                 : c10::IValue(number(a).toLong() != 0);
      case c10::TypeKind::IntType:
      case c10::TypeKind::SymIntType:
        if (const auto* e = std::get_if<CallEnum>(&a.v)) return enumerator(*e);
        return number(a).toLong();
      case c10::TypeKind::NumberType:
        return c10::IValue(number(a));
      case c10::TypeKind::StringType:
        if (const auto* s = std::get_if<std::string>(&a.v)) return c10::IValue(*s);
        break;
      case c10::TypeKind::DeviceObjType:
        if (const auto* e = std::get_if<CallEnum>(&a.v)) return c10::IValue(c10::Device(e->name));
        if (const auto* s = std::get_if<std::string>(&a.v)) return c10::IValue(c10::Device(*s));
        break;
      default:
        break;
    }
    if (const auto* e = std::get_if<CallEnum>(&a.v)) return enumerator(*e);
    fail(type->str());
  }

 private:
  [[noreturn]] void fail(const std::string& type) const {
    throw Unsupported(where_ + ": an argument cannot be converted to " + type);
  }

  c10::Scalar number(const CallArg& a) const {
    if (const auto* b = std::get_if<bool>(&a.v)) return c10::Scalar(*b);
    if (const auto* s = std::get_if<Sym>(&a.v)) return c10::Scalar(values_.size(*s));
    if (const auto* d = std::get_if<double>(&a.v)) return c10::Scalar(*d);
    if (const auto* e = std::get_if<CallEnum>(&a.v); e && e->kind == "complex") return complex(*e);
    fail("a number");
  }

  /// "x3ff0000000000000_0000000000000000": the bits of the real and the imaginary part as f64.
  c10::Scalar complex(const CallEnum& e) const {
    uint64_t bits[2] = {};
    const char* const end = e.name.data() + e.name.size();
    for (size_t i = 0; i < 2; ++i) {
      const char* const from = e.name.data() + 1 + 17 * i;
      if (from > end || std::from_chars(from, end, bits[i], 16).ec != std::errc())
        fail("a complex number");
    }
    return c10::complex<double>(std::bit_cast<double>(bits[0]), std::bit_cast<double>(bits[1]));
  }

  /// A number where the schema wants a tensor: a 0-d one, marked so that it does not promote.
  c10::IValue scalar_tensor(const CallArg& a) const {
    const c10::Scalar x = number(a);
    at::Tensor t = at::scalar_tensor(x, at::TensorOptions(x.type()));
    t.unsafeGetTensorImpl()->set_wrapped_number(true);
    return t;
  }

  c10::IValue enumerator(const CallEnum& e) const {
    if (e.kind == "dtype") {
      const auto t = parse_dtype(e.name);
      if (!t) fail("a dtype");
      return static_cast<int64_t>(to_torch(*t));
    }
    if (e.kind == "device") return c10::Device(e.name);
    if (e.kind == "layout" && e.name == "strided")
      return static_cast<int64_t>(c10::Layout::Strided);
    if (e.kind == "memory_format") {
      constexpr std::array names = {"contiguous_format", "preserve_format", "channels_last",
                                    "channels_last_3d"};
      for (size_t i = 0; i < names.size(); ++i)
        if (e.name == names[i]) return static_cast<int64_t>(i);
    }
    fail(e.kind + " " + e.name);
  }

  template <class T, class Get>
  c10::IValue typed_list(const std::vector<CallArg>& items, const Get& get) const {
    c10::List<T> out;
    out.reserve(items.size());
    for (const CallArg& i : items) out.push_back(get(i));
    return out;
  }

  c10::IValue list(const CallArg& a, const c10::TypePtr& element) const {
    const auto* given = std::get_if<std::vector<CallArg>>(&a.v);
    // A single number stands for a list of one, as in schemas like int[2].
    const std::vector<CallArg> items = given ? *given : std::vector<CallArg>{a};
    switch (element->kind()) {
      case c10::TypeKind::IntType:
      case c10::TypeKind::SymIntType:
        return typed_list<int64_t>(items, [&](const CallArg& i) { return number(i).toLong(); });
      case c10::TypeKind::FloatType:
        return typed_list<double>(items, [&](const CallArg& i) { return number(i).toDouble(); });
      case c10::TypeKind::BoolType:
        return typed_list<bool>(items, [&](const CallArg& i) { return number(i).toLong() != 0; });
      case c10::TypeKind::TensorType:
        return typed_list<at::Tensor>(
            items, [&](const CallArg& i) { return convert(i, element).toTensor(); });
      case c10::TypeKind::OptionalType:
        return typed_list<std::optional<at::Tensor>>(
            items, [&](const CallArg& i) -> std::optional<at::Tensor> {
              const c10::IValue v = convert(i, element);
              return v.isNone() ? std::nullopt : std::optional(v.toTensor());
            });
      case c10::TypeKind::NumberType: {
        c10::impl::GenericList out(c10::NumberType::get());
        for (const CallArg& i : items) out.push_back(c10::IValue(number(i)));
        return out;
      }
      default:
        fail("a list of " + element->str());
    }
  }

  const std::string& where_;
  const ArgumentValues& values_;
};

}  // namespace

c10::OperatorHandle find_operator(const std::string& target) {
  const TargetName name = split(target);
  const auto op = c10::Dispatcher::singleton().findSchema({name.op, name.overload});
  if (!op) OURJIT_RAISE(Unsupported) << "torch has no operator " << target;
  return *op;
}

std::optional<c10::OperatorHandle> find_out_variant(const std::string& target,
                                                    c10::DeviceType device) {
  const TargetName name = split(target);
  const c10::DispatchKey key =
      device == c10::kCUDA ? c10::DispatchKey::CUDA : c10::DispatchKey::CPU;
  auto& dispatcher = c10::Dispatcher::singleton();
  const auto functional = dispatcher.findSchema({name.op, name.overload});
  // Only structured kernels compute in place; they are those whose functional form is also
  // registered for this key. Other .out overloads compute a result and copy it.
  if (!functional || !functional->hasKernelForDispatchKey(
                         c10::DispatchKey::CompositeExplicitAutogradNonFunctional))
    return std::nullopt;
  const size_t results = functional->schema().returns().size();
  const size_t arguments = functional->schema().arguments().size();
  const std::vector<std::string> candidates = {name.overload + "_out", "out", "grad_input",
                                               "values", "values_stable"};
  for (const std::string& overload : candidates) {
    const auto op = dispatcher.findSchema({name.op, overload});
    if (!op || op->schema().arguments().size() != arguments + results) continue;
    bool fits = true;
    for (size_t i = 0; i < arguments; ++i)
      fits &= op->schema().arguments()[i].name() == functional->schema().arguments()[i].name();
    if (fits && op->hasKernelForDispatchKey(key)) return op;
  }
  return std::nullopt;
}

std::vector<c10::IValue> make_arguments(const c10::OperatorHandle& op,
                                        const std::vector<CallArg>& args,
                                        const ArgumentValues& values) {
  const auto& schema = op.schema().arguments();
  const std::string name = toString(op.operator_name());
  if (args.size() > schema.size())
    OURJIT_RAISE(Unsupported) << name << " takes " << schema.size() << " arguments, not "
                              << args.size();
  const Converter converter(name, values);
  std::vector<c10::IValue> stack;
  stack.reserve(schema.size());
  for (size_t i = 0; i < args.size(); ++i)
    stack.push_back(converter.convert(args[i], schema[i].real_type()));
  return stack;
}

std::vector<at::Tensor> flatten_results(std::vector<c10::IValue>& stack) {
  std::vector<at::Tensor> tensors;
  for (c10::IValue& v : stack) {
    if (v.isTensor())
      tensors.push_back(std::move(v).toTensor());
    else if (v.isTensorList())
      for (at::Tensor t : v.toTensorVector()) tensors.push_back(std::move(t));
    else
      tensors.emplace_back();
  }
  stack.clear();
  return tensors;
}

bool AtenCallInfo::writes_into_results(const std::string& target, bool all) const {
  if (device_ == c10::kCPU && find_native_call(target)) return true;
  // An overload of ATen's that writes into memory needs some for each result.
  return all && (is_rng_seed(target) || find_out_variant(target, device_).has_value());
}

bool AtenCallInfo::is_pointwise(const std::string& target) const {
  const TargetName name = split(target);
  const auto op = c10::Dispatcher::singleton().findSchema({name.op, name.overload});
  return op && op->hasTag(at::Tag::pointwise);
}

bool is_rng_seed(const std::string& target) { return target == "ourjit.rng_seed.default"; }

int64_t draw_seed() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  return static_cast<int64_t>(at::check_generator<at::CPUGeneratorImpl>(generator)->random64());
}

}  // namespace ourjit
