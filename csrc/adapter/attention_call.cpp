#include "adapter/attention_call.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <optional>

#include "adapter/tensors.h"
#include "native_kernels.h"

namespace ourjit {

namespace {

bool is_float(const at::Tensor& t, int64_t dims) {
  return t.is_cpu() && t.scalar_type() == at::kFloat && t.dim() == dims;
}

/// True if the elements of a head's row are adjacent.
bool has_rows(const at::Tensor& t) { return t.stride(3) == 1 || t.size(3) == 1; }

/// The tensor, or a copy whose rows' elements are adjacent.
at::Tensor with_rows(const at::Tensor& t) { return has_rows(t) ? t : t.contiguous(); }

AttentionRows<const float> rows(const at::Tensor& t) {
  return {t.const_data_ptr<float>(), t.stride(0), t.stride(1), t.stride(2)};
}

AttentionRows<float> written_rows(const at::Tensor& t) {
  return {t.mutable_data_ptr<float>(), t.stride(0), t.stride(1), t.stride(2)};
}

/// A panel takes as long for a few queries as for all. ATen, which computes no more than there is,
/// is faster where panels are filled to less than about 3/4, unless its overhead for each call
/// outweighs that: benchmarks/attention.py --few.
bool is_worthwhile(const Attention& a) {
  constexpr int64_t kFewProducts = 1 << 17;
  const int64_t panel = native_attention()->panel;
  const int64_t computed = (a.queries + panel - 1) / panel * panel;
  return 4 * a.queries >= 3 * computed ||
         a.batches * a.heads * computed * a.keys * a.size <= kFewProducts;
}

std::optional<AttentionMask> mask_of(const c10::IValue& argument, const Attention& a) {
  if (argument.isNone() || !argument.toTensor().defined()) return AttentionMask();
  const at::Tensor& t = argument.toTensor();
  const bool of_heads = t.dim() == 4;
  if (!is_float(t, of_heads ? 4 : 2)) return std::nullopt;
  bool fits = true;
  const auto stride = [&](int64_t dim, int64_t size) -> int64_t {
    fits &= t.size(dim) == size || t.size(dim) == 1;
    return t.size(dim) == 1 ? 0 : t.stride(dim);
  };
  const AttentionMask mask{t.const_data_ptr<float>(), of_heads ? stride(0, a.batches) : 0,
                           of_heads ? stride(1, a.heads) : 0, stride(-2, a.queries),
                           stride(-1, a.keys)};
  return fits && t.numel() > 0 ? std::optional(mask) : std::nullopt;
}

/// What both passes share: sizes, and all arguments that are no gradients. Nothing if ATen is to
/// compute it.
std::optional<Attention> attention_of(const at::Tensor& query, const at::Tensor& key,
                                      const at::Tensor& value, double dropout, bool causal,
                                      const c10::IValue& mask, const c10::IValue& scale) {
  if (!native_attention() || !is_float(query, 4) || !is_float(key, 4) || !is_float(value, 4) ||
      dropout != 0)
    return std::nullopt;
  Attention a{query.size(0), query.size(1), query.size(2), key.size(2), query.size(3), 0, causal,
              rows(query),   rows(key),     rows(value),   {}};
  const int64_t other[] = {a.batches, a.heads, a.keys, a.size};
  if (key.sizes() != c10::IntArrayRef(other) || value.sizes() != c10::IntArrayRef(other) ||
      query.numel() == 0 || key.numel() == 0 || a.size > kMaxHeadSize || !is_worthwhile(a))
    return std::nullopt;
  a.scale = scale.isNone() ? 1 / std::sqrt(static_cast<float>(a.size))
                           : static_cast<float>(scale.toDouble());
  const std::optional<AttentionMask> m = mask_of(mask, a);
  if (!m) return std::nullopt;
  a.mask = *m;
  return a;
}

constexpr size_t kLine = 64;  // bytes

/// Memory that begins with a line of the cache.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : memory_(new_storage(static_cast<int64_t>(bytes + kLine))) {}
  char* data() const {
    auto* const begin = static_cast<char*>(memory_.mutable_data());
    return begin + (kLine - reinterpret_cast<uintptr_t>(begin) % kLine) % kLine;
  }

 private:
  const c10::Storage memory_;
};

template <class Problem>
void run_parallel(const AttentionPass<Problem>& pass, const Problem& problem) {
  const size_t bytes = (pass.scratch(problem) + kLine - 1) / kLine * kLine;
  const Scratch scratch(bytes * static_cast<size_t>(at::get_num_threads()));
  at::parallel_for(0, pass.tasks(problem), 1, [&](int64_t first, int64_t last) {
    const auto thread = static_cast<size_t>(at::get_thread_num());
    pass.run(problem, first, last, scratch.data() + thread * bytes);
  });
}

}  // namespace

bool attention_forward(const std::vector<c10::IValue>& arguments,
                       const std::vector<at::Tensor>& results) {
  if (arguments.size() != 7 || !results[0].defined() || !has_rows(results[0])) return false;
  const at::Tensor query = with_rows(arguments[0].toTensor()),
                   key = with_rows(arguments[1].toTensor()),
                   value = with_rows(arguments[2].toTensor());
  const std::optional<Attention> a =
      attention_of(query, key, value, arguments[3].toDouble(), arguments[4].toBool(), arguments[5],
                   arguments[6]);
  if (!a) return false;
  AttentionForward forward{*a, written_rows(results[0]), {}};
  if (results[1].defined()) forward.logsumexp = written_rows(results[1]);
  run_parallel(native_attention()->forward, forward);
  return true;
}

bool attention_backward(const std::vector<c10::IValue>& arguments,
                        const std::vector<at::Tensor>& results) {
  if (arguments.size() != 10) return false;
  for (const at::Tensor& grad : results)
    if (!grad.defined() || !has_rows(grad)) return false;
  const at::Tensor grad_output = with_rows(arguments[0].toTensor()),
                   query = with_rows(arguments[1].toTensor()),
                   key = with_rows(arguments[2].toTensor()),
                   value = with_rows(arguments[3].toTensor()),
                   output = with_rows(arguments[4].toTensor());
  const at::Tensor& logsumexp = arguments[5].toTensor();
  const std::optional<Attention> a =
      attention_of(query, key, value, arguments[6].toDouble(), arguments[7].toBool(), arguments[8],
                   arguments[9]);
  if (!a || !is_float(grad_output, 4) || !is_float(output, 4) || !is_float(logsumexp, 3))
    return false;
  AttentionBackward backward{*a,
                             rows(output),
                             rows(logsumexp),
                             rows(grad_output),
                             written_rows(results[0]),
                             written_rows(results[1]),
                             written_rows(results[2])};
  const AttentionKernels& kernels = *native_attention();
  const Scratch shared(kernels.backward_shared(backward));
  backward.shared = shared.data();
  run_parallel(kernels.backward, backward);
  run_parallel(kernels.backward_sums, backward);
  return true;
}

}  // namespace ourjit
