// --- accesses as the emulator sees them ---

// Memory, the threads of a block, and what a kernel reports: all accesses of generated kernels go
// through the functions below.

#ifdef OJ_EMULATE
#define OJ_SEEN(p, bytes, writes) oj_emulate_access(p, bytes, writes)
#define OJ_SEEN_SHARED(p, bytes, writes) oj_emulate_shared_access(p, bytes, writes)
#else
#define OJ_SEEN(p, bytes, writes)
#define OJ_SEEN_SHARED(p, bytes, writes)
#endif

// --- scalar accesses ---

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

// --- accumulation ---

template <class T>
OJ_FUNCTION void oj_accumulate(T* p, oj_i64 i, T v) {
  oj_store(p, i, oj_add(oj_load((const T*)p, i), v));
}

// --- atomic additions ---

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

// --- vector accesses ---

// Memory units of 16, 8, 4 and 2 bytes.
template <int Bytes>
struct oj_unit;
template <>
struct __align__(16) oj_unit<16> {
  unsigned word[4];
};
template <>
struct __align__(8) oj_unit<8> {
  unsigned word[2];
};
template <>
struct oj_unit<4> {
  unsigned word[1];
};
template <>
struct oj_unit<2> {
  unsigned short half;
};

// What a vector of N elements is moved in: Count units of Bytes.
template <int N, class T>
struct oj_units {
  static constexpr int Bytes = N * sizeof(T) < 16 ? N * sizeof(T) : 16;
  static constexpr int Count = N * sizeof(T) / Bytes;
  typedef oj_unit<Bytes> type;
};

// Elements at p in whole units, which p must be aligned for. Floats take their words as they are.
template <int N>
OJ_FUNCTION void oj_load_units(float (&out)[N], const float* p) {
  typedef oj_units<N, float> units;
  OJ_UNROLL
  for (int k = 0; k < units::Count; ++k) {
    OJ_SEEN((const typename units::type*)p + k, units::Bytes, false);
    const typename units::type u = ((const typename units::type*)p)[k];
    OJ_UNROLL
    for (int l = 0; l < N / units::Count; ++l)
      out[k * (N / units::Count) + l] = oj_from_bits(u.word[l]);
  }
}
template <int N>
OJ_FUNCTION void oj_store_units(float* p, const float (&v)[N]) {
  typedef oj_units<N, float> units;
  OJ_UNROLL
  for (int k = 0; k < units::Count; ++k) {
    typename units::type u;
    OJ_UNROLL
    for (int l = 0; l < N / units::Count; ++l) u.word[l] = oj_bits(v[k * (N / units::Count) + l]);
    OJ_SEEN((typename units::type*)p + k, units::Bytes, true);
    ((typename units::type*)p)[k] = u;
  }
}
// Of any type, as it is.
template <int N, class T>
OJ_FUNCTION void oj_load_units(T (&out)[N], const T* p) {
  typedef oj_units<N, T> units;
  union {
    typename units::type unit[units::Count];
    typename oj_stored<T>::type element[N];
  } u;
  OJ_UNROLL
  for (int k = 0; k < units::Count; ++k) {
    OJ_SEEN((const typename units::type*)p + k, units::Bytes, false);
    u.unit[k] = ((const typename units::type*)p)[k];
  }
  OJ_UNROLL
  for (int l = 0; l < N; ++l) out[l] = (T)u.element[l];
}
template <int N, class T>
OJ_FUNCTION void oj_store_units(T* p, const T (&v)[N]) {
  typedef oj_units<N, T> units;
  union {
    typename units::type unit[units::Count];
    T element[N];
  } u;
  OJ_UNROLL
  for (int l = 0; l < N; ++l) u.element[l] = v[l];
  OJ_UNROLL
  for (int k = 0; k < units::Count; ++k) {
    OJ_SEEN((typename units::type*)p + k, units::Bytes, true);
    ((typename units::type*)p)[k] = u.unit[k];
  }
}

// Elements i .. i + N - 1, where the tensor begins at an address and i is a multiple that allow
// whole units.
template <int N, class V, class T>
OJ_FUNCTION void oj_load_vector(V (&out)[N], const T* p, oj_i64 i) {
  oj_load_units(out, p + i);
}
template <int N, class V, class T>
OJ_FUNCTION void oj_store_vector(T* p, oj_i64 i, const V (&v)[N]) {
  oj_store_units(p + i, v);
}

// --- vector accesses of 16-bit floats ---

