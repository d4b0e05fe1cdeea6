// Plain data as bytes and back: numbers of fixed size, and texts and lists behind their lengths.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/sym.h"

namespace ourjit {

/// Bytes are not what a writer wrote.
class BadBytes : public Error {
  using Error::Error;
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

/// What `fields` takes a struct as: a reader fills it.
template <class IO, class T>
using Of = std::conditional_t<IO::kReads, T, const T>;

template <class IO, class T>
void value(IO& io, T& x);

/// Several values in a row. For a struct, `template <class IO> void fields(IO& io, Of<IO, T>& x)`
/// in this namespace hands its fields to this, once for writing and reading.
template <class IO, class... Ts>
void values(IO& io, Ts&... xs) {
  (value(io, xs), ...);
}

namespace bytes_detail {

template <class T, template <class...> class Form>
constexpr bool kIs = false;
template <template <class...> class Form, class... Ts>
constexpr bool kIs<Form<Ts...>, Form> = true;

/// Reads the alternative of that number.
template <size_t I = 0, class IO, class V>
void read_alternative(IO& io, V& x, size_t number) {
  if constexpr (I < std::variant_size_v<V>) {
    if (number != I) return read_alternative<I + 1>(io, x, number);
    value(io, x.template emplace<I>());
  } else {
    throw BadBytes("a variant has no alternative of that number");
  }
}

}  // namespace bytes_detail

/// Writes or reads a number, a text, a size, a list, a map, an optional, a variant, or a struct.
template <class IO, class T>
void value(IO& io, T& x) {
  using bytes_detail::kIs;
  using U = std::remove_const_t<T>;
  if constexpr (std::is_arithmetic_v<U> || std::is_enum_v<U> || std::is_same_v<U, std::string> ||
                std::is_same_v<U, Sym>) {
    io(x);
  } else if constexpr (kIs<U, std::vector>) {
    if constexpr (IO::kReads)
      x.resize(io.length());
    else
      io(static_cast<uint64_t>(x.size()));
    for (auto& element : x) value(io, element);
  } else if constexpr (kIs<U, std::map>) {
    if constexpr (IO::kReads) {
      for (size_t left = io.length(); left; --left) {
        typename U::key_type key{};
        value(io, key);
        value(io, x[std::move(key)]);
      }
    } else {
      io(static_cast<uint64_t>(x.size()));
      for (const auto& [key, element] : x) values(io, key, element);
    }
  } else if constexpr (kIs<U, std::optional>) {
    bool is_there = x.has_value();
    io(is_there);
    if constexpr (IO::kReads) x = is_there ? U(std::in_place) : U();
    if (is_there) value(io, *x);
  } else if constexpr (kIs<U, std::variant>) {
    uint8_t number = static_cast<uint8_t>(x.index());
    io(number);
    if constexpr (IO::kReads)
      bytes_detail::read_alternative(io, x, number);
    else
      std::visit([&](const auto& alternative) { value(io, alternative); }, x);
  } else {
    fields(io, x);
  }
}

}  // namespace ourjit
