// Scaled dot-product attention of floats, forward and backward.
//
//   scores = scale * query keyᵀ + mask,  output = softmax(scores) value
//
// for each batch and head. No matrix of scores is ever in memory: the forward pass keeps each
// query's largest score and sum of exponentials as it walks along the keys, and leaves
// logsumexp(scores), from which the backward pass computes the scores' softmax anew.
//
// Work is cut into tasks that write to places of their own, by sizes alone: results are the same
// bits for every number of threads. The caller gives scratch memory, aligned to 64 bytes.
#pragma once

#include <cstddef>

namespace ourjit {

/// Element e of a row is at data[b * batch + h * head + r * row + e].
template <class T>
struct AttentionRows {
  T* data = nullptr;
  long batch = 0, head = 0, row = 0;
};

/// What is added to the score of a query and a key: data[b * batch + h * head + q * query +
/// k * key]. All pairs count if data is null.
struct AttentionMask {
  const float* data = nullptr;
  long batch = 0, head = 0, query = 0, key = 0;
};

struct Attention {
  long batches, heads, queries, keys;  // at least 1
  long size;                           // of a head, 1 to kMaxHeadSize
  float scale;
  bool causal;  // a query sees the keys up to its own number
  AttentionRows<const float> query, key, value;
  AttentionMask mask;
};

inline constexpr long kMaxHeadSize = 256;

/// A query that sees no key, as the mask is -inf for all, has zeros as output and as logsumexp.
struct AttentionForward : Attention {
  AttentionRows<float> output;
  AttentionRows<float> logsumexp;  // a row is one element; data may be null
};

struct AttentionBackward : Attention {
  AttentionRows<const float> output, logsumexp, grad_output;
  AttentionRows<float> grad_query, grad_key, grad_value;
  void* shared = nullptr;  // memory for AttentionKernels::backward_shared() bytes
};

/// Tasks may run in any order and at once, those of a range on one thread with its own scratch.
template <class Problem>
struct AttentionPass {
  long (*tasks)(const Problem&);
  /// In bytes, for each thread.
  std::size_t (*scratch)(const Problem&);
  void (*run)(const Problem&, long begin, long end, void* scratch);
};

struct AttentionKernels {
  long panel;  // queries are computed so many at a time
  AttentionPass<AttentionForward> forward;
  AttentionPass<AttentionBackward> backward;
  std::size_t (*backward_shared)(const AttentionBackward&);
  AttentionPass<AttentionBackward> backward_sums;  // after all of `backward`; may have no tasks
};

/// The kernels for a vector width, which run where the processor has its instructions (x86-64-v2,
/// -v3, -v4).
extern "C" const AttentionKernels ourjit_attention_128, ourjit_attention_256, ourjit_attention_512;

}  // namespace ourjit