// T as floats: oj_unpack and oj_pack, which each such type has, convert two at once.
template <int N, class T>
OJ_FUNCTION void oj_load_units(float (&out)[N], const T* p) {
  typedef oj_units<N, T> units;
  OJ_UNROLL
  for (int k = 0; k < units::Count; ++k) {
    OJ_SEEN((const typename units::type*)p + k, units::Bytes, false);
    const typename units::type u = ((const typename units::type*)p)[k];
    OJ_UNROLL
    for (int l = 0; l < N / units::Count; l += 2)
      oj_unpack(u.word[l / 2], out[k * (N / units::Count) + l],
                out[k * (N / units::Count) + l + 1], p);
  }
}
template <int N, class T>
OJ_FUNCTION void oj_store_units(T* p, const float (&v)[N]) {
  typedef oj_units<N, T> units;
  OJ_UNROLL
  for (int k = 0; k < units::Count; ++k) {
    typename units::type u;
    OJ_UNROLL
    for (int l = 0; l < N / units::Count; l += 2)
      u.word[l / 2] = oj_pack(v[k * (N / units::Count) + l], v[k * (N / units::Count) + l + 1], p);
    OJ_SEEN((typename units::type*)p + k, units::Bytes, true);
    ((typename units::type*)p)[k] = u;
  }
}

// --- vector accesses element by element ---

// Elements i .. i + n - 1, as V; the rest of `out` stays.
template <int N, class V, class T>
OJ_FUNCTION void oj_load_lanes(V (&out)[N], const T* p, oj_i64 i, int n) {
  OJ_UNROLL
  for (int l = 0; l < N; ++l)
    if (l < n) out[l] = oj_cast<V>(oj_load(p, i + l));
}
template <int N, class V, class T>
OJ_FUNCTION void oj_store_lanes(T* p, oj_i64 i, const V (&v)[N], int n) {
  OJ_UNROLL
  for (int l = 0; l < N; ++l)
    if (l < n) oj_store(p, i + l, oj_cast<T>(v[l]));
}

// --- vector accesses at the end of a loop ---

// The first n elements of a vector; all of them exist but in the last one.
template <int N, class V, class T>
OJ_FUNCTION void oj_load_some(V (&out)[N], const T* p, oj_i64 i, int n) {
  if (n >= N) return oj_load_units(out, p + i);
  oj_load_lanes(out, p, i, n);
}
template <int N, class V, class T>
OJ_FUNCTION void oj_store_some(T* p, oj_i64 i, const V (&v)[N], int n) {
  if (n >= N) return oj_store_units(p + i, v);
  oj_store_lanes(p, i, v, n);
}

// --- vector accesses of any address ---

template <int N, class T>
OJ_FUNCTION bool oj_aligned(const T* p) {
  return ((oj_u64)p & (oj_units<N, T>::Bytes - 1)) == 0;
}

// Whole units where the address of element i allows.
template <int N, class V, class T>
OJ_FUNCTION void oj_load_anywhere(V (&out)[N], const T* p, oj_i64 i, int n) {
  if (n >= N && oj_aligned<N>(p + i)) return oj_load_units(out, p + i);
  oj_load_lanes(out, p, i, n);
}
template <int N, class V, class T>
OJ_FUNCTION void oj_store_anywhere(T* p, oj_i64 i, const V (&v)[N], int n) {
  if (n >= N && oj_aligned<N>(p + i)) return oj_store_units(p + i, v);
  oj_store_lanes(p, i, v, n);
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

// --- the end of a launch ---

// Draws a number: 0 for the first block of a launch that does so, `last` for the last one, with
// which the ticket is 0 again. What its block did before is done for whoever draws later.
OJ_FUNCTION unsigned oj_draw(unsigned* ticket, unsigned last) {
#ifdef OJ_EMULATE
  const unsigned drawn = *ticket;
  *ticket = drawn >= last ? 0 : drawn + 1;
#else
  unsigned drawn;
  asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
               : "=r"(drawn)
               : "l"(ticket), "r"(last)
               : "memory");
#endif
  return drawn;
}

// A barrier: true in all threads of the block if `x` is true in one of them.
OJ_FUNCTION bool oj_any_thread(bool x) {
#ifdef OJ_EMULATE
  static bool any;
  any = false;
  oj_barrier();
  if (x) any = true;
  oj_barrier();
  return any;
#else
  return __syncthreads_or(x);
#endif
}

// True in the block, of so many, that gets here last: the others have nothing left to do. The
// barriers extend what the drawing threads know to be done to all threads of their blocks.
OJ_FUNCTION bool oj_is_last_block(unsigned* ticket, int blocks) {
  const unsigned last = (unsigned)blocks - 1;
  oj_barrier();
  return oj_any_thread(threadIdx.x == 0 && threadIdx.y == 0 && oj_draw(ticket, last) == last);
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
