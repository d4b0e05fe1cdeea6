// Put before a CUDA translation unit so that a host compiler takes it: the parts of CUDA C++ that
// kernels/cuda uses, over callbacks into the emulator.
#pragma once

#include <math.h>
#include <string.h>

struct oj_emulate_index {
  unsigned x, y, z;
};

/// What the emulator sets and provides; the library that is made of a unit exports a pointer to it.
struct oj_emulate_context {
  oj_emulate_index thread, block, grid;
  void (*buffer)(const char* name, const void* p, unsigned long long bytes);
  void (*shared)(const char* name, const void* p, unsigned long long bytes);
  void (*access)(const void* p, int bytes, bool writes);
  void (*shared_access)(const void* p, int bytes, bool writes);
  void (*barrier)();
  void (*warp_barrier)();
  unsigned (*shuffle_xor)(unsigned value, int mask);
};
#ifdef OJ_EMULATE
#define __global__ __attribute__((visibility("default")))
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

extern "C" __attribute__((visibility("default"))) oj_emulate_context* oj_emulate = nullptr;

#define threadIdx (oj_emulate->thread)
#define blockIdx (oj_emulate->block)
#define gridDim (oj_emulate->grid)

inline void oj_emulate_buffer(const char* name, const void* p, unsigned long long bytes) {
  oj_emulate->buffer(name, p, bytes);
}
inline void oj_emulate_shared(const char* name, const void* p, unsigned long long bytes) {
  oj_emulate->shared(name, p, bytes);
}
inline void oj_emulate_access(const void* p, int bytes, bool writes) {
  oj_emulate->access(p, bytes, writes);
}
inline void oj_emulate_shared_access(const void* p, int bytes, bool writes) {
  oj_emulate->shared_access(p, bytes, writes);
}
inline void oj_emulate_barrier() { oj_emulate->barrier(); }
inline void oj_emulate_warp_barrier() { oj_emulate->warp_barrier(); }
inline unsigned oj_emulate_shuffle_xor(unsigned value, int mask) {
  return oj_emulate->shuffle_xor(value, mask);
}

template <class To, class From>
inline To oj_emulate_cast(From x) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To r;
  memcpy(&r, &x, sizeof r);
  return r;
}

inline float oj_emulate_half_to_float(unsigned short bits) {
  _Float16 h;
  memcpy(&h, &bits, sizeof h);
  return (float)h;
}
inline unsigned short oj_emulate_float_to_half(float x) {
  const _Float16 h = (_Float16)x;
  unsigned short bits;
  memcpy(&bits, &h, sizeof h);
  return bits;
}

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }

/// cos(pi x), which C lacks.
inline float cospif(float x) { return (float)cos(3.14159265358979323846 * (double)x); }

/// The inverse of erf, which C lacks: Winitzki's approximation and Newton steps.
inline double erfinv(double x) {
  if (x != x || fabs(x) > 1) return nan("");
  if (fabs(x) == 1) return copysign(HUGE_VAL, x);
  const double a = fabs(x), l = log((1 - a) * (1 + a)), h = 4.3307467508 + l / 2;
  double y = a < 0.1 ? a * 0.88622692545275801365 : sqrt(sqrt(h * h - l / 0.147) - h);
  for (int step = 0; step < 4; ++step) {
    const double error = a < 0.5 ? erf(y) - a : (1 - a) - erfc(y);
    const double delta = error * 0.88622692545275801365 * exp(y * y);
    y -= delta / (1 + y * delta);
  }
  return copysign(y, x);
}
inline float erfinvf(float x) { return (float)erfinv((double)x); }
#endif  // OJ_EMULATE
