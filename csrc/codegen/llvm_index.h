// Index expressions as LLVM values: which are the same in all lanes, which are contiguous over the
// lanes, what range they have.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/sym.h"
#include "codegen/llvm_values.h"

namespace ourjit {

/// Inclusive bounds; the ends of i64 stand for no bound.
struct Interval {
  int64_t low = std::numeric_limits<int64_t>::min();
  int64_t high = std::numeric_limits<int64_t>::max();

  bool non_negative() const { return low >= 0; }
  bool fits_i32() const {
    return low >= std::numeric_limits<int32_t>::min() &&
           high <= std::numeric_limits<int32_t>::max();
  }
};

/// Where the lanes of an access are, relative to a pointer, in elements.
struct LaneAddress {
  enum class Form {
    Uniform,     // all lanes at `base`
    Contiguous,  // lane i at base + i
    Reversed,    // lane i at base - i
    Scattered,   // lane i at base + offsets[i]
  };
  Form form;
  Value* base;               // i64
  Value* offsets = nullptr;  // vector of i32 or i64
};

class IndexBuilder {
 public:
  explicit IndexBuilder(ValueBuilder& values) : values_(values), ir_(values.ir()) { open(); }

  /// Opens a scope: symbols and values made in it are forgotten by close().
  void open();
  void close();
  /// Defines a symbol that is the same in all lanes.
  void define(const std::string& name, Value* value, Interval range);
  /// Defines the variable of a vector loop: lane i has value + i.
  void define_lanes(const std::string& name, Value* first, unsigned lanes, Interval range);
  /// Defines a symbol with a value for each lane.
  void define_vector(const std::string& name, Value* values, Interval range);

  /// True if lanes may differ.
  bool varies(const Sym& s) const;
  Interval range(const Sym& s) const;
  /// The value of a symbol expression that does not vary, i64.
  Value* uniform(const Sym& s);
  /// The value, i64: a scalar if it does not vary, else a vector.
  Value* value(const Sym& s);
  /// A position in memory.
  LaneAddress address(const Sym& s);

 private:
  struct Symbol {
    Value* value;    // in lane 0 of a lane variable; null for vectors
    Value* vector;   // i64 lanes; null for uniform symbols and lane variables
    unsigned lanes;  // 1: uniform
    Interval range;
    int order;  // symbols defined further out have smaller numbers
  };
  struct Scope {
    std::vector<std::string> symbols;
    std::map<Sym, Value*> made;
  };

  void insert(const std::string& name, Symbol s);
  const Symbol& symbol(std::string_view name) const;
  int order(const SymTerm& t) const;
  bool varies(const SymTerm& t) const;
  Interval range(const SymTerm& t) const;
  Interval range(const SymAtom& a) const;
  /// True if the sum and everything in it fits i32.
  bool narrow(const Sym& s) const;
  unsigned lanes() const { return lane_count_; }
  Value* make(const Sym& s, unsigned bits, bool vector);
  Value* make(const SymTerm& t, unsigned bits, bool vector);
  Value* make(const SymAtom& a, unsigned bits, bool vector);
  Value* number(int64_t n, unsigned bits, bool vector);
  Value* divide(const SymAtom& a, Value* x, Value* y);

  ValueBuilder& values_;
  llvm::IRBuilder<>& ir_;
  std::map<std::string, Symbol, std::less<>> symbols_;
  std::vector<Scope> scopes_;
  std::string lane_variable_;
  unsigned lane_count_ = 1;
  int defined_ = 0;
};

}  // namespace ourjit
