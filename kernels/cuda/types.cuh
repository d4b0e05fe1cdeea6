// What generated CUDA kernels are written in. No header is included, so that compiling a kernel
// costs little more than the kernel; for the same reason each line "// --- name ---" begins a part
// that units leave out which need nothing of it. Under OJ_EMULATE a host compiler reads the same
// text; what the device alone can do then comes from functions oj_emulate_* that the emulator
// declares before.

typedef long long oj_i64;
typedef unsigned long long oj_u64;

#define OJ_FUNCTION static __device__ __forceinline__
#define OJ_UNROLL _Pragma("unroll")
#define OJ_UNROLL_4 _Pragma("unroll 4")
#define OJ_ROLLED _Pragma("unroll 1")

#ifdef OJ_EMULATE
#define OJ_OUTLINED static
#define OJ_SHARED(T, name, n)                       \
  static T name[n];                                 \
  oj_emulate_shared(#name, name, (n) * sizeof(T))
#define OJ_BUFFER(name, n) oj_emulate_buffer(#name, name, (oj_u64)(n) * sizeof(*name))
#else
#define OJ_OUTLINED static __device__ __noinline__
#define OJ_SHARED(T, name, n) __shared__ __align__(16) T name[n]
#define OJ_BUFFER(name, n)
#endif

// Instructions of architectures that not all devices have. The emulator, and older ones, do without.
#if !defined(OJ_EMULATE) && __CUDA_ARCH__ >= 800
#define OJ_DEVICE_80
#endif
#if !defined(OJ_EMULATE) && __CUDA_ARCH__ >= 890
#define OJ_DEVICE_89
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

// --- values that have no literal ---

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

// --- casts ---

// The number that a value stands for, in a type that C computes with.
template <class T>
OJ_FUNCTION T oj_number(T x) {
  return x;
}

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

template <class To, class From>
OJ_FUNCTION To oj_cast(From x) {
  return oj_cast_to<To>::from(oj_number(x));
}
