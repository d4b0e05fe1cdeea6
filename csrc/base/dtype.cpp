#include "base/dtype.h"

#include <array>

namespace ourjit {
namespace {

struct Row {
  std::string_view name;
  int64_t bytes;
  DTypeKind kind;
  bool native;
};

constexpr Row kRows[] = {
#define X(id, name, bytes, kind, native) {name, bytes, DTypeKind::kind, native},
    OURJIT_FOR_EACH_DTYPE(X)
#undef X
};

const Row& row(DType t) { return kRows[static_cast<size_t>(t)]; }

}  // namespace

std::string_view dtype_name(DType t) { return row(t).name; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (size_t i = 0; i < std::size(kRows); ++i)
    if (kRows[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

int64_t dtype_bytes(DType t) { return row(t).bytes; }
DTypeKind dtype_kind(DType t) { return row(t).kind; }
bool is_native(DType t) { return row(t).native; }

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (is_float(a) != is_float(b)) return is_float(a) ? a : b;
  if (is_float(a)) {
    if (dtype_bytes(a) == dtype_bytes(b)) return DType::f32;  // f16 with bf16, f8e4m3 with f8e5m2
    return dtype_bytes(a) > dtype_bytes(b) ? a : b;
  }
  if (is_bool(a)) return b;
  if (is_bool(b)) return a;
  if (a == DType::u8 || b == DType::u8) {
    const DType other = a == DType::u8 ? b : a;
    return other == DType::i8 ? DType::i16 : other;
  }
  return dtype_bytes(a) > dtype_bytes(b) ? a : b;
}

DType compute_dtype(DType t) { return is_float(t) && dtype_bytes(t) < 4 ? DType::f32 : t; }

}  // namespace ourjit
