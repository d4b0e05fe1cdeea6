#define OURJIT_KERNEL static
#include "../vecmath.cpp"

#include "vecmath_arrays.h"

namespace {

using oj::D;
using oj::F;
using oj::I64;

/// The bytes of a vector at any address.
template <class V>
V load(const void* address) {
  V value;
  __builtin_memcpy(&value, address, sizeof(V));
  return value;
}

template <class V>
void store(void* address, V value) {
  __builtin_memcpy(address, &value, sizeof(V));
}

template <class V, V (*function)(V)>
void apply1(const void* a, const void*, void* out, std::size_t count) {
  for (std::size_t at = 0; at < count * sizeof(oj::Scalar<V>); at += sizeof(V)) {
    store(static_cast<char*>(out) + at, function(load<V>(static_cast<const char*>(a) + at)));
  }
}

template <class V, V (*function)(V, V)>
void apply2(const void* a, const void* b, void* out, std::size_t count) {
  for (std::size_t at = 0; at < count * sizeof(oj::Scalar<V>); at += sizeof(V)) {
    V left = load<V>(static_cast<const char*>(a) + at);
    V right = load<V>(static_cast<const char*>(b) + at);
    store(static_cast<char*>(out) + at, function(left, right));
  }
}

template <F (*function)(long, I64, I64)>
void random_f32(long seed, const long* index, void* out, std::size_t count) {
  for (std::size_t i = 0; i < count; i += oj::kFloatLanes) {
    I64 lo = load<I64>(index + i);
    I64 hi = load<I64>(index + i + oj::kDoubleLanes);
    store(static_cast<float*>(out) + i, function(seed, lo, hi));
  }
}

template <D (*function)(long, I64)>
void random_f64(long seed, const long* index, void* out, std::size_t count) {
  for (std::size_t i = 0; i < count; i += oj::kDoubleLanes) {
    store(static_cast<double*>(out) + i, function(seed, load<I64>(index + i)));
  }
}

#define OJ_ENTRY(name, operands)                                 \
  {#name, false, operands, apply##operands<F, oj_##name##_f32>}, \
      {#name, true, operands, apply##operands<D, oj_##name##_f64>},

const ourjit::VecmathFunction functions[] = {
#define OJ_UNARY_ENTRY(name) OJ_ENTRY(name, 1)
#define OJ_BINARY_ENTRY(name) OJ_ENTRY(name, 2)
    OJ_UNARY_FUNCTIONS(OJ_UNARY_ENTRY) OJ_BINARY_FUNCTIONS(OJ_BINARY_ENTRY)};

const ourjit::VecmathRandom randoms[] = {
    {"rand_uniform", false, random_f32<oj_rand_uniform_f32>},
    {"rand_uniform", true, random_f64<oj_rand_uniform_f64>},
    {"rand_normal", false, random_f32<oj_rand_normal_f32>},
    {"rand_normal", true, random_f64<oj_rand_normal_f64>},
};

const ourjit::VecmathTable table = {
    OURJIT_VECTOR_BITS,
    functions,
    sizeof(functions) / sizeof(functions[0]),
    randoms,
    sizeof(randoms) / sizeof(randoms[0]),
};

}  // namespace

#define OURJIT_TABLE_NAME_OF(bits) ourjit_vecmath_table_##bits
#define OURJIT_TABLE_NAME(bits) OURJIT_TABLE_NAME_OF(bits)

extern "C" const ourjit::VecmathTable* OURJIT_TABLE_NAME(OURJIT_VECTOR_BITS)() { return &table; }
