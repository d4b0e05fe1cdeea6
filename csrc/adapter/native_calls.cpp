#include "adapter/native_calls.h"

#include "adapter/attention_call.h"

namespace ourjit {

NativeCall find_native_call(const std::string& target) {
  struct Row {
    const char* target;
    NativeCall call;
  };
  static constexpr Row kRows[] = {
      {"aten._scaled_dot_product_flash_attention_for_cpu.default", attention_forward},
      {"aten._scaled_dot_product_flash_attention_for_cpu_backward.default", attention_backward}};
  for (const Row& r : kRows)
    if (target == r.target) return r.call;
  return nullptr;
}

}  // namespace ourjit
