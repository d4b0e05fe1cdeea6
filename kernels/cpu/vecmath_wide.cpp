// Functions on the float lanes of several registers at once. The chains of dependent steps that
// each function consists of are then interleaved, so that one register's steps fill the latency of
// the others'. Lane by lane the results are those of vecmath.cpp.
//
// No ABI passes such vectors in registers: oj_<op>_f32_x4(x, y), if there are four, reads F from x
// and writes F to y, which vanishes where it is inlined.
#include "vecmath.h"

#include "error_function.h"
#include "exponential.h"
#include "logarithm.h"
#include "random.h"
#include "trigonometric.h"

#define OJ_ALWAYS_INLINE extern "C" __attribute__((always_inline))

namespace {

using oj::F;
using oj::I64;
using Index = long __attribute__((ext_vector_type(oj::kFloatLanes)));

template <class V>
OJ_INLINE V read(const void* from) {
  V x;
  __builtin_memcpy(&x, from, sizeof(V));
  return x;
}
template <class V>
OJ_INLINE void write(void* to, V x) {
  __builtin_memcpy(to, &x, sizeof(V));
}

}  // namespace

#define OJ_JOIN_(op, registers) oj_##op##_f32_x##registers
#define OJ_JOIN(op, registers) OJ_JOIN_(op, registers)
#define OJ_NAME(op) OJ_JOIN(op, OURJIT_VECTOR_REGISTERS)

#define OJ_WIDE(name) \
  OJ_ALWAYS_INLINE void OJ_NAME(name)(const void* x, void* y) { write(y, oj::name(read<F>(x))); }
OJ_SMALL_UNARY_FUNCTIONS(OJ_WIDE)

#define OJ_WIDE_RANDOM(name, number)                                        \
  OJ_ALWAYS_INLINE void OJ_NAME(name)(long seed, const void* at, void* y) { \
    const Index index = read<Index>(at);                                    \
    write(y, oj::number(seed, I64(index.lo), I64(index.hi)));               \
  }
OJ_WIDE_RANDOM(rand_uniform, uniform)
OJ_WIDE_RANDOM(rand_normal, normal)
