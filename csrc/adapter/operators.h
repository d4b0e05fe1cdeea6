// Operators of torch by the names that plans use, and argument values in the form that they take.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compiler.h"
#include "runtime/plan.h"

namespace ourjit {

/// The operator of a target such as "aten.add.Tensor". Raises Unsupported if torch has none of that
/// name.
c10::OperatorHandle find_operator(const std::string& target);

/// The overload of `target` that writes into given memory and does not merely copy a functional
/// result there on tensors of `device`. Its arguments are those of `target`, then one tensor for
/// each result.
std::optional<c10::OperatorHandle> find_out_variant(const std::string& target,
                                                    c10::DeviceType device);

/// How size expressions and tensors of a call's arguments are looked up.
struct ArgumentValues {
  std::function<int64_t(const Sym&)> size;
  std::function<at::Tensor(int)> tensor;  // by index into Plan::tensors
};

/// The arguments of a call as values of the types that the schema of `op` asks for.
std::vector<c10::IValue> make_arguments(const c10::OperatorHandle& op,
                                        const std::vector<CallArg>& args,
                                        const ArgumentValues& values);

/// Tensors on the stack, lists of tensors flattened, None and what is no tensor as undefined
/// tensors.
std::vector<at::Tensor> flatten_results(std::vector<c10::IValue>& stack);

/// What torch's dispatcher knows about operators.
class AtenCallInfo final : public CallInfo {
 public:
  /// For tensors on the device that `target`, an option, compiles for.
  /// `build`: what tells builds of torch apart.
  AtenCallInfo(const std::string& target, std::string build)
      : device_(target.starts_with("cuda") ? c10::kCUDA : c10::kCPU), build_(std::move(build)) {}
  std::string build() const override { return build_; }
  bool writes_into_results(const std::string& target, bool all) const override;
  bool is_pointwise(const std::string& target) const override;

 private:
  const c10::DeviceType device_;
  const std::string build_;
};

/// True for ourjit.rng_seed.default, which draws 64 random bits and is no operator of torch's.
bool is_rng_seed(const std::string& target);
/// 64 random bits from torch's default CPU generator.
int64_t draw_seed();

}  // namespace ourjit
