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

// How many of N lanes exist when `left` iterations do.
template <int N, class T>
OJ_FUNCTION int oj_lanes(T left) {
  return left >= N ? N : left > 0 ? (int)left : 0;
}

OJ_FUNCTION oj_i64 oj_wrap(oj_i64 i, oj_i64 extent) { return i < 0 ? i + extent : i; }

// --- tables of arguments ---

// The arguments of a kernel that is launched over many sets of them. Blocks first[r] to
// first[r + 1] - 1 are row r's.
template <class Row, int N>
struct oj_table {
  int rows;
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
