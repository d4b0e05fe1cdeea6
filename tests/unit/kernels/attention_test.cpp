#include "attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace ourjit {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Width {
  int bits;
  const AttentionKernels* kernels;
};

/// Those that this processor can run.
std::vector<Width> widths() {
  std::vector<Width> result;
  if (__builtin_cpu_supports("x86-64-v2")) result.push_back({128, &ourjit_attention_128});
  if (__builtin_cpu_supports("x86-64-v3")) result.push_back({256, &ourjit_attention_256});
  if (__builtin_cpu_supports("x86-64-v4")) result.push_back({512, &ourjit_attention_512});
  return result;
}

struct Case {
  long batches, heads, queries, keys, size;
  bool causal = false;
  enum Mask { None, Full, OfKeys, Infinite } mask = None;
  float spread = 1;  // of queries
  std::string name() const {
    std::string s;
    for (const long n : {batches, heads, queries, keys, size}) s += std::to_string(n) + " ";
    return s + (causal ? "causal " : "") + "mask " + std::to_string(mask);
  }
};

/// Rows of `size` elements at some distance of each other, in the order batch, row, head.
struct Rows {
  Rows(const Case& c, long count, long gap = 0)
      : heads(c.heads), count(count), row((c.size + gap) * c.heads), head(c.size + gap) {
    data.assign(static_cast<size_t>(c.batches * count * row), -77.0f);
  }
  float* at(long b, long h, long r) { return data.data() + (b * count + r) * row + h * head; }
  template <class T>
  AttentionRows<T> view() {
    return {data.data(), count * row, head, row};
  }
  void fill(std::mt19937& random, float spread) {
    std::normal_distribution<float> normal(0, spread);
    for (float& x : data) x = normal(random);
  }
  long heads, count, row, head;
  std::vector<float> data;
};

struct Tensors {
  explicit Tensors(const Case& c)
      : query(c, c.queries, 3),
        key(c, c.keys, 5),
        value(c, c.keys),
        output(c, c.queries, 1),
        grad_output(c, c.queries),
        grad_query(c, c.queries, 2),
        grad_key(c, c.keys, 1),
        grad_value(c, c.keys),
        logsumexp(static_cast<size_t>(c.batches * c.heads * c.queries), -77.0f) {
    std::mt19937 random(7);
    query.fill(random, c.spread);
    for (Rows* r : {&key, &value, &grad_output}) r->fill(random, 1);
    if (c.mask == Case::None) return;
    const long rows = c.mask == Case::OfKeys ? 1 : c.queries;
    mask.resize(static_cast<size_t>(c.batches * rows * c.keys));
    std::normal_distribution<float> normal;
    for (float& x : mask) x = normal(random);
    if (c.mask != Case::Infinite) return;
    for (float& x : mask)
      if (random() % 3 == 0) x = -kInfinity;
    // And a query that sees nothing.
    std::fill_n(mask.begin() + c.queries / 2 * c.keys, c.keys, -kInfinity);
  }

  Attention problem(const Case& c) {
    Attention a{c.batches, c.heads, c.queries, c.keys, c.size, 0.3f, c.causal, {}, {}, {}, {}};
    a.query = query.view<const float>();
    a.key = key.view<const float>();
    a.value = value.view<const float>();
    const long rows = c.mask == Case::OfKeys ? 1 : c.queries;
    if (c.mask != Case::None)
      a.mask = {mask.data(), rows * c.keys, 0, c.mask == Case::OfKeys ? 0 : c.keys, 1};
    return a;
  }

  Rows query, key, value, output, grad_output, grad_query, grad_key, grad_value;
  std::vector<float> logsumexp, mask;
};

template <class Problem>
void run(const AttentionPass<Problem>& pass, const Problem& p, long step) {
  const size_t bytes = (pass.scratch(p) + 63) / 64 * 64;
  const std::unique_ptr<void, decltype(&std::free)> scratch(std::aligned_alloc(64, bytes),
                                                            &std::free);
  std::fill_n(static_cast<unsigned char*>(scratch.get()), bytes, 0xff);  // NaN
  const long tasks = pass.tasks(p);
  for (long t = 0; t < tasks; t += step) pass.run(p, t, std::min(tasks, t + step), scratch.get());
}

