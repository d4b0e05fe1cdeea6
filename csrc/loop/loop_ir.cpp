#include "loop/loop_ir.h"

#include "base/error.h"

namespace ourjit::loop {

DType memory_dtype(const Kernel& k, std::string_view name) {
  for (const Buffer& b : k.buffers)
    if (b.name == name) return b.dtype;
  if (const Local* l = find_local(k, name)) return l->dtype;
  OURJIT_CHECK(false) << "kernel @" << k.name << " has no memory named " << name;
  return DType::f32;
}

const Local* find_local(const Kernel& k, std::string_view name) {
  for (const Local& l : k.locals)
    if (l.name == name) return &l;
  return nullptr;
}

bool is_local(const Kernel& k, std::string_view name) { return find_local(k, name) != nullptr; }

}  // namespace ourjit::loop
