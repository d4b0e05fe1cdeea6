#include "loop/races.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace ourjit::loop {

void RaceDetector::next_block() {
  ++block_;
  ++epoch_;
}

void RaceDetector::barrier(int64_t y) {
  if (y < 0)
    ++epoch_;
  else
    ++epochs_of_y_[y];
}

int64_t RaceDetector::epoch_of(int64_t y) const {
  const auto it = epochs_of_y_.find(y);
  return it == epochs_of_y_.end() ? 0 : it->second;
}

RaceDetector::Access RaceDetector::access(const Threads& who) const {
  return {who, block_, epoch_, epoch_of(who.y)};
}

/// True if `before` surely happened before what `who` does now.
bool RaceDetector::ordered(const Access& before, const Threads& who, bool of_block) const {
  if (before.block < 0) return true;
  if (before.block != block_) return of_block;
  if (before.epoch != epoch_) return true;
  if (before.who.y == who.y && before.epoch_of_y != epoch_of(who.y)) return true;
  return before.who == who && who.x >= 0 && who.y >= 0;
}

RaceDetector::Cell& RaceDetector::cell(const std::string& memory, int64_t element) {
  std::vector<Cell>& cells = cells_[memory];
  const auto i = static_cast<size_t>(element);
  if (i >= cells.size()) cells.resize(i + 1);
  return cells[i];
}

void RaceDetector::fail(const std::string& memory, int64_t element, const char* what) const {
  OURJIT_RAISE(InternalError) << "@" << kernel_ << ": a race: " << memory << "[" << element << "] "
                              << what << " without a barrier between";
  std::abort();
}

bool RaceDetector::after_writes(const Cell& c, const Threads& who, bool of_block) const {
  const bool barrier = c.write.block == block_ ? c.write.epoch != epoch_ : of_block;
  return ordered(c.write, who, of_block) && (!c.many_adders || barrier);
}

void RaceDetector::read(const std::string& memory, int64_t element, const Threads& who,
                        bool of_block) {
  Cell& c = cell(memory, element);
  if (!after_writes(c, who, of_block)) fail(memory, element, "is read after it was written");
  const bool again = !ordered(c.read, who, of_block);
  c.many_readers = again && (c.many_readers || !(c.read.who == who));
  c.read = access(who);
}

void RaceDetector::wrote(Cell& c, const std::string& memory, int64_t element, const Threads& who,
                         bool of_block) {
  const bool others_read = c.many_readers && c.read.block == block_ && c.read.epoch == epoch_ &&
                           c.read.epoch_of_y == epoch_of(c.read.who.y);
  if (others_read || !ordered(c.read, who, of_block))
    fail(memory, element, "is written after it was read");
  c.write = access(who);
}

namespace {

/// Of threads that do the same, one stores.
Threads storing(const Threads& all) {
  return {std::max<int64_t>(all.x, 0), std::max<int64_t>(all.y, 0)};
}

}  // namespace

void RaceDetector::write(const std::string& memory, int64_t element, const Threads& all,
                         bool of_block) {
  const Threads who = storing(all);
  Cell& c = cell(memory, element);
  if (!after_writes(c, who, of_block)) fail(memory, element, "is written twice");
  wrote(c, memory, element, who, of_block);
  c.added = c.many_adders = false;
}

void RaceDetector::add(const std::string& memory, int64_t element, const Threads& all,
                       bool of_block) {
  const Threads who = storing(all);
  Cell& c = cell(memory, element);
  const bool alone = after_writes(c, who, of_block);
  if (!alone && !c.added) fail(memory, element, "is added to after it was written");
  wrote(c, memory, element, who, of_block);
  c.added = true;
  c.many_adders = !alone;
}

}  // namespace ourjit::loop
