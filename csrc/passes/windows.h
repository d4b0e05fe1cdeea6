// Windows that slide over the last dims of a tensor, and what they hold.
//
// A window of few elements is taken apart into taps: its i-th elements of all windows are a strided
// slice of the padded input, so that a chain of pointwise operators computes all windows at once.
// Longer windows become dims of their own, which are reduced: a reshape where windows tile their
// dim, a gather elsewhere, unless they overlap along one dim, where taps are read in a row.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/scalar_eval.h"
#include "passes/aten_args.h"

namespace ourjit {

constexpr int64_t kMaxTaps = 32;       // of a window
constexpr int64_t kMaxLineTaps = 128;  // of a window of one dim that overlaps with others

/// The windows along one dim of `size` elements; there are `count`. Window o of an adaptive pooling
/// holds the elements from floor(o * size / count) up to ceil((o + 1) * size / count), and `kernel`
/// is the most that one can hold; any other begins at o * stride - padding.
struct Windows {
  Sym size, count;
  Sym kernel, stride = 1;
  int64_t padding = 0, dilation = 1;
  bool adaptive = false;
  bool overhang = false;  // the last window may end behind the padding

  /// Reshaping the dim gives the windows.
  bool tile() const {
    return !adaptive && kernel == stride && padding == 0 && dilation == 1 && size == count * stride;
  }
  bool trivial() const { return tile() && kernel.is_const(1); }
};

/// The pooled dims are the last; `first` is the first of them.
struct Pooling {
  int64_t first = 0;
  std::vector<Windows> dims;

  Sym kernel() const {
    Sym n = 1;
    for (const Windows& w : dims) n *= w.kernel;
    return n;
  }
};

/// True if `n` is known and small enough for one node each.
inline bool few(const Sym& n, int64_t most = kMaxTaps) { return n.is_const() && n.value() <= most; }

/// Kernel size, stride, padding and, if `dilated`, dilation at arguments `at` and following, over
/// the last `n` dims: `from` are the sizes before pooling and `to` after it.
Pooling sliding(const AtenCall& c, int n, int at, int ceil_mode, bool dilated,
                const std::vector<Sym>& from, const std::vector<Sym>& to);
/// Those of an adaptive pooling from `size` to `count` elements; the same as of any other if all
/// are alike.
Windows adaptive_windows(const Sym& size, const Sym& count);
Pooling adaptive(int n, const std::vector<Sym>& from, const std::vector<Sym>& to);

/// A size as a 0-d i64.
inline Expr size_of(Builder& b, const Sym& n) { return number(b, n, DType::i64); }
/// The first element of each window, [count] i64; negative in the padding.
Expr begins(Builder& b, const Windows& w);
/// How far elements of each pooled dim are apart in a row-major plane of them.
std::vector<Sym> plane_strides(const Pooling& p);
/// The dtype to compute places in a plane in: i32, of which a vector holds more, where it suffices.
DType place_dtype(const Pooling& p);
/// `e`, [count, kernel], along dims `dim` and `dim + 1` of a tensor of rank `rank`.
Expr along_pair(const Expr& e, int64_t dim, int rank);

/// Calls `visit` with the i-th elements of all windows and with i, dim by dim, in row-major order
/// of i. What windows lack is `fill`.
void for_each_tap(const Expr& x, const Pooling& p, const Scalar& fill,
                  const std::function<void(const Expr&, const std::vector<int64_t>&)>& visit);

/// A tensor whose pooled dims are each replaced by [count, kernel].
struct Unfolded {
  Expr value;
  std::vector<int64_t> window_dims;  // the kernel dims
  /// For each pooled dim where elements exist, against the value; nullopt: everywhere.
  std::vector<std::optional<Expr>> exists;

  /// `e`, [count, kernel] of pooled dim `d`, against the value.
  Expr fit(const Expr& e, size_t d) const {
    return along_pair(e, window_dims[d] - 1, value.rank());
  }
};

/// Elements that a window lacks are `fill`.
Unfolded unfold(const Expr& x, const Pooling& p, const Expr& fill);
/// The places along their dim of the elements of each window, [count, kernel] i64.
Expr places(Builder& b, const Windows& w);

/// Each window reduced by `op`, sum or max. Windows of several dims that neither have taps nor tile
/// are reduced dim by dim.
Expr reduced(const Expr& x, const Pooling& p, ReduceOp op);
/// The number of elements by which each window's sum is divided, broadcast against a result of rank
/// `rank`.
Expr divisor(Builder& b, const Pooling& p, bool count_padding, DType t, int rank);

/// Argument i if it is given, else divisor().
Expr divisor_or(AtenCall& c, int i, const Pooling& p, bool count_padding, DType t);
/// `x`, of one element a window, divided by `n`; integers truncate.
Expr averaged(const Expr& x, const Expr& n);
/// All results of `c` are zeros: they have no elements, or are sums of none.
void no_elements(AtenCall& c);

}  // namespace ourjit
