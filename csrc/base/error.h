// Errors by who is at fault, and the check macros that raise them.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace ourjit {

/// Base of all errors that ourjit raises on purpose.
class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The call is wrong: the message says what to change.
class UserError : public Error {
  using Error::Error;
};

/// Expected: the caller falls back to ATen, counts it and reports the message as the reason.
class Unsupported : public Error {
  using Error::Error;
};

/// LLVM, NVRTC or the CUDA driver failed, or is missing; the message carries its log.
class BackendError : public Error {
  using Error::Error;
};

/// A bug of ours.
class InternalError : public Error {
  using Error::Error;
};

namespace detail {

/// Collects a streamed message and throws `E` when it dies.
template <class E>
class Raiser {
 public:
  Raiser() = default;
  [[noreturn]] ~Raiser() noexcept(false) { throw E(out_.str()); }
  template <class T>
  Raiser& operator<<(const T& x) {
    out_ << x;
    return *this;
  }

 private:
  std::ostringstream out_;
};

}  // namespace detail
}  // namespace ourjit

/// Raises InternalError unless `cond` holds; stream the message behind it. The message is not
/// evaluated when the check passes.
#define OURJIT_CHECK(cond)                              \
  if (cond) {                                           \
  } else                                                \
    ::ourjit::detail::Raiser<::ourjit::InternalError>() \
        << "ourjit internal error at " << __FILE__ << ":" << __LINE__ << ": " << #cond << ": "

/// Raises error class `E` with the streamed message.
#define OURJIT_RAISE(E) ::ourjit::detail::Raiser<::ourjit::E>()
