// Index arithmetic of generated kernels.

#define OJ_UNROLL _Pragma("unroll")

template <class T>
static __device__ __forceinline__ T oj_min_index(T a, T b) {
  return a < b ? a : b;
}
template <class T>
static __device__ __forceinline__ T oj_max_index(T a, T b) {
  return a > b ? a : b;
}

// How many of N lanes exist when `left` iterations do.
template <int N, class T>
static __device__ __forceinline__ int oj_lanes(T left) {
  return left >= N ? N : left > 0 ? (int)left : 0;
}

static __device__ __forceinline__ oj_i64 oj_wrap(oj_i64 i, oj_i64 extent) {
  return i < 0 ? i + extent : i;
}

// i if it is within 0 .. extent - 1; else the kernel has failed, and 0 is used instead.
static __device__ __forceinline__ oj_i64 oj_bind(oj_i64 i, oj_i64 extent, int* status) {
  if (i >= 0 && i < extent) return i;
  oj_fail(status, 1);
  return 0;
}
