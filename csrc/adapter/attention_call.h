// Attention on the CPU by our own kernels (kernels/cpu/attention.h), as NativeCalls.
#pragma once

#include "adapter/native_calls.h"

namespace ourjit {

/// aten._scaled_dot_product_flash_attention_for_cpu
bool attention_forward(const std::vector<c10::IValue>& arguments,
                       const std::vector<at::Tensor>& results);

/// aten._scaled_dot_product_flash_attention_for_cpu_backward
bool attention_backward(const std::vector<c10::IValue>& arguments,
                        const std::vector<at::Tensor>& results);

}  // namespace ourjit
