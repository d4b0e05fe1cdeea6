// LLVM's fatal errors ("Cannot select"), which would end the process, as exceptions.
#pragma once

#include <functional>
#include <string>

namespace ourjit {

/// Runs `work` on a thread of its own and waits for it. Exceptions come through. LLVM's function
/// for fatal errors must not return, and its frames cannot be unwound; so a thread that calls it
/// from `work` stops there for good, with all that its stack owns, and this raises BackendError
/// with the message. Another thread's fatal error still ends the process, as LLVM means it to.
void run_apart(const std::function<void()>& work);

}  // namespace ourjit
