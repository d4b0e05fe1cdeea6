// --- reductions of numbers ---

// Reductions over the threads of a block. Their order is fixed by the number of threads. Operators
// give the same bits for (a, b) and (b, a), so that all threads end with the same result.

struct oj_sum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return oj_add(a, b);
  }
};
struct oj_prod {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return oj_mul(a, b);
  }
};
struct oj_max {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return oj_maximum(a, b);
  }
};
struct oj_min {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return oj_minimum(a, b);
  }
};

// The greatest and the least value of a type.
template <class T>
struct oj_range {
  static __device__ __forceinline__ T least() {
    return (T)-1 < (T)0 ? (T)((oj_u64)1 << (8 * sizeof(T) - 1)) : (T)0;
  }
  static __device__ __forceinline__ T greatest() { return (T)~least(); }
};
template <>
struct oj_range<bool> {
  static __device__ __forceinline__ bool least() { return false; }
  static __device__ __forceinline__ bool greatest() { return true; }
};
template <>
struct oj_range<float> {
  static __device__ __forceinline__ float least() { return -oj_infinity<float>(); }
  static __device__ __forceinline__ float greatest() { return oj_infinity<float>(); }
};
template <>
struct oj_range<double> {
  static __device__ __forceinline__ double least() { return -oj_infinity<double>(); }
  static __device__ __forceinline__ double greatest() { return oj_infinity<double>(); }
};

template <class Op, class T>
struct oj_identity_of;
template <class T>
struct oj_identity_of<oj_sum, T> {
  static __device__ __forceinline__ T get() { return (T)0; }
};
template <class T>
struct oj_identity_of<oj_prod, T> {
  static __device__ __forceinline__ T get() { return (T)1; }
};
template <class T>
struct oj_identity_of<oj_max, T> {
  static __device__ __forceinline__ T get() { return oj_range<T>::least(); }
};
template <class T>
struct oj_identity_of<oj_min, T> {
  static __device__ __forceinline__ T get() { return oj_range<T>::greatest(); }
};
template <class Op, class T>
OJ_FUNCTION T oj_identity() {
  return oj_identity_of<Op, T>::get();
}

// The value of the thread whose place in the warp differs in the bits of `mask`.
template <class T>
OJ_FUNCTION T oj_shuffle(T v, int mask) {
  return (T)oj_shuffle_word((unsigned)v, mask);
}
OJ_FUNCTION float oj_shuffle(float v, int mask) {
  return oj_from_bits(oj_shuffle_word(oj_bits(v), mask));
}
OJ_FUNCTION oj_u64 oj_shuffle(oj_u64 v, int mask) {
  const oj_u64 high = oj_shuffle_word((unsigned)(v >> 32), mask);
  return high << 32 | oj_shuffle_word((unsigned)v, mask);
}
OJ_FUNCTION oj_i64 oj_shuffle(oj_i64 v, int mask) { return (oj_i64)oj_shuffle((oj_u64)v, mask); }
OJ_FUNCTION double oj_shuffle(double v, int mask) {
  return oj_from_bits(oj_shuffle(oj_bits(v), mask));
}

// --- reductions to a place ---

// An element and where it stands.
template <class T>
struct oj_indexed {
  T value;
  oj_i64 index;
};

// b if it wins over a, where `beats` says so of two numbers: of equal elements the first one wins, a
// NaN wins over numbers.
template <class T>
OJ_FUNCTION oj_indexed<T> oj_winner(oj_indexed<T> a, oj_indexed<T> b, bool beats) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  const bool equal = a_nan || b_nan ? a_nan == b_nan : a.value == b.value;
  const bool better = equal ? b.index < a.index : b_nan || (!a_nan && beats);
  return better ? b : a;
}
struct oj_argmax {
  template <class T>
  __device__ __forceinline__ oj_indexed<T> operator()(oj_indexed<T> a, oj_indexed<T> b) const {
    return oj_winner(a, b, b.value > a.value);
  }
};
struct oj_argmin {
  template <class T>
  __device__ __forceinline__ oj_indexed<T> operator()(oj_indexed<T> a, oj_indexed<T> b) const {
    return oj_winner(a, b, b.value < a.value);
  }
};

template <class T>
struct oj_identity_of<oj_argmax, oj_indexed<T>> {
  static __device__ __forceinline__ oj_indexed<T> get() {
    return {oj_range<T>::least(), oj_range<oj_i64>::greatest()};
  }
};
template <class T>
struct oj_identity_of<oj_argmin, oj_indexed<T>> {
  static __device__ __forceinline__ oj_indexed<T> get() {
    return {oj_range<T>::greatest(), oj_range<oj_i64>::greatest()};
  }
};
template <class T>
OJ_FUNCTION oj_indexed<T> oj_shuffle(oj_indexed<T> v, int mask) {
  return {oj_shuffle(v.value, mask), oj_shuffle(v.index, mask)};
}

