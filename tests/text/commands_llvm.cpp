#include "codegen/llvm_emitter.h"
#include "commands.h"
#include "loop/text.h"
#include "loop/verify.h"

namespace ourjit::text_tests {
namespace {

std::string emit_llvm(std::string_view args, std::string_view body) {
  const loop::Kernel k = loop::parse_kernel(body);
  loop::verify(k);
  return emit_llvm_text(k, cpu_target(args));
}

}  // namespace

std::vector<Command> llvm_commands() { return {{"emit llvm", emit_llvm}}; }

}  // namespace ourjit::text_tests
