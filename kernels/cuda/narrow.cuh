// --- bf16: floats of 16 and 8 bits are kept in memory and computed in float ---

struct oj_bf16 {
  unsigned short bits;
};

OJ_FUNCTION float oj_number(oj_bf16 x) { return oj_from_bits((unsigned)x.bits << 16); }

// The upper half of a float, to nearest, ties to even; a NaN stays one.
OJ_FUNCTION unsigned oj_rounded_half(float x) {
  const unsigned bits = oj_bits(x);
  return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Two of them in a word, the first one low.
OJ_FUNCTION unsigned oj_bf16_pair(float first, float second) {
#ifdef OJ_DEVICE_80
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(second), "f"(first));
  return r;
#else
  return oj_rounded_half(second) << 16 | oj_rounded_half(first);
#endif
}

template <>
struct oj_cast_to<oj_bf16> {
  template <class From>
  static __device__ __forceinline__ oj_bf16 from(From x) {
    return {(unsigned short)oj_bf16_pair((float)x, 0.0f)};
  }
};

OJ_FUNCTION void oj_unpack(unsigned word, float& first, float& second, const oj_bf16*) {
  first = oj_from_bits(word << 16);
  second = oj_from_bits(word & 0xffff0000u);
}
OJ_FUNCTION unsigned oj_pack(float first, float second, const oj_bf16*) {
  return oj_bf16_pair(first, second);
}

// --- f16 ---

struct oj_f16 {
  unsigned short bits;
};

OJ_FUNCTION float oj_number(oj_f16 x) {
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

template <>
struct oj_cast_to<oj_f16> {
  template <class From>
  static __device__ __forceinline__ oj_f16 from(From x) {
    return oj_to_f16((float)x);
  }
};

OJ_FUNCTION void oj_unpack(unsigned word, float& first, float& second, const oj_f16*) {
  first = oj_number(oj_f16{(unsigned short)word});
  second = oj_number(oj_f16{(unsigned short)(word >> 16)});
}
OJ_FUNCTION unsigned oj_pack(float first, float second, const oj_f16*) {
#ifdef OJ_DEVICE_80
  unsigned r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(second), "f"(first));
  return r;
#else
  return (unsigned)oj_to_f16(second).bits << 16 | oj_to_f16(first).bits;
#endif
}

// --- f8: as c10/util/Float8_e4m3fn.h and Float8_e5m2.h convert them ---

struct oj_f8e4m3 {
  unsigned char bits;
};
struct oj_f8e5m2 {
  unsigned char bits;
};

OJ_FUNCTION float oj_number(oj_f8e5m2 x) { return oj_number(oj_f16{(unsigned short)(x.bits << 8)}); }

OJ_FUNCTION float oj_number(oj_f8e4m3 x) {
#ifdef OJ_DEVICE_89
  unsigned pair;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"((unsigned short)x.bits));
  return oj_number(oj_f16{(unsigned short)pair});
#else
  // Another bias, less the numbers whose exponent is 0: these are multiples of 2^-9.
  const unsigned magnitude = x.bits & 0x7fu, sign = (x.bits & 0x80u) << 24;
  const unsigned large = (magnitude << 20) + (120u << 23);
  const unsigned small = oj_bits((float)magnitude * 0x1p-9f);
  return oj_from_bits(sign | (magnitude == 0x7fu ? 0x7fc00000u : magnitude < 8 ? small : large));
#endif
}

// To nearest, ties to even. e4m3 saturates, e5m2 overflows to infinity; a NaN keeps its sign.
#ifdef OJ_DEVICE_89
OJ_FUNCTION unsigned char oj_f8_bits(float x, unsigned short converted) {
  return (unsigned char)((converted & 0x7fu) | (oj_bits(x) >> 24 & 0x80u));
}
OJ_FUNCTION oj_f8e4m3 oj_to_f8e4m3(float x) {
  unsigned short pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return {oj_f8_bits(x, pair)};
}
OJ_FUNCTION oj_f8e5m2 oj_to_f8e5m2(float x) {
  unsigned short pair;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return {oj_f8_bits(x, fabsf(x) >= 61440.0f ? 0x7c : pair)};
}
#else
// Numbers whose exponent will be 0 by an addition that pushes the other bits out, the rest in
// integer arithmetic. From `beyond` on the result is `largest`.
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
  return {oj_to_f8<3, 7>(x, 0x43e80000, 0x7e)};  // 464
}
OJ_FUNCTION oj_f8e5m2 oj_to_f8e5m2(float x) {
  return {oj_to_f8<2, 15>(x, 0x47800000, 0x7c)};  // 65536
}
#endif

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
