// Products of matrices whose right operand and result lie in panels: kPanel adjacent columns, row
// after row. A panel of a right operand with some hundred rows stays in the first-level cache, and
// a tile of the result, kTile rows of a panel, in registers. Freestanding.
//
// The kernels are compiled once for each vector width. Every sum runs over its terms in their
// order, so that results do not depend on how work is cut.
#pragma once

#include <utility>

#include "lanes.h"

namespace oj {

// --- to panels and back --------------------------------------------------------------------------

OJ_INLINE long at_most(long x, long limit) { return x < limit ? x : limit; }

/// A matrix in memory: `stride` elements from row to row, the elements of a row adjacent.
template <class T>
struct Matrix {
  T* data;
  long stride;
  T* row(long i) const { return data + i * stride; }
};

/// The transpose of up to kPanel rows as a panel, times `factor`; columns that are not there are
/// zero.
static OJ_NOINLINE void rows_to_panel(Matrix<const float> from, long rows, long columns,
                                      float factor, float* panel) {
  for (int half = 0; half < 2; ++half) {
    const long first = half * kFloatLanes;
    for (long c = 0; c < columns; c += kFloatLanes) {
      const long count = at_most(columns - c, kFloatLanes);
      F block[kFloatLanes];
#pragma clang loop unroll(full)
      for (int i = 0; i < kFloatLanes; ++i)
        block[i] = first + i < rows ? load_first(from.row(first + i) + c, count) : splat<F>(0);
      transpose(block);
      float* to = panel + c * kPanel + first;
#pragma clang loop unroll(full)
      for (int i = 0; i < kFloatLanes; ++i)
        if (i < count) store(to + i * kPanel, block[i] * factor);
    }
  }
}

/// The transpose of a panel's first `rows` columns, column j times factors[j].
static OJ_NOINLINE void panel_to_rows(const float* panel, long rows, long columns,
                                      const F (&factors)[2], Matrix<float> to) {
  for (int half = 0; half < 2; ++half) {
    const long first = half * kFloatLanes;
    for (long c = 0; c < columns; c += kFloatLanes) {
      const long count = at_most(columns - c, kFloatLanes);
      const float* from = panel + c * kPanel + first;
      F block[kFloatLanes];
#pragma clang loop unroll(full)
      for (int i = 0; i < kFloatLanes; ++i)
        block[i] = i < count ? load(from + i * kPanel) * factors[half] : splat<F>(0);
      transpose(block);
#pragma clang loop unroll(full)
      for (int i = 0; i < kFloatLanes; ++i)
        if (first + i < rows) store_first(to.row(first + i) + c, block[i], count);
    }
  }
}

/// The columns of a matrix in panels of `rows` rows, times `factor`; columns that fill the last
/// panel up are zero.
static OJ_NOINLINE void columns_to_panels(Matrix<const float> from, long rows, long columns,
                                          float factor, float* panels) {
  for (long c = 0; c < columns; c += kPanel)
    for (long r = 0; r < rows; ++r, panels += kPanel) {
      const float* row = from.row(r) + c;
      store(panels, load_first(row, columns - c) * factor);
      const long rest = columns - c - kFloatLanes;
      store(panels + kFloatLanes,
            rest > 0 ? load_first(row + kFloatLanes, rest) * factor : splat<F>(0));
    }
}

/// The first `columns` columns of panels of `rows` rows, as a matrix.
static OJ_NOINLINE void panels_to_columns(const float* panels, long rows, long columns,
                                          Matrix<float> to) {
  for (long c = 0; c < columns; c += kPanel)
    for (long r = 0; r < rows; ++r, panels += kPanel) {
      store_first(to.row(r) + c, load(panels), columns - c);
      const long rest = columns - c - kFloatLanes;
      if (rest > 0) store_first(to.row(r) + c + kFloatLanes, load(panels + kFloatLanes), rest);
    }
}

// --- products ------------------------------------------------------------------------------------

/// A left operand whose element of row i and column k is data[i * stride + k].
struct ByRows {
  const float* data;
  long stride;
  float operator()(long i, long k) const { return data[i * stride + k]; }
  ByRows from(long i) const { return {data + i * stride, stride}; }
};

/// A left operand whose element of row i and column k is data[k * stride + i].
struct ByColumns {
  const float* data;
  long stride;
  float operator()(long i, long k) const { return data[k * stride + i]; }
  ByColumns from(long i) const { return {data + i, stride}; }
};

/// A left operand that lies in panels, whose columns are its columns; `stride` is from panel to
/// panel.
struct ByPanels {
  const float* data;
  long stride;
  ByPanels from(long i) const { return {data + i * kPanel, stride}; }
};

template <int rows, class Left>
OJ_INLINE void add_products(F (&sums)[rows][2], Left left, long depth, const float* right) {
  for (long k = 0; k < depth; ++k) {
    const F first = load(right + k * kPanel);
    const F second = load(right + k * kPanel + kFloatLanes);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; ++i) {
      const F x = splat<F>(left(i, k));
      sums[i][0] = mul_add(x, first, sums[i][0]);
      sums[i][1] = mul_add(x, second, sums[i][1]);
    }
  }
}

template <int rows>
OJ_INLINE void add_products(F (&sums)[rows][2], ByPanels left, long depth, const float* right) {
  for (long k = 0; k < depth; k += kPanel, left.data += left.stride, right += kPanel * kPanel)
    add_products(sums, ByRows{left.data, kPanel}, at_most(depth - k, kPanel), right);
}

/// A tile of the result: the products of `rows` rows of the left operand with a panel of `depth`
/// rows, added to what is there or in its place.
template <int rows, class Left>
static void multiply_tile(Left left, long depth, const float* right, float* result, bool add) {
  F sums[rows][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; ++i) {
    sums[i][0] = add ? load(result + i * kPanel) : splat<F>(0);
    sums[i][1] = add ? load(result + i * kPanel + kFloatLanes) : splat<F>(0);
  }
  add_products(sums, left, depth, right);
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; ++i) {
    store(result + i * kPanel, sums[i][0]);
    store(result + i * kPanel + kFloatLanes, sums[i][1]);
  }
}

template <class Left>
using TileFunction = void (*)(Left, long, const float*, float*, bool);

template <class Left, int... rows>
OJ_INLINE TileFunction<Left> tile_function(long count, std::integer_sequence<int, rows...>) {
  static constexpr TileFunction<Left> functions[] = {multiply_tile<rows + 1, Left>...};
  return functions[count - 1];
}

/// multiply_tile for 1 to kTile rows.
template <class Left>
OJ_INLINE void multiply_rows(Left left, long rows, long depth, const float* right, float* result,
                             bool add) {
  tile_function<Left>(rows, std::make_integer_sequence<int, kTile>())(left, depth, right, result,
                                                                      add);
}

/// The same for any number of rows, in tiles that differ by at most one row: few rows in a tile
/// take as long as some more do.
template <class Left>
OJ_INLINE void multiply(Left left, long rows, long depth, const float* right, float* result,
                        bool add) {
  for (long tiles = (rows + kTile - 1) / kTile, i = 0; tiles > 0; --tiles) {
    const long count = (rows - i + tiles - 1) / tiles;
    multiply_rows(left.from(i), count, depth, right, result + i * kPanel, add);
    i += count;
  }
}

}  // namespace oj
