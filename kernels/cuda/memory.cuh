// Memory, the threads of a block, and what a kernel reports. All accesses of generated kernels go
// through these functions.

#ifdef OJ_EMULATE
#define OJ_SEEN(p, bytes, writes) oj_emulate_access(p, bytes, writes)
#define OJ_SEEN_SHARED(p, bytes, writes) oj_emulate_shared_access(p, bytes, writes)
#else
#define OJ_SEEN(p, bytes, writes)
#define OJ_SEEN_SHARED(p, bytes, writes)
#endif

// How a value lies in memory: of a bool, any byte but 0 is true, since programs view bytes as bool.
template <class T>
struct oj_stored {
  typedef T type;
};
template <>
struct oj_stored<bool> {
  typedef unsigned char type;
};

template <class T>
OJ_FUNCTION T oj_load(const T* p, oj_i64 i) {
  OJ_SEEN(p + i, sizeof(T), false);
  return (T)((const typename oj_stored<T>::type*)p)[i];
}

template <class T>
OJ_FUNCTION void oj_store(T* p, oj_i64 i, T v) {
  OJ_SEEN(p + i, sizeof(T), true);
  p[i] = v;
}

template <class T>
OJ_FUNCTION void oj_accumulate(T* p, oj_i64 i, T v) {
  oj_store(p, i, oj_add(oj_load((const T*)p, i), v));
}

#ifdef OJ_EMULATE
#define OJ_ATOMIC_ADD(T, bits, letter)                       \
  OJ_FUNCTION void oj_atomic_add(T* p, oj_i64 i, T v) {      \
    OJ_SEEN(p + i, sizeof(T), true);                         \
    p[i] = oj_add(p[i], v);                                  \
  }
#else
#define OJ_ATOMIC_ADD(T, bits, letter)                                                       \
  OJ_FUNCTION void oj_atomic_add(T* p, oj_i64 i, T v) {                                      \
    asm volatile("red.global.add." bits " [%0], %1;" ::"l"(p + i), letter(v) : "memory");    \
  }
#endif
OJ_ATOMIC_ADD(float, "f32", "f")
OJ_ATOMIC_ADD(double, "f64", "d")
OJ_ATOMIC_ADD(int, "u32", "r")
OJ_ATOMIC_ADD(oj_i64, "u64", "l")

// Memory units of 16, 8, 4 and 2 bytes.
template <int Bytes>
struct oj_unit;
template <>
struct __align__(16) oj_unit<16> {
  unsigned x, y, z, w;
};
template <>
struct __align__(8) oj_unit<8> {
  unsigned x, y;
};
template <>
struct oj_unit<4> {
  unsigned x;
};
template <>
struct oj_unit<2> {
  unsigned short x;
};

// True where whole units can be accessed.
template <int N, class T>
OJ_FUNCTION bool oj_aligned(const T* p) {
  constexpr int kBytes = N * sizeof(T), kUnit = kBytes < 16 ? kBytes : 16;
  return ((oj_u64)p & (kUnit - 1)) == 0;
}

template <int N, class T>
OJ_FUNCTION void oj_load_units(T (&out)[N], const T* from) {
  constexpr int kBytes = N * sizeof(T), kUnit = kBytes < 16 ? kBytes : 16;
  union {
    oj_unit<kUnit> unit[kBytes / kUnit];
    typename oj_stored<T>::type element[N];
  } u;
  OJ_UNROLL
  for (int k = 0; k < kBytes / kUnit; ++k) {
    OJ_SEEN((const oj_unit<kUnit>*)from + k, kUnit, false);
    u.unit[k] = ((const oj_unit<kUnit>*)from)[k];
  }
  OJ_UNROLL
  for (int l = 0; l < N; ++l) out[l] = (T)u.element[l];
}

