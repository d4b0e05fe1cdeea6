// Plain data as bytes and back: numbers of fixed size, and texts and lists behind their lengths.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/sym.h"

namespace ourjit {

/// Bytes are not what a writer wrote.
class BadBytes : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class ByteWriter {
 public:
  static constexpr bool kReads = false;

  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void operator()(const T& x) {
    bytes_.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  void operator()(const std::string& s) {
    (*this)(static_cast<uint64_t>(s.size()));
    bytes_ += s;
  }
  void operator()(const Sym& s) {
    (*this)(s.is_const());
    if (s.is_const())
      (*this)(s.value());
    else
      (*this)(s.str());
  }

  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

/// Allocates no more than a small multiple of the bytes that are left.
class ByteReader {
 public:
  static constexpr bool kReads = true;

  explicit ByteReader(std::string_view bytes) : left_(bytes) {}

  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void operator()(T& x) {
    const std::string_view bytes = take(sizeof x);
    std::memcpy(&x, bytes.data(), sizeof x);
  }
  void operator()(bool& x) {
    uint8_t byte = 0;
    (*this)(byte);
    x = byte != 0;
  }
  void operator()(std::string& s) { s = take(length()); }
  void operator()(Sym& s) {
    bool is_const = false;
    (*this)(is_const);
    if (is_const) {
      int64_t value = 0;
      (*this)(value);
      s = Sym(value);
    } else {
      std::string text;
      (*this)(text);
      s = Sym::parse(text);
    }
  }

  /// The length of a list or text that follows.
  size_t length() {
    uint64_t n = 0;
    (*this)(n);
    if (n > left_.size()) throw BadBytes("a list or text is longer than what is left");
    return static_cast<size_t>(n);
  }
  bool at_end() const { return left_.empty(); }

 private:
  std::string_view take(size_t n) {
    if (n > left_.size()) throw BadBytes("the bytes end too early");
    const std::string_view bytes = left_.substr(0, n);
    left_.remove_prefix(n);
    return bytes;
  }

  std::string_view left_;
};

}  // namespace ourjit
