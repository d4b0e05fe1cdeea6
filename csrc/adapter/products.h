// Products of matrices on the CPU, each by the fastest way there is for its sizes on this machine.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "backend/code_store.h"

namespace ourjit {

/// Who computes a product: ATen's mm and kin (MKL), oneDNN, or kernels/cpu/matmul.h.
enum class ProductBy { aten, onednn, ourjit };

/// What was measured for a product. Others of about its sizes are computed likewise.
struct ProductTimes {
  std::string form;  // as in "[64, 128] x [128, 32]', Float, 2 threads"; ': transposed
  ProductBy chosen;
  std::vector<double> microseconds;  // by ProductBy; infinite where it cannot
};

/// One product of a plan, of two matrices or of batches of them.
class ProductCall {
 public:
  /// `by`: fastest, or the name of a ProductBy, for which ATen stands in where it cannot.
  explicit ProductCall(const std::string& by);
  /// Writes the product into `out`. The first call for about such sizes, on this machine and with
  /// so many threads, measures each way, which takes a few times as long as the product; the
  /// choice stays, here and in the store. Under torch.use_deterministic_algorithms it is ATen.
  void run(const at::Tensor& a, const at::Tensor& b, at::Tensor& out);

 private:
  std::optional<ProductBy> fixed_;
  ProductBy chosen_ = ProductBy::aten;
  int threads_ = 0;  // for which `chosen_` holds
};

/// Where choices are kept between processes: in the store named last.
void keep_products(const CodeStore& codes, const std::string& torch_build);
/// All products whose way this process has chosen.
std::vector<ProductTimes> product_times();
const char* name(ProductBy by);

}  // namespace ourjit
