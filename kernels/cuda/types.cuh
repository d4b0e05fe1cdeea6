// What generated CUDA kernels are written in. No header is included, so that compiling a kernel
// costs little more than the kernel. Under OJ_EMULATE a host compiler reads the same text; what the
// device alone can do then comes from functions oj_emulate_* that the emulator declares before.

typedef long long oj_i64;
typedef unsigned long long oj_u64;

#define OJ_FUNCTION static __device__ __forceinline__
#define OJ_UNROLL _Pragma("unroll")
#define OJ_UNROLL_4 _Pragma("unroll 4")
#define OJ_ROLLED _Pragma("unroll 1")

#ifdef OJ_EMULATE
#define OJ_SHARED(T, name, n)                       \
  static T name[n];                                 \
  oj_emulate_shared(#name, name, (n) * sizeof(T))
#define OJ_BUFFER(name, n) oj_emulate_buffer(#name, name, (oj_u64)(n) * sizeof(*name))
#else
#define OJ_SHARED(T, name, n) __shared__ __align__(16) T name[n]
#define OJ_BUFFER(name, n)
#endif

// --- bits ---

OJ_FUNCTION unsigned oj_bits(float x) {
#ifdef OJ_EMULATE
  return oj_emulate_cast<unsigned>(x);
#else
  return __float_as_uint(x);
#endif
}
OJ_FUNCTION float oj_from_bits(unsigned x) {
#ifdef OJ_EMULATE
  return oj_emulate_cast<float>(x);
#else
  return __uint_as_float(x);
#endif
}
OJ_FUNCTION oj_u64 oj_bits(double x) {
#ifdef OJ_EMULATE
  return oj_emulate_cast<oj_u64>(x);
#else
  return (oj_u64)__double_as_longlong(x);
#endif
}
OJ_FUNCTION double oj_from_bits(oj_u64 x) {
#ifdef OJ_EMULATE
  return oj_emulate_cast<double>(x);
#else
  return __longlong_as_double((oj_i64)x);
#endif
}

template <class T>
OJ_FUNCTION T oj_infinity();
template <>
__device__ __forceinline__ float oj_infinity<float>() {
  return oj_from_bits(0x7f800000u);
}
template <>
__device__ __forceinline__ double oj_infinity<double>() {
  return oj_from_bits(0x7ff0000000000000ull);
}
template <class T>
OJ_FUNCTION T oj_nan();
template <>
__device__ __forceinline__ float oj_nan<float>() {
  return oj_from_bits(0x7fc00000u);
}
template <>
__device__ __forceinline__ double oj_nan<double>() {
  return oj_from_bits(0x7ff8000000000000ull);
}

// --- floats of 16 bits: kept in memory, computed in float ---

struct oj_bf16 {
  unsigned short bits;
};
struct oj_f16 {
  unsigned short bits;
};

OJ_FUNCTION float oj_float(oj_bf16 x) { return oj_from_bits((unsigned)x.bits << 16); }

OJ_FUNCTION oj_bf16 oj_to_bf16(float x) {
  const unsigned b = oj_bits(x);
  oj_bf16 r;
  // To nearest, ties to even; a NaN stays one.
  r.bits = x != x ? (unsigned short)(b >> 16 | 0x40)
                  : (unsigned short)((b + 0x7fff + (b >> 16 & 1)) >> 16);
  return r;
}

OJ_FUNCTION float oj_float(oj_f16 x) {
#ifdef OJ_EMULATE
  return oj_emulate_half_to_float(x.bits);
#else
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
  return r;
#endif
}

OJ_FUNCTION oj_f16 oj_to_f16(float x) {
  oj_f16 r;
#ifdef OJ_EMULATE
  r.bits = oj_emulate_float_to_half(x);
#else
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
#endif
  return r;
}

// --- floats of 8 bits, as c10/util/Float8_e4m3fn.h and Float8_e5m2.h convert them ---

struct oj_f8e4m3 {
  unsigned char bits;
};
struct oj_f8e5m2 {
  unsigned char bits;
};

OJ_FUNCTION float oj_float(oj_f8e5m2 x) {
  oj_f16 half;
  half.bits = (unsigned short)(x.bits << 8);
  return oj_float(half);
}

// Another bias, less the numbers whose exponent is 0: these are multiples of 2^-9.
OJ_FUNCTION float oj_float(oj_f8e4m3 x) {
  const unsigned magnitude = x.bits & 0x7fu, sign = (x.bits & 0x80u) << 24;
  const unsigned large = (magnitude << 20) + (120u << 23), small = oj_bits((float)magnitude * 0x1p-9f);
  return oj_from_bits(sign | (magnitude == 0x7fu ? 0x7fc00000u : magnitude < 8 ? small : large));
}

// To nearest, ties to even: numbers whose exponent will be 0 by an addition that pushes the other
// bits out, the rest in integer arithmetic. From `beyond` on the result is `largest`, or NaN.
template <int Mantissa, int Bias>
OJ_FUNCTION unsigned char oj_to_f8(float x, unsigned beyond, unsigned largest) {
  constexpr int kDropped = 23 - Mantissa;
  const unsigned magnitude = oj_bits(x) & 0x7fffffffu;
  constexpr unsigned kPush = (unsigned)(127 + 1 - Bias - Mantissa + 23) << 23;
  const unsigned small = oj_bits(oj_from_bits(magnitude) + oj_from_bits(kPush)) - kPush;
  const unsigned large = (magnitude + ((unsigned)(Bias - 127) << 23) + (1u << (kDropped - 1)) - 1 +
                          (magnitude >> kDropped & 1)) >> kDropped;
  const unsigned r = x != x                                         ? 0x7f
                     : magnitude >= beyond                          ? largest
                     : magnitude < (unsigned)(127 + 1 - Bias) << 23 ? small
                                                                     : large;
  return (unsigned char)(r | (oj_bits(x) >> 24 & 0x80u));
}
OJ_FUNCTION oj_f8e4m3 oj_to_f8e4m3(float x) {
  oj_f8e4m3 r;
  r.bits = oj_to_f8<3, 7>(x, 0x43e80000, 0x7e);  // 464
  return r;
}
OJ_FUNCTION oj_f8e5m2 oj_to_f8e5m2(float x) {
  oj_f8e5m2 r;
  r.bits = oj_to_f8<2, 15>(x, 0x47800000, 0x7c);  // 65536
  return r;
}

// --- casts ---

// The number that a value stands for, in a type that C computes with.
template <class T>
OJ_FUNCTION T oj_number(T x) {
  return x;
}
OJ_FUNCTION float oj_number(oj_bf16 x) { return oj_float(x); }
OJ_FUNCTION float oj_number(oj_f16 x) { return oj_float(x); }
OJ_FUNCTION float oj_number(oj_f8e4m3 x) { return oj_float(x); }
OJ_FUNCTION float oj_number(oj_f8e5m2 x) { return oj_float(x); }

template <class To>
struct oj_cast_to {
  template <class From>
  static __device__ __forceinline__ To from(From x) {
    return (To)x;
  }
  // Out of range, floats give what x86 does: the most negative number, or its low bits.
  static __device__ __forceinline__ To from(float x) { return from_float(x, (To)0.5f); }
  static __device__ __forceinline__ To from(double x) { return from_float(x, (To)0.5f); }

 private:
  template <class From>
  static __device__ __forceinline__ To from_float(From x, float) {
    return (To)x;
  }
  template <class From>
  static __device__ __forceinline__ To from_float(From x, double) {
    return (To)x;
  }
  template <class From, class Integer>
  static __device__ __forceinline__ To from_float(From x, Integer) {
    if (sizeof(To) == 8)
      return x >= -9223372036854775808.0f && x < 9223372036854775808.0f
                 ? (To)x
                 : (To)(-9223372036854775807ll - 1);
    return x > -2147483649.0 && x < 2147483648.0 ? (To)(int)x : (To)(-2147483647 - 1);
  }
};
template <>
struct oj_cast_to<bool> {
  template <class From>
  static __device__ __forceinline__ bool from(From x) {
    return x != 0;
  }
};
template <>
struct oj_cast_to<oj_bf16> {
  template <class From>
  static __device__ __forceinline__ oj_bf16 from(From x) {
    return oj_to_bf16((float)x);
  }
};
template <>
struct oj_cast_to<oj_f16> {
  template <class From>
  static __device__ __forceinline__ oj_f16 from(From x) {
    return oj_to_f16((float)x);
  }
};

template <>
struct oj_cast_to<oj_f8e4m3> {
  template <class From>
  static __device__ __forceinline__ oj_f8e4m3 from(From x) {
    return oj_to_f8e4m3((float)x);
  }
};
template <>
struct oj_cast_to<oj_f8e5m2> {
  template <class From>
  static __device__ __forceinline__ oj_f8e5m2 from(From x) {
    return oj_to_f8e5m2((float)x);
  }
};

template <class To, class From>
OJ_FUNCTION To oj_cast(From x) {
  return oj_cast_to<To>::from(oj_number(x));
}