template <int N, class T>
OJ_FUNCTION void oj_store_units(T* to, const T (&v)[N]) {
  constexpr int kBytes = N * sizeof(T), kUnit = kBytes < 16 ? kBytes : 16;
  union {
    oj_unit<kUnit> unit[kBytes / kUnit];
    T element[N];
  } u;
  OJ_UNROLL
  for (int l = 0; l < N; ++l) u.element[l] = v[l];
  OJ_UNROLL
  for (int k = 0; k < kBytes / kUnit; ++k) {
    OJ_SEEN((oj_unit<kUnit>*)to + k, kUnit, true);
    ((oj_unit<kUnit>*)to)[k] = u.unit[k];
  }
}

// Elements i .. i + N - 1, of which the first `active` exist; the others are zero. Whole units
// where the address allows.
template <int N, class T>
OJ_FUNCTION void oj_load_vector(T (&out)[N], const T* p, oj_i64 i, int active) {
  if (active >= N && oj_aligned<N>(p + i)) return oj_load_units(out, p + i);
  OJ_UNROLL
  for (int l = 0; l < N; ++l) {
    out[l] = T();
    if (l < active) out[l] = oj_load(p, i + l);
  }
}

template <int N, class T>
OJ_FUNCTION void oj_store_vector(T* p, oj_i64 i, const T (&v)[N], int active) {
  if (active >= N && oj_aligned<N>(p + i)) return oj_store_units(p + i, v);
  OJ_UNROLL
  for (int l = 0; l < N; ++l)
    if (l < active) oj_store(p, i + l, v[l]);
}

// The same where all of them exist or none: half the code.
template <int N, class T>
OJ_FUNCTION void oj_load_vector(T (&out)[N], const T* p, oj_i64 i, bool exist) {
  OJ_UNROLL
  for (int l = 0; l < N; ++l) out[l] = T();
  if (!exist) return;
  if (oj_aligned<N>(p + i)) return oj_load_units(out, p + i);
  OJ_UNROLL
  for (int l = 0; l < N; ++l) out[l] = oj_load(p, i + l);
}

template <int N, class T>
OJ_FUNCTION void oj_store_vector(T* p, oj_i64 i, const T (&v)[N], bool exist) {
  if (!exist) return;
  if (oj_aligned<N>(p + i)) return oj_store_units(p + i, v);
  OJ_UNROLL
  for (int l = 0; l < N; ++l) oj_store(p, i + l, v[l]);
}

// --- the threads of a block ---

template <class T>
OJ_FUNCTION T oj_shared_load(const T* p, int i) {
  OJ_SEEN_SHARED(p + i, sizeof(T), false);
  return p[i];
}
template <class T>
OJ_FUNCTION void oj_shared_store(T* p, int i, T v) {
  OJ_SEEN_SHARED(p + i, sizeof(T), true);
  p[i] = v;
}
template <class T>
OJ_FUNCTION void oj_shared_accumulate(T* p, int i, T v) {
  oj_shared_store(p, i, oj_add(oj_shared_load((const T*)p, i), v));
}

OJ_FUNCTION void oj_barrier() {
#ifdef OJ_EMULATE
  oj_emulate_barrier();
#else
  __syncthreads();
#endif
}
OJ_FUNCTION void oj_warp_barrier() {
#ifdef OJ_EMULATE
  oj_emulate_warp_barrier();
#else
  __syncwarp();
#endif
}

// The word of the thread whose place in the warp differs in the bits of `mask`.
OJ_FUNCTION unsigned oj_shuffle_word(unsigned v, int mask) {
#ifdef OJ_EMULATE
  return oj_emulate_shuffle_xor(v, mask);
#else
  return __shfl_xor_sync(0xffffffffu, v, mask);
#endif
}

// --- errors ---

// The first error stays; of several at a time, any.
OJ_FUNCTION void oj_fail(int* status, int code) {
  volatile int* s = status;
  if (*s == 0) *s = code;
}

// i if it is within 0 .. extent - 1; else the kernel has failed, and 0 is used instead.
OJ_FUNCTION oj_i64 oj_bind(oj_i64 i, oj_i64 extent, int* status) {
  if (i >= 0 && i < extent) return i;
  oj_fail(status, 1);
  return 0;
}
