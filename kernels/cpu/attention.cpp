// Everything is computed for a panel of queries at a time, one query a lane: scores lie as [key]
// [query], so that sums and maxima over keys are sums and maxima of vectors, and keys and values
// are read number by number as they lie.
#include "attention.h"

#include "exponential.h"
#include "logarithm.h"
#include "panels.h"

namespace oj {
namespace {

using namespace ourjit;

/// Queries of a task, or of a step of one.
constexpr long kQueries = 64;
/// Keys that are worked on at once: the scores of a panel stay in the first-level cache, those of
/// all panels, of which the backward pass keeps two matrices, in the second.
constexpr long kForwardKeys = 3072 / kPanel / kTile * kTile;
constexpr long kBackwardKeys = 96 / kTile * kTile;

/// Hands out parts of a block of memory; without one it measures how much that would be.
class Scratch {
 public:
  explicit Scratch(void* memory) : memory_(static_cast<float*>(memory)) {}
  float* take(long floats) {
    float* part = memory_ ? memory_ + used_ : nullptr;
    used_ += (floats + 15) / 16 * 16;
    return part;
  }
  std::size_t bytes() const { return static_cast<std::size_t>(used_) * sizeof(float); }

 private:
  float* const memory_;
  long used_ = 0;
};

long round_up(long x, long multiple) { return (x + multiple - 1) / multiple * multiple; }
long blocks(long queries) { return (queries + kQueries - 1) / kQueries; }

template <class T>
Matrix<T> of_head(const AttentionRows<T>& rows, const Attention& a, long head) {
  return {rows.data + head / a.heads * rows.batch + head % a.heads * rows.head, rows.row};
}

/// The matrix itself if its rows are adjacent, else a copy with adjacent rows: rows far apart may
/// share few places of the cache.
Matrix<const float> gather(Matrix<const float> m, long rows, long columns, float* copy) {
  if (m.stride == columns) return m;
  for (long r = 0; r < rows; ++r)
    __builtin_memcpy(copy + r * columns, m.row(r),
                     static_cast<std::size_t>(columns) * sizeof(float));
  return {copy, columns};
}

/// Keys and values of a head, where they lie or in the scratch memory of a pass.
template <class PassScratch>
void gather_head(const Attention& a, long head, const PassScratch& s, Matrix<const float>& keys,
                 Matrix<const float>& values) {
  keys = gather(of_head(a.key, a, head), a.keys, a.size, s.keys);
  values = gather(of_head(a.value, a, head), a.keys, a.size, s.values);
}

/// exp(x) for x up to 88; what is below the normal numbers is zero. The relative error grows with
/// |x| to 3e-6, where results are far too small to count beside those near 1.
OJ_INLINE F exponential(F x) {
  constexpr float log2_e = 0x1.715476p+0f;
  const F limited = at_least(x, -88.0f);
  const F biased = mul_add(limited, log2_e, biased_rounder<F>);
  const F rest = mul_add(limited, splat<F>(log2_e), biased_rounder<F> - biased);
  const F power = power_of_two<F>(biased);
  return mul_add(power * rest, paired_polynomial(rest, exp2_f32), power);
}

/// Which queries and keys a panel of scores is for.
struct Window {
  long head;
  long query, queries;
  long key, keys;
};

/// The mask's panel for the window, in `panel`, is added to the scores.
void add_mask(const Attention& a, const Window& w, float* panel, float* scores) {
  const AttentionMask& m = a.mask;
  const float* data = m.data + w.head / a.heads * m.batch + w.head % a.heads * m.head +
                      w.query * m.query + w.key * m.key;
  if (m.key == 1) {
    rows_to_panel({data, m.query}, w.queries, w.keys, 1, panel);
  } else {
    for (long k = 0; k < w.keys; ++k)
      for (long q = 0; q < kPanel; ++q)
        panel[k * kPanel + q] = q < w.queries ? data[q * m.query + k * m.key] : 0;
  }
  for (long i = 0; i < w.keys * kPanel; i += kFloatLanes)
    store(scores + i, load(scores + i) + load(panel + i));
}

/// Sets a panel's elements to `value` where the key comes after the query.
void hide_later_keys(const Window& w, float value, float* panel) {
  for (long k = w.query + 1 > w.key ? w.query + 1 - w.key : 0; k < w.keys; ++k)
    for (int half = 0; half < 2; ++half) {
      float* at = panel + k * kPanel + half * kFloatLanes;
      const I32 number = lane_numbers() + static_cast<int>(w.query + half * kFloatLanes);
      store(at, select<F>(number < static_cast<int>(w.key + k), splat<F>(value), load(at)));
    }
}

// --- forward -------------------------------------------------------------------------------------

struct ForwardScratch {
  ForwardScratch(const Attention& a, Scratch scratch)
      : keys(scratch.take(a.keys * a.size)),
        values(scratch.take(a.keys * a.size)),
        query(scratch.take(a.size * kPanel)),
        output(scratch.take(a.size * kPanel)),
        scores(scratch.take(kForwardKeys * kPanel)),
        mask(scratch.take(a.mask.data ? kForwardKeys * kPanel : 0)),
        bytes(scratch.bytes()) {}
  float *keys, *values, *query, *output, *scores, *mask;
  std::size_t bytes;
};

/// The largest score and the sum of exponentials of what it exceeds the others by, of the keys so
/// far.
struct Softmax {
  F largest[2] = {splat<F>(-__builtin_inff()), splat<F>(-__builtin_inff())};
  F sum[2] = {splat<F>(0), splat<F>(0)};
};

/// Scores become exponentials; what was computed from earlier keys is to be multiplied by
/// `factors`.
void add_keys(float* scores, long keys, Softmax& s, F (&factors)[2]) {
  F largest[2] = {s.largest[0], s.largest[1]};
  for (long k = 0; k < keys; ++k)
    for (int half = 0; half < 2; ++half) {
      const F score = load(scores + k * kPanel + half * kFloatLanes);
      largest[half] = score > largest[half] ? score : largest[half];
    }
  F base[2], sum[2];
  for (int half = 0; half < 2; ++half) {
    // -inf - -inf would be NaN where no key is seen yet.
    base[half] = select<F>(largest[half] == -__builtin_inff(), splat<F>(0), largest[half]);
    factors[half] = exponential(s.largest[half] - base[half]);
    sum[half] = s.sum[half] * factors[half];
    s.largest[half] = largest[half];
  }
  for (long k = 0; k < keys; ++k)
    for (int half = 0; half < 2; ++half) {
      float* at = scores + k * kPanel + half * kFloatLanes;
      const F e = exponential(load(at) - base[half]);
      sum[half] += e;
      store(at, e);
    }
  for (int half = 0; half < 2; ++half) s.sum[half] = sum[half];
}

void forward_panel(const AttentionForward& a, const ForwardScratch& s, Matrix<const float> keys,
                   Matrix<const float> values, Window w) {
  rows_to_panel({of_head(a.query, a, w.head).row(w.query), a.query.row}, w.queries, a.size, a.scale,
                s.query);
  const long seen = a.causal ? at_most(a.keys, w.query + w.queries) : a.keys;
  Softmax softmax;
  for (w.key = 0; w.key < seen; w.key += kForwardKeys) {
    w.keys = at_most(seen - w.key, kForwardKeys);
    multiply(ByRows{keys.row(w.key), keys.stride}, w.keys, a.size, s.query, s.scores, false);
    if (a.mask.data) add_mask(a, w, s.mask, s.scores);
    if (a.causal) hide_later_keys(w, -__builtin_inff(), s.scores);
    F factors[2];
    add_keys(s.scores, w.keys, softmax, factors);
    if (w.key > 0)
      for (long i = 0; i < a.size * kPanel; i += kPanel)
        for (int half = 0; half < 2; ++half) {
          float* at = s.output + i + half * kFloatLanes;
          store(at, load(at) * factors[half]);
        }
    multiply(ByColumns{values.row(w.key), values.stride}, a.size, w.keys, s.scores, s.output,
             w.key > 0);
  }
  float logsumexp[kPanel];
  F inverse[2];
  for (int half = 0; half < 2; ++half) {
    const I32 blind = softmax.largest[half] == -__builtin_inff();
    const F sum = select<F>(softmax.sum[half] == 0, splat<F>(1), softmax.sum[half]);
    inverse[half] = 1 / sum;
    store(logsumexp + half * kFloatLanes,
          select<F>(blind, splat<F>(0), softmax.largest[half]) + log(sum));
  }
  const Matrix<float> output = of_head(a.output, a, w.head);
  panel_to_rows(s.output, w.queries, a.size, inverse, {output.row(w.query), output.stride});
  if (!a.logsumexp.data) return;
  const Matrix<float> sums = of_head(a.logsumexp, a, w.head);
  for (long q = 0; q < w.queries; ++q) *sums.row(w.query + q) = logsumexp[q];
}

long forward_tasks(const AttentionForward& a) { return a.batches * a.heads * blocks(a.queries); }

std::size_t forward_scratch(const AttentionForward& a) {
  return ForwardScratch(a, Scratch(nullptr)).bytes;
}

void run_forward(const AttentionForward& a, long begin, long end, void* scratch) {
  const ForwardScratch s(a, Scratch(scratch));
  const long count = blocks(a.queries);
  Matrix<const float> keys{}, values{};
  long head = -1;
  for (long task = begin; task < end; ++task) {
    if (head != task / count) {
      head = task / count;
      gather_head(a, head, s, keys, values);
    }
    // From both ends in turns: later queries see more keys, and adjacent tasks are one thread's.
    const long i = task % count, block = i % 2 ? count - 1 - i / 2 : i / 2;
    const long end_query = at_most(a.queries, (block + 1) * kQueries);
    for (long query = block * kQueries; query < end_query; query += kPanel)
      forward_panel(a, s, keys, values, {head, query, at_most(end_query - query, kPanel), 0, 0});
  }
}

// --- backward ------------------------------------------------------------------------------------

/// Where heads are few, the queries of each are dealt out to so many parts, block by block. Each
/// part sums up gradients of all keys, to be added in the order of the parts. A part has queries
/// enough that this costs little.
long parts(const Attention& a) {
  constexpr long enough_tasks = 16, least_blocks = 4;
  const long heads = a.batches * a.heads;
  const long wanted = at_most((enough_tasks + heads - 1) / heads, blocks(a.queries) / least_blocks);
  return wanted > 1 ? wanted : 1;
}

struct BackwardScratch {
  BackwardScratch(const Attention& a, Scratch scratch)
      : width(round_up(a.size, kPanel)),
        keys(scratch.take(a.keys * a.size)),
        values(scratch.take(a.keys * a.size)),
        grad_keys(scratch.take(parts(a) > 1 ? 0 : a.keys * width)),
        grad_values(scratch.take(parts(a) > 1 ? 0 : a.keys * width)),
        query(scratch.take(a.size * kQueries)),
        grad_output(scratch.take(a.size * kQueries)),
        query_columns(scratch.take(width * kQueries)),
        grad_output_columns(scratch.take(width * kQueries)),
        grad_query(scratch.take(a.size * kQueries)),
        weights(scratch.take(kBackwardKeys * kQueries)),
        grad_scores(scratch.take(kBackwardKeys * kQueries)),
        mask(scratch.take(a.mask.data ? kBackwardKeys * kPanel : 0)),
        logsumexp(scratch.take(kQueries)),
        delta(scratch.take(kQueries)),
        bytes(scratch.bytes()) {}
  long width;
  float *keys, *values;                        // rows
  float *grad_keys, *grad_values;              // panels of columns
  float *query, *grad_output;                  // panels, a query a lane; query times scale
  float *query_columns, *grad_output_columns;  // panels of columns
  float* grad_query;                           // panels, a query a lane
  float *weights, *grad_scores;                // panels, a query a lane
  float *mask, *logsumexp, *delta;             // delta: products of outputs with their gradients
  std::size_t bytes;
};

float dot(const float* a, const float* b, long count) {
  F sum = splat<F>(0);
  for (long i = 0; i < count; i += kFloatLanes)
    sum = mul_add(load_first(a + i, count - i), load_first(b + i, count - i), sum);
  float total = 0;
  for (int i = 0; i < kFloatLanes; ++i) total += sum[i];
  return total;
}

/// What the step for a block of queries needs of them.
void prepare_queries(const AttentionBackward& a, const BackwardScratch& s, const Window& w) {
  const auto rows = [&](const AttentionRows<const float>& r) {
    const Matrix<const float> m = of_head(r, a, w.head);
    return Matrix<const float>{m.row(w.query), m.stride};
  };
  const Matrix<const float> query = rows(a.query), grad_output = rows(a.grad_output);
  const Matrix<const float> output = rows(a.output), logsumexp = rows(a.logsumexp);
  for (long q = 0; q < w.queries; q += kPanel) {
    const long count = at_most(w.queries - q, kPanel);
    rows_to_panel({query.row(q), query.stride}, count, a.size, a.scale, s.query + q * a.size);
    rows_to_panel({grad_output.row(q), grad_output.stride}, count, a.size, 1,
                  s.grad_output + q * a.size);
  }
  columns_to_panels(query, w.queries, a.size, a.scale, s.query_columns);
  columns_to_panels(grad_output, w.queries, a.size, 1, s.grad_output_columns);
  for (long q = 0; q < kQueries; ++q) {
    s.logsumexp[q] = q < w.queries ? *logsumexp.row(q) : 0;
    s.delta[q] = q < w.queries ? dot(output.row(q), grad_output.row(q), a.size) : 0;
  }
}

/// Weights (the softmax of the scores) and gradients of the scores, of a panel of queries whose
/// first is `q` of its block.
void grad_scores_panel(const AttentionBackward& a, const BackwardScratch& s,
                       Matrix<const float> keys, Matrix<const float> values, const Window& w,
                       long q) {
  float* weights = s.weights + q * kBackwardKeys;
  float* grads = s.grad_scores + q * kBackwardKeys;
  multiply(ByRows{keys.row(w.key), keys.stride}, w.keys, a.size, s.query + q * a.size, weights,
           false);
  multiply(ByRows{values.row(w.key), values.stride}, w.keys, a.size, s.grad_output + q * a.size,
           grads, false);
  if (a.mask.data) add_mask(a, w, s.mask, weights);
  if (a.causal) hide_later_keys(w, -__builtin_inff(), weights);
  const F logsumexp[2] = {load(s.logsumexp + q), load(s.logsumexp + q + kFloatLanes)};
  const F delta[2] = {load(s.delta + q), load(s.delta + q + kFloatLanes)};
  for (long k = 0; k < w.keys * kPanel; k += kPanel)
    for (int half = 0; half < 2; ++half) {
      const long at = k + half * kFloatLanes;
      const F weight = exponential(at_most(load(weights + at) - logsumexp[half], 88.0f));
      store(weights + at, weight);
      store(grads + at, weight * (load(grads + at) - delta[half]));
    }
}

/// Adds to the gradients of a block of keys what a block of queries contributes.
void add_key_grads(const AttentionBackward& a, const BackwardScratch& s, const Window& w) {
  for (long c = 0; c < s.width; c += kPanel)
    for (long k = 0; k < w.keys; k += kTile) {
      const long rows = at_most(w.keys - k, kTile);
      // The first panel that sees a key of the tile.
      const long hidden = a.causal ? w.key + k - w.query : 0;
      const long q = hidden > 0 ? hidden / kPanel * kPanel : 0;
      const long left = q * kBackwardKeys + k * kPanel, stride = kBackwardKeys * kPanel;
      const long right = c * w.queries + q * kPanel, result = c * a.keys + (w.key + k) * kPanel;
      multiply_rows(ByPanels{s.weights + left, stride}, rows, w.queries - q,
                    s.grad_output_columns + right, s.grad_values + result, true);
      multiply_rows(ByPanels{s.grad_scores + left, stride}, rows, w.queries - q,
                    s.query_columns + right, s.grad_keys + result, true);
    }
}

/// The step for a block of queries and a block of keys.
void backward_block(const AttentionBackward& a, const BackwardScratch& s, Matrix<const float> keys,
                    Matrix<const float> values, const Window& w) {
  for (long q = 0; q < w.queries; q += kPanel) {
    Window panel{w.head, w.query + q, at_most(w.queries - q, kPanel), w.key, w.keys};
    // Whole tiles: what they hold beyond the last key that is seen becomes zero.
    if (a.causal)
      panel.keys = at_most(w.keys, round_up(panel.query + panel.queries - w.key, kTile));
    if (panel.keys <= 0) continue;
    grad_scores_panel(a, s, keys, values, panel, q);
    multiply(ByColumns{keys.row(w.key), keys.stride}, a.size, panel.keys,
             s.grad_scores + q * kBackwardKeys, s.grad_query + q * a.size, true);
  }
  add_key_grads(a, s, w);
}

/// The panels of columns in which task `task` sums up gradients of keys, then of values, if they
/// are shared with run_backward_sums().
float* shared_sums(const AttentionBackward& a, long width, long task) {
  return static_cast<float*>(a.shared) + task * 2 * a.keys * width;
}

void clear(float* to, long count) {
  __builtin_memset(to, 0, static_cast<std::size_t>(count) * sizeof(float));
}

/// The gradients of the queries of a part, and what they contribute to those of keys and values.
void backward_part(const AttentionBackward& a, const BackwardScratch& s, Matrix<const float> keys,
                   Matrix<const float> values, long head, long part) {
  const Matrix<float> grad_query = of_head(a.grad_query, a, head);
  const F scales[2] = {splat<F>(a.scale), splat<F>(a.scale)};
  clear(s.grad_keys, a.keys * s.width);
  clear(s.grad_values, a.keys * s.width);
  const long step = parts(a) * kQueries;
  for (long query = part * kQueries; query < a.queries; query += step) {
    Window w{head, query, at_most(a.queries - query, kQueries), 0, 0};
    prepare_queries(a, s, w);
    clear(s.grad_query, a.size * kQueries);
    const long seen = a.causal ? at_most(a.keys, query + w.queries) : a.keys;
    for (w.key = 0; w.key < seen; w.key += kBackwardKeys) {
      w.keys = at_most(seen - w.key, kBackwardKeys);
      backward_block(a, s, keys, values, w);
    }
    for (long q = 0; q < w.queries; q += kPanel)
      panel_to_rows(s.grad_query + q * a.size, at_most(w.queries - q, kPanel), a.size, scales,
                    {grad_query.row(query + q), grad_query.stride});
  }
}

long backward_tasks(const AttentionBackward& a) { return a.batches * a.heads * parts(a); }

std::size_t backward_scratch(const AttentionBackward& a) {
  return BackwardScratch(a, Scratch(nullptr)).bytes;
}

void run_backward(const AttentionBackward& a, long begin, long end, void* scratch) {
  BackwardScratch s(a, Scratch(scratch));
  const long count = parts(a);
  Matrix<const float> keys{}, values{};
  long head = -1;
  for (long task = begin; task < end; ++task) {
    if (head != task / count) {
      head = task / count;
      gather_head(a, head, s, keys, values);
    }
    if (count > 1) {
      s.grad_keys = shared_sums(a, s.width, task);
      s.grad_values = s.grad_keys + a.keys * s.width;
    }
    backward_part(a, s, keys, values, head, task % count);
    if (count > 1) continue;
    panels_to_columns(s.grad_keys, a.keys, a.size, of_head(a.grad_key, a, head));
    panels_to_columns(s.grad_values, a.keys, a.size, of_head(a.grad_value, a, head));
  }
}

std::size_t backward_shared(const AttentionBackward& a) {
  const long floats = parts(a) > 1 ? backward_tasks(a) * 2 * a.keys * round_up(a.size, kPanel) : 0;
  return static_cast<std::size_t>(floats) * sizeof(float);
}

long sums_tasks(const AttentionBackward& a) { return parts(a) > 1 ? a.batches * a.heads * 2 : 0; }

std::size_t sums_scratch(const AttentionBackward&) { return 0; }

/// A task adds up the parts of a head's gradients, of keys or of values.
void run_backward_sums(const AttentionBackward& a, long begin, long end, void*) {
  const long width = round_up(a.size, kPanel), count = parts(a), floats = a.keys * width;
  for (long task = begin; task < end; ++task) {
    const long head = task / 2;
    float* sums = shared_sums(a, width, head * count) + task % 2 * floats;
    for (long part = 1; part < count; ++part)
      for (long i = 0; i < floats; i += kFloatLanes)
        store(sums + i, load(sums + i) + load(sums + part * 2 * floats + i));
    panels_to_columns(sums, a.keys, a.size, of_head(task % 2 ? a.grad_value : a.grad_key, a, head));
  }
}

}  // namespace
}  // namespace oj

#define OURJIT_ATTENTION_OF(bits) ourjit_attention_##bits
#define OURJIT_ATTENTION(bits) OURJIT_ATTENTION_OF(bits)

extern "C" const ourjit::AttentionKernels OURJIT_ATTENTION(OURJIT_VECTOR_BITS) = {
    oj::kPanel,
    {oj::forward_tasks, oj::forward_scratch, oj::run_forward},
    {oj::backward_tasks, oj::backward_scratch, oj::run_backward},
    oj::backward_shared,
    {oj::sums_tasks, oj::sums_scratch, oj::run_backward_sums}};