// --- reductions of exponentials ---

// What exp_sum keeps: the greatest value, and the sum of all exp(x - max), infinity taken as 0.
template <class T>
struct oj_scaled_sum {
  T max, sum;
};
template <class T>
OJ_FUNCTION T oj_finite_or_0(T a) {
  return oj_isinf(a) ? (T)0 : a;
}
OJ_FUNCTION float oj_exp(float a) { return expf(a); }
OJ_FUNCTION double oj_exp(double a) { return exp(a); }

// The part with the greater maximum keeps its sum, unless that maximum is infinite.
struct oj_exp_sum {
  template <class T>
  __device__ __forceinline__ oj_scaled_sum<T> operator()(oj_scaled_sum<T> a,
                                                         oj_scaled_sum<T> b) const {
    const bool b_greater = b.max > a.max || b.max != b.max;
    const oj_scaled_sum<T> high = b_greater ? b : a, low = b_greater ? a : b;
    const T kept = oj_isinf(high.max) ? (high.max > (T)0 ? high.max : (T)0) : high.sum;
    return {high.max, kept + low.sum * oj_exp(low.max - oj_finite_or_0(high.max))};
  }
};
// The first n of N values more: one change of the maximum, one exp for each value.
template <class T, int N>
OJ_FUNCTION oj_scaled_sum<T> oj_exp_sum_add(oj_scaled_sum<T> a, const T (&x)[N], int n) {
  T max = a.max;
  OJ_UNROLL
  for (int l = 0; l < N; ++l) max = l < n ? oj_maximum(max, x[l]) : max;
  const T base = oj_finite_or_0(max);
  T sum = a.sum * oj_exp(a.max - base);
  OJ_UNROLL
  for (int l = 0; l < N; ++l) sum += l < n ? oj_exp(x[l] - base) : (T)0;
  return {max, sum};
}

template <class T>
struct oj_identity_of<oj_exp_sum, oj_scaled_sum<T>> {
  static __device__ __forceinline__ oj_scaled_sum<T> get() { return {oj_range<T>::least(), (T)0}; }
};
template <class T>
OJ_FUNCTION oj_scaled_sum<T> oj_shuffle(oj_scaled_sum<T> v, int mask) {
  return {oj_shuffle(v.max, mask), oj_shuffle(v.sum, mask)};
}

// --- reductions over threads ---

// Over groups of N neighbouring threads of a warp, N a power of two.
template <class Op, int N, class T>
OJ_FUNCTION T oj_reduce_lanes(T v) {
  OJ_UNROLL
  for (int mask = 1; mask < N; mask *= 2) v = Op()(v, oj_shuffle(v, mask));
  return v;
}

// Over threadIdx.x, in blocks of NX * NY threads; all of them come here, and all get the result. NX
// is a power of two. Beyond a warp, `scratch` holds NX * NY / 32 elements of shared memory.
template <class Op, int NX, int NY, class T>
OJ_FUNCTION T oj_reduce_x(T v, T* scratch) {
  v = oj_reduce_lanes<Op, NX < 32 ? NX : 32>(v);
  if (NX <= 32) return v;
  constexpr unsigned kWarps = NX / 32;
  const unsigned first = threadIdx.y * kWarps;
  // Others may still read what the reduction before left there.
  oj_barrier();
  if ((threadIdx.x & 31) == 0) oj_shared_store(scratch, (int)(first + (threadIdx.x >> 5)), v);
  oj_barrier();
  v = oj_shared_load((const T*)scratch, (int)(first + (threadIdx.x & (kWarps - 1))));
  return oj_reduce_lanes<Op, (int)kWarps>(v);
}

// Over threadIdx.y; `scratch` holds NX * NY elements.
template <class Op, int NX, int NY, class T>
OJ_FUNCTION T oj_reduce_y(T v, T* scratch) {
  oj_barrier();
  oj_shared_store(scratch, (int)(threadIdx.y * NX + threadIdx.x), v);
  oj_barrier();
  v = oj_shared_load((const T*)scratch, (int)threadIdx.x);
  OJ_UNROLL
  for (int y = 1; y < NY; ++y)
    v = Op()(v, oj_shared_load((const T*)scratch, y * NX + (int)threadIdx.x));
  return v;
}
