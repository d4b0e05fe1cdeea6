// Blocked as in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
// a panel of b stays in the last cache, a block of a in the second, a strip of b in the first,
// while a tile of c is summed up in registers.
#include "matmul.h"

#if OURJIT_VECTOR_BITS > 128  // narrower ones come without multiply-add

#include "lanes.h"

namespace ourjit::matmul {
namespace {

using oj::F, oj::load, oj::splat, oj::store;

constexpr int kLanes = oj::kFloatLanes, kColumns = oj::kPanel, kVectors = kColumns / kLanes;
constexpr int kRows = oj::kTile;
// A strip of b takes two thirds of a first cache of 32 or 48 KB, a block of a half of 512 KB.
constexpr int64_t kDepth = OURJIT_VECTOR_BITS == 512 ? 256 : 320;
constexpr int64_t kBlockRows = kRows * (OURJIT_VECTOR_BITS == 512 ? 18 : 32);
constexpr int64_t kPanelColumns = 2048;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t rounded_up(int64_t a, int64_t unit) { return (a + unit - 1) / unit * unit; }

/// out[p * out_row + i] = x[i * row + p] for p < k and i < kCount. Up to kLanes - kCount elements
/// behind each written row are spoilt, before the next row is written.
template <int kCount>
void pack_transposed(const float* x, int64_t row, int64_t k, float* out, int64_t out_row) {
  int64_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    F v[kLanes] = {};
#pragma clang loop unroll(full)
    for (int i = 0; i < kCount; ++i) v[i] = load(x + i * row + p);
    oj::transpose(v);
#pragma clang loop unroll(full)
    for (int q = 0; q < kLanes; ++q) store(out + (p + q) * out_row, v[q]);
  }
  for (; p < k; ++p)
    for (int i = 0; i < kCount; ++i) out[p * out_row + i] = x[i * row + p];
}

/// Up to kRows rows of `a`, element (i, p) at out[p * kRows + i]. Rows that are missing are left
/// out.
void pack_rows(const Matrix& a, int64_t rows, int64_t k, float* out) {
  if (a.column == 1 && rows == kRows) {
    pack_transposed<kRows>(a.data, a.row, k, out, kRows);
  } else if (a.row == 1 && rows == kRows) {
    for (int64_t p = 0; p < k; ++p)
      __builtin_memcpy(out + p * kRows, a.data + p * a.column, kRows * sizeof(float));
  } else {
    for (int64_t p = 0; p < k; ++p)
      for (int64_t i = 0; i < rows; ++i) out[p * kRows + i] = a.data[i * a.row + p * a.column];
  }
}

/// Up to kColumns columns of `b`, element (p, j) at out[p * kColumns + j]. Zeros stand for columns
/// that are missing.
void pack_columns(const Matrix& b, int64_t columns, int64_t k, float* out) {
  if (columns == kColumns && b.row == 1) {
    for (int j = 0; j < kColumns; j += kLanes)
      pack_transposed<kLanes>(b.data + j * b.column, b.column, k, out + j, kColumns);
  } else if (columns == kColumns && b.column == 1) {
    for (int64_t p = 0; p < k; ++p)
      for (int j = 0; j < kColumns; j += kLanes)
        store(out + p * kColumns + j, load(b.data + p * b.row + j));
  } else {
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < kColumns; ++j)
        out[p * kColumns + j] = j < columns ? b.data[p * b.row + j * b.column] : 0;
  }
}

/// c = a * b, added to what is there if `add`, for a packed strip of `a`, kTall rows of it, and one
/// of `b`.
template <int kTall>
void multiply_tile(const float* a, const float* b, int64_t k, bool add, float* c, int64_t c_row) {
  F sum[kTall][kVectors] = {};
  for (int64_t p = 0; p < k; ++p, a += kRows, b += kColumns) {
    F row[kVectors];
#pragma clang loop unroll(full)
    for (int j = 0; j < kVectors; ++j) row[j] = load(b + j * kLanes);
#pragma clang loop unroll(full)
    for (int i = 0; i < kTall; ++i)
#pragma clang loop unroll(full)
      for (int j = 0; j < kVectors; ++j) sum[i][j] = oj::mul_add(splat<F>(a[i]), row[j], sum[i][j]);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < kTall; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < kVectors; ++j) {
      float* const to = c + i * c_row + j * kLanes;
      store(to, add ? load(to) + sum[i][j] : sum[i][j]);
    }
}

