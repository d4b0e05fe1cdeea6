#include "loop/loop_ir.h"

#include "base/error.h"

namespace ourjit::loop {

DType memory_dtype(const Kernel& k, std::string_view name) {
  for (const Buffer& b : k.buffers)
    if (b.name == name) return b.dtype;
  for (const Local& l : k.locals)
    if (l.name == name) return l.dtype;
  OURJIT_CHECK(false) << "kernel @" << k.name << " has no memory named " << name;
  return DType::f32;
}

bool is_local(const Kernel& k, std::string_view name) {
  for (const Local& l : k.locals)
    if (l.name == name) return true;
  return false;
}

}  // namespace ourjit::loop
