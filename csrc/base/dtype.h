// Element types: one table, promotion, sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ourjit {

// name, bytes, kind, native (kernels can compute with it)
// Floats of 16 and 8 bits are stored so and computed in f32. f8e4m3 is torch's float8_e4m3fn: no
// infinities, one NaN of each sign, and what is beyond 448 becomes 448; f8e5m2 is the upper half of
// f16.
#define OURJIT_FOR_EACH_DTYPE(X)      \
  X(boolean, "bool", 1, Bool, true)   \
  X(u8, "u8", 1, Unsigned, true)      \
  X(i8, "i8", 1, Signed, true)        \
  X(i16, "i16", 2, Signed, true)      \
  X(i32, "i32", 4, Signed, true)      \
  X(i64, "i64", 8, Signed, true)      \
  X(f16, "f16", 2, Float, true)       \
  X(bf16, "bf16", 2, Float, true)     \
  X(f8e4m3, "f8e4m3", 1, Float, true) \
  X(f8e5m2, "f8e5m2", 1, Float, true) \
  X(f32, "f32", 4, Float, true)       \
  X(f64, "f64", 8, Float, true)       \
  X(c64, "c64", 8, Other, false)      \
  X(c128, "c128", 16, Other, false)   \
  X(u16, "u16", 2, Other, false)      \
  X(u32, "u32", 4, Other, false)      \
  X(u64, "u64", 8, Other, false)

enum class DType : uint8_t {
#define X(id, name, bytes, kind, native) id,
  OURJIT_FOR_EACH_DTYPE(X)
#undef X
};

enum class DTypeKind : uint8_t { Bool, Unsigned, Signed, Float, Other };

/// "f32", "bool", ...
std::string_view dtype_name(DType t);
/// Inverse of dtype_name.
std::optional<DType> parse_dtype(std::string_view name);
/// Bytes of one element in memory.
int64_t dtype_bytes(DType t);
DTypeKind dtype_kind(DType t);
/// True if kernels can compute with it.
bool is_native(DType t);

inline bool is_float(DType t) { return dtype_kind(t) == DTypeKind::Float; }
/// Of 16 bits.
inline bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }
inline bool is_bool(DType t) { return t == DType::boolean; }
inline bool is_complex(DType t) { return t == DType::c64 || t == DType::c128; }
/// Integers without bool.
inline bool is_integer(DType t) {
  return dtype_kind(t) == DTypeKind::Signed || dtype_kind(t) == DTypeKind::Unsigned;
}

/// torch's promotion of two tensor dtypes of equal category rank (torch.promote_types).
DType promote(DType a, DType b);
/// The dtype in which kernels compute values of `t`: f32 for narrow floats, else `t`.
DType compute_dtype(DType t);
/// True for floats that kernels store and convert, but do not compute with.
inline bool is_narrow_float(DType t) { return compute_dtype(t) != t; }

}  // namespace ourjit
