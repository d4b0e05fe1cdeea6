// --- index arithmetic of kernels ---

template <class T>
OJ_FUNCTION T oj_min_index(T a, T b) {
  return a < b ? a : b;
}
template <class T>
OJ_FUNCTION T oj_max_index(T a, T b) {
  return a > b ? a : b;
}
// Rounding to minus infinity.
template <class T>
OJ_FUNCTION T oj_floordiv(T a, T b) {
  const T q = a / b;
  return a % b != 0 && (a % b < 0) != (b < 0) ? q - 1 : q;
}
template <class T>
OJ_FUNCTION T oj_floormod(T a, T b) {
  const T r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

// Of x >= 0 by a number: a product with 2^(31 + kShift) / D, rounded up, which is exact below 2^31
// (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994).
template <unsigned D>
struct oj_divisor {
  static constexpr int log2_up(unsigned n) { return n <= 1 ? 0 : 1 + log2_up((n + 1) / 2); }
  static constexpr bool kPower = (D & (D - 1)) == 0;
  static constexpr int kShift = log2_up(D);
  static constexpr unsigned kFactor = (unsigned)((((oj_u64)1 << (31 + kShift)) + D - 1) / D);
};
template <unsigned D>
OJ_FUNCTION int oj_div_by(int x) {
  typedef oj_divisor<D> d;
  if (d::kPower) return x >> d::kShift;
  return (int)((oj_u64)(unsigned)x * d::kFactor >> 32 >> (d::kPower ? 0 : d::kShift - 1));
}
template <unsigned D>
OJ_FUNCTION oj_i64 oj_div_by(oj_i64 x) {
  if (oj_divisor<D>::kPower) return x >> oj_divisor<D>::kShift;
  return x < 0x80000000ll ? oj_div_by<D>((int)x) : x / D;
}
template <unsigned D, class T>
OJ_FUNCTION T oj_mod_by(T x) {
  return oj_divisor<D>::kPower ? x & (T)(D - 1) : x - oj_div_by<D>(x) * (T)D;
}

// How many of N lanes exist when `left` iterations do.
template <int N, class T>
OJ_FUNCTION int oj_lanes(T left) {
  return left >= N ? N : left > 0 ? (int)left : 0;
}

OJ_FUNCTION oj_i64 oj_wrap(oj_i64 i, oj_i64 extent) { return i < 0 ? i + extent : i; }

// --- tables of arguments ---

// The arguments of a kernel that is launched over many sets of them. Blocks first[r] to
// first[r + 1] - 1 are row r's; the first `silent` rows have no epilogue.
template <class Row, int N>
struct oj_table {
  int rows, silent;
  int first[N + 1];
  Row row[N];
};
// The row of a block.
template <class Row, int N>
OJ_FUNCTION int oj_find_row(const oj_table<Row, N>& table, int block) {
  int low = 0, high = table.rows;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table.first[middle] <= block)
      low = middle;
    else
      high = middle;
  }
  return low;
}
// A parameter of a kernel that is a struct: its address, where the emulator is the caller.
#ifdef OJ_EMULATE
#define OJ_BY_VALUE &
#else
#define OJ_BY_VALUE
#endif
