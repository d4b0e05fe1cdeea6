// Which units of a partition (groups being built, and barriers) must come before which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace ourjit {

/// Units are numbered as they are added. The order that depend() states is kept transitively
/// closed, as bits, so that every question costs a look at one unit's own edges at most.
class UnitOrder {
 public:
  /// The number of a new unit.
  int add();
  /// States that `u` comes after `before`; nothing if they are the same unit.
  void depend(int u, int before);
  /// True if `u` must come after `w`.
  bool is_after(int u, int w) const {
    return ancestors_[static_cast<size_t>(u)].has(static_cast<size_t>(w));
  }
  /// True if a third unit must come between the two, so that they cannot be one.
  bool something_between(int u, int w) const;
  /// Makes one unit of two with nothing between them: `from` is gone, `into` has its order.
  void merge(int into, int from);

 private:
  /// A set of unit numbers as bits, no longer than its greatest.
  class Bits {
   public:
    void add(size_t i);
    void remove(size_t i);
    bool has(size_t i) const { return i / 64 < words_.size() && (words_[i / 64] >> (i % 64) & 1); }
    /// True if it had not all of them before.
    bool add_all(const Bits& o);

   private:
    std::vector<uint64_t> words_;
  };

  bool path_through_another(int first, int last) const;
  /// Adds ancestors to `u` and to all units after it.
  void inherit(int u, const Bits& ancestors);

  std::vector<Bits> ancestors_;                // all units before a unit
  std::vector<std::set<int>> before_, after_;  // by the dependences stated
};

}  // namespace ourjit