using Tile = void (*)(const float*, const float*, int64_t, bool, float*, int64_t);

template <int... kLess>
constexpr auto tiles(std::integer_sequence<int, kLess...>) {
  struct Table {
    Tile of[kRows + 1];
  };
  return Table{{nullptr, multiply_tile<kLess + 1>...}};
}
constexpr auto kTiles = tiles(std::make_integer_sequence<int, kRows>());

/// A tile at the right edge, by way of a whole one.
void multiply_edge(int64_t rows, int64_t columns, const float* a, const float* b, int64_t k,
                   bool add, float* c, int64_t c_row) {
  float whole[kRows * kColumns];
  kTiles.of[rows](a, b, k, false, whole, kColumns);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      const float sum = whole[i * kColumns + j];
      c[i * c_row + j] = add ? c[i * c_row + j] + sum : sum;
    }
}

/// A packed block of `a` times a packed panel of `b`.
void multiply_block(const float* a, const float* b, int64_t m, int64_t n, int64_t k, bool add,
                    float* c, int64_t c_row) {
  for (int64_t j = 0; j < n; j += kColumns)
    for (int64_t i = 0; i < m; i += kRows) {
      const int64_t rows = smaller(kRows, m - i), columns = smaller(kColumns, n - j);
      float* tile = c + i * c_row + j;
      if (columns == kColumns)
        kTiles.of[rows](a + i * k, b + j * k, k, add, tile, c_row);
      else
        multiply_edge(rows, columns, a + i * k, b + j * k, k, add, tile, c_row);
    }
}

Matrix at(const Matrix& x, int64_t i, int64_t j) {
  return {x.data + i * x.row + j * x.column, x.row, x.column};
}

int64_t panel_floats(const Product& p) {
  return smaller(kDepth, p.k) * rounded_up(smaller(kPanelColumns, p.n), kColumns);
}

int64_t scratch_floats(const Product& p) {
  const int64_t block = rounded_up(smaller(kBlockRows, p.m), kRows) * smaller(kDepth, p.k);
  return rounded_up(panel_floats(p), kLanes) + block + kLanes;
}

void multiply(const Product& p, float* scratch) {
  float* const panel = scratch;
  float* const block = scratch + rounded_up(panel_floats(p), kLanes);
  for (int64_t j = 0; j < p.n; j += kPanelColumns) {
    const int64_t n = smaller(kPanelColumns, p.n - j);
    for (int64_t d = 0; d < p.k; d += kDepth) {
      const int64_t k = smaller(kDepth, p.k - d);
      for (int64_t s = 0; s < n; s += kColumns)
        pack_columns(at(p.b, d, j + s), smaller(kColumns, n - s), k, panel + s * k);
      for (int64_t i = 0; i < p.m; i += kBlockRows) {
        const int64_t m = smaller(kBlockRows, p.m - i);
        for (int64_t s = 0; s < m; s += kRows)
          pack_rows(at(p.a, i + s, d), smaller(kRows, m - s), k, block + s * k);
        multiply_block(block, panel, m, n, k, /*add=*/d > 0, p.c + i * p.c_row + j, p.c_row);
      }
    }
  }
}

}  // namespace

#if OURJIT_VECTOR_BITS == 512
const Kernel kKernel512{512, kRows, kColumns, multiply, scratch_floats};
#else
const Kernel kKernel256{256, kRows, kColumns, multiply, scratch_floats};
#endif

}  // namespace ourjit::matmul

#endif
