#include "adapter/dtypes.h"

#include "base/error.h"

namespace ourjit {

namespace {
struct Row {
  DType ours;
  c10::ScalarType torchs;
};
constexpr Row kRows[] = {
    {DType::boolean, c10::ScalarType::Bool},
    {DType::u8, c10::ScalarType::Byte},
    {DType::i8, c10::ScalarType::Char},
    {DType::i16, c10::ScalarType::Short},
    {DType::i32, c10::ScalarType::Int},
    {DType::i64, c10::ScalarType::Long},
    {DType::f16, c10::ScalarType::Half},
    {DType::bf16, c10::ScalarType::BFloat16},
    {DType::f32, c10::ScalarType::Float},
    {DType::f64, c10::ScalarType::Double},
    {DType::c64, c10::ScalarType::ComplexFloat},
    {DType::c128, c10::ScalarType::ComplexDouble},
    {DType::u16, c10::ScalarType::UInt16},
    {DType::u32, c10::ScalarType::UInt32},
    {DType::u64, c10::ScalarType::UInt64},
    {DType::f8e4m3, c10::ScalarType::Float8_e4m3fn},
    {DType::f8e5m2, c10::ScalarType::Float8_e5m2},
};
}  // namespace

c10::ScalarType to_torch(DType t) {
  for (const Row& r : kRows)
    if (r.ours == t) return r.torchs;
  OURJIT_RAISE(InternalError) << "dtype " << dtype_name(t) << " has no torch type";
}

std::optional<DType> from_torch(c10::ScalarType t) {
  for (const Row& r : kRows)
    if (r.torchs == t) return r.ours;
  return std::nullopt;
}

}  // namespace ourjit
