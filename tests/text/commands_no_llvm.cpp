// In place of commands_llvm.cpp in builds without LLVM.
#include "commands.h"

namespace ourjit::text_tests {

std::vector<Command> llvm_commands() { return {{"emit llvm", nullptr}}; }

}  // namespace ourjit::text_tests