void run(const AttentionKernels& k, const Case& c, Tensors& t, long step) {
  const Attention a = t.problem(c);
  const auto strided = [&]<class T>(T* data) {
    return AttentionRows<T>{data, c.heads * c.queries, c.queries, 1};
  };
  AttentionForward f{a, t.output.view<float>(), strided(t.logsumexp.data())};
  run(k.forward, f, step);
  AttentionBackward b{a,
                      t.output.view<const float>(),
                      strided(static_cast<const float*>(t.logsumexp.data())),
                      t.grad_output.view<const float>(),
                      t.grad_query.view<float>(),
                      t.grad_key.view<float>(),
                      t.grad_value.view<float>()};
  // Whole lines of the cache, as scratch memory.
  std::vector<float> shared(k.backward_shared(b) / sizeof(float) + 16, -77.0f);
  b.shared = shared.data() + (64 - reinterpret_cast<uintptr_t>(shared.data()) % 64) % 64 / 4;
  run(k.backward, b, step);
  run(k.backward_sums, b, step);
}

using Matrix = std::vector<std::vector<double>>;

double dot(const float* a, const float* b, long n) {
  double sum = 0;
  for (long i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

/// The results of one head in double precision.
struct Reference {
  Reference(const Case& c, Tensors& t, long b, long h)
      : output(c.queries, std::vector<double>(c.size)),
        grad_query(output),
        grad_key(c.keys, std::vector<double>(c.size)),
        grad_value(grad_key),
        logsumexp(c.queries) {
    const Attention a = t.problem(c);
    for (long q = 0; q < c.queries; ++q) {
      const float* query = t.query.at(b, h, q);
      const float* grad = t.grad_output.at(b, h, q);
      const long seen = c.causal ? std::min(c.keys, q + 1) : c.keys;
      std::vector<double> weight(seen), slope(seen);
      double largest = -kInfinity, sum = 0, delta = 0;
      for (long k = 0; k < seen; ++k) {
        weight[k] = static_cast<double>(a.scale) * dot(query, t.key.at(b, h, k), c.size);
        if (a.mask.data) weight[k] += a.mask.data[b * a.mask.batch + q * a.mask.query + k];
        largest = std::max(largest, weight[k]);
      }
      if (largest == -kInfinity) continue;
      for (double& w : weight) sum += w = std::exp(w - largest);
      logsumexp[q] = largest + std::log(sum);
      for (long k = 0; k < seen; ++k) {
        weight[k] /= sum;
        slope[k] = dot(grad, t.value.at(b, h, k), c.size);
        delta += weight[k] * slope[k];
      }
      for (long k = 0; k < seen; ++k)
        for (long i = 0; i < c.size; ++i) {
          const double grad_score = weight[k] * (slope[k] - delta) * a.scale;
          output[q][i] += weight[k] * t.value.at(b, h, k)[i];
          grad_query[q][i] += grad_score * t.key.at(b, h, k)[i];
          grad_key[k][i] += grad_score * query[i];
          grad_value[k][i] += weight[k] * grad[i];
        }
    }
  }
  Matrix output, grad_query, grad_key, grad_value;
  std::vector<double> logsumexp;
};

void expect_close(const Matrix& expected, Rows& got, long b, long h, double tolerance,
                  const char* what) {
  double largest = 1, error = 0;
  for (size_t r = 0; r < expected.size(); ++r)
    for (size_t i = 0; i < expected[r].size(); ++i) {
      const double difference = std::fabs(got.at(b, h, static_cast<long>(r))[i] - expected[r][i]);
      largest = std::max(largest, std::fabs(expected[r][i]));
      error = std::isnan(difference) ? kInfinity : std::max(error, difference);
    }
  EXPECT_LE(error, tolerance * largest) << what;
}

void check(const Case& c) {
  SCOPED_TRACE(c.name());
  for (const Width& w : widths()) {
    SCOPED_TRACE(w.bits);
    Tensors t(c), cut(c);
    run(*w.kernels, c, t, 1 << 20);
    // Scores are rounded in proportion to their size, and so are the exponents of weights.
    const double tolerance = 2e-6 * std::max(1.0f, c.spread) * std::sqrt(c.size + c.queries);
    for (long b = 0; b < c.batches; ++b)
      for (long h = 0; h < c.heads; ++h) {
        const Reference r(c, t, b, h);
        expect_close(r.output, t.output, b, h, tolerance, "output");
        expect_close(r.grad_query, t.grad_query, b, h, tolerance, "gradient of queries");
        expect_close(r.grad_key, t.grad_key, b, h, tolerance, "gradient of keys");
        expect_close(r.grad_value, t.grad_value, b, h, tolerance, "gradient of values");
        for (long q = 0; q < c.queries; ++q)
          EXPECT_NEAR(t.logsumexp[static_cast<size_t>((b * c.heads + h) * c.queries + q)],
                      r.logsumexp[q], tolerance * std::max(1.0, std::fabs(r.logsumexp[q])));
      }
    run(*w.kernels, c, cut, 1);
    EXPECT_EQ(t.output.data, cut.output.data);
    EXPECT_EQ(t.logsumexp, cut.logsumexp);
    EXPECT_EQ(t.grad_query.data, cut.grad_query.data);
    EXPECT_EQ(t.grad_key.data, cut.grad_key.data);
    EXPECT_EQ(t.grad_value.data, cut.grad_value.data);
  }
}

TEST(Attention, AnyNumberOfQueriesAndKeys) {
  for (const long queries : {1, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130})
    for (const long keys : {1, 6, 7, 95, 97, 200})
      for (const bool causal : {false, true}) check({1, 1, queries, keys, 8, causal});
}

TEST(Attention, AnyHeadSize) {
  for (const long size : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40, 64, 100, 127, 128, 255, 256})
    for (const bool causal : {false, true}) check({1, 2, 37, 41, size, causal});
}

TEST(Attention, ManyBlocksOfHeads) {
  for (const bool causal : {false, true}) {
    check({2, 3, 200, 200, 20, causal});
    check({3, 1, 70, 410, 12, causal});
    check({1, 2, 410, 70, 12, causal});
    check({1, 1, 900, 300, 12, causal});
    check({2, 2, 600, 610, 20, causal});
  }
}

TEST(Attention, Masks) {
  for (const Case::Mask mask : {Case::Full, Case::OfKeys, Case::Infinite})
    for (const bool causal : {false, true}) {
      check({2, 3, 45, 45, 16, causal, mask});
      check({2, 1, 70, 250, 5, causal, mask});
    }
}

TEST(Attention, ScoresThatOverwhelmOthers) {
  for (const float spread : {100.0f, 3000.0f})
    for (const bool causal : {false, true}) check({1, 1, 40, 230, 16, causal, Case::None, spread});
}

TEST(Attention, MaskThatIsTransposedOrOfQueries) {
  const Case c{1, 1, 20, 30, 8, false, Case::Full};
  for (const Width& w : widths()) {
    Tensors rows(c), columns(c);
    run(*w.kernels, c, rows, 1);
    const std::vector<float> mask = columns.mask;
    for (long q = 0; q < c.queries; ++q)
      for (long k = 0; k < c.keys; ++k) columns.mask[k * c.queries + q] = mask[q * c.keys + k];
    Attention a = columns.problem(c);
    a.mask = {columns.mask.data(), 0, 0, 1, c.queries};
    run(w.kernels->forward, AttentionForward{a, columns.output.view<float>(), {}}, 1);
    EXPECT_EQ(rows.output.data, columns.output.data);
  }
}

TEST(Attention, LowestFiniteMaskIsNotInfinite) {
  const Case c{1, 1, 3, 50, 4, false, Case::OfKeys};
  for (const Width& w : widths()) {
    Tensors t(c);
    std::fill(t.mask.begin(), t.mask.end(), std::numeric_limits<float>::lowest());
    run(*w.kernels, c, t, 1);
    for (long i = 0; i < c.size; ++i) {
      double mean = 0;
      for (long k = 0; k < c.keys; ++k) mean += t.value.at(0, 0, k)[i] / c.keys;
      EXPECT_NEAR(t.output.at(0, 0, 1)[i], mean, 1e-6);
    }
  }
}

TEST(Attention, NanStaysWithItsQuery) {
  const Case c{1, 1, 20, 30, 8};
  for (const Width& w : widths()) {
    Tensors t(c);
    t.query.at(0, 0, 4)[3] = std::numeric_limits<float>::quiet_NaN();
    run(*w.kernels, c, t, 1);
    for (long q = 0; q < c.queries; ++q)
      EXPECT_EQ(std::isnan(t.output.at(0, 0, q)[0]), q == 4) << q;
    EXPECT_TRUE(std::isnan(t.logsumexp[4]));
  }
}

}  // namespace
}  // namespace ourjit
