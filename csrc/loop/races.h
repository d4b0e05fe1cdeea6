// Finds accesses of threads and blocks that no barrier keeps in order.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ourjit::loop {

/// The threads of a block that make an access: one, or with -1 all of that axis.
struct Threads {
  int64_t x = -1, y = -1;
  bool operator==(const Threads&) const = default;
};

/// Remembers who read and wrote which element since the barriers before. An access that meets one
/// of another thread with no barrier between, or one of another iteration of the parallel loop,
/// where one of the two writes, raises InternalError.
class RaceDetector {
 public:
  explicit RaceDetector(std::string kernel) : kernel_(std::move(kernel)) {}

  /// The next iteration of the parallel loop begins.
  void next_block();
  /// All iterations of the parallel loop are over.
  void end_launch() { cells_.clear(); }
  /// All threads wait for each other; with y >= 0 those of one y.
  void barrier(int64_t y);
  /// `of_block`: the memory is the block's own.
  void read(const std::string& memory, int64_t element, const Threads& who, bool of_block);
  void write(const std::string& memory, int64_t element, const Threads& who, bool of_block);
  /// Atomic additions are no race among each other.
  void add(const std::string& memory, int64_t element, const Threads& who, bool of_block);

 private:
  struct Access {
    Threads who;
    int64_t block = -1;  // -1: none
    int64_t epoch = 0, epoch_of_y = 0;
  };
  struct Cell {
    Access write, read;
    bool many_readers = false;
    bool added = false, many_adders = false;  // the write is an atomic addition, one of several
  };

  int64_t epoch_of(int64_t y) const;
  bool ordered(const Access& before, const Threads& who, bool of_block) const;
  /// The same, of all threads that wrote.
  bool after_writes(const Cell& c, const Threads& who, bool of_block) const;
  /// Records a write after the reads before it.
  void wrote(Cell& c, const std::string& memory, int64_t element, const Threads& who,
             bool of_block);
  Cell& cell(const std::string& memory, int64_t element);
  Access access(const Threads& who) const;
  [[noreturn]] void fail(const std::string& memory, int64_t element, const char* what) const;

  std::string kernel_;
  std::map<std::string, std::vector<Cell>> cells_;
  int64_t block_ = 0, epoch_ = 0;
  std::map<int64_t, int64_t> epochs_of_y_;
};

}  // namespace ourjit::loop
