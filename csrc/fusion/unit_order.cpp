#include "fusion/unit_order.h"

#include <algorithm>

namespace ourjit {

void UnitOrder::Bits::add(size_t i) {
  if (words_.size() <= i / 64) words_.resize(i / 64 + 1);
  words_[i / 64] |= uint64_t{1} << (i % 64);
}

void UnitOrder::Bits::remove(size_t i) {
  if (i / 64 < words_.size()) words_[i / 64] &= ~(uint64_t{1} << (i % 64));
}

bool UnitOrder::Bits::add_all(const Bits& o) {
  if (words_.size() < o.words_.size()) words_.resize(o.words_.size());
  uint64_t fresh = 0;
  for (size_t i = 0; i < o.words_.size(); ++i) {
    fresh |= o.words_[i] & ~words_[i];
    words_[i] |= o.words_[i];
  }
  return fresh != 0;
}

int UnitOrder::add() {
  ancestors_.emplace_back();
  before_.emplace_back();
  after_.emplace_back();
  return static_cast<int>(ancestors_.size()) - 1;
}

void UnitOrder::inherit(int u, const Bits& ancestors) {
  std::vector<int> waiting{u};
  while (!waiting.empty()) {
    const auto x = static_cast<size_t>(waiting.back());
    waiting.pop_back();
    // What follows x has all that x has: without news for x there are none behind it.
    if (!ancestors_[x].add_all(ancestors)) continue;
    waiting.insert(waiting.end(), after_[x].begin(), after_[x].end());
  }
}

void UnitOrder::depend(int u, int before) {
  if (u == before) return;
  before_[static_cast<size_t>(u)].insert(before);
  after_[static_cast<size_t>(before)].insert(u);
  if (is_after(u, before)) return;
  Bits all = ancestors_[static_cast<size_t>(before)];
  all.add(static_cast<size_t>(before));
  inherit(u, all);
}

bool UnitOrder::path_through_another(int first, int last) const {
  if (!is_after(last, first)) return false;
  const std::set<int>& before = before_[static_cast<size_t>(last)];
  return std::any_of(before.begin(), before.end(),
                     [&](int x) { return x != first && is_after(x, first); });
}

bool UnitOrder::something_between(int u, int w) const {
  return path_through_another(u, w) || path_through_another(w, u);
}

void UnitOrder::merge(int into, int from) {
  const auto i = static_cast<size_t>(into), j = static_cast<size_t>(from);
  for (const int x : before_[j]) {
    after_[static_cast<size_t>(x)].erase(from);
    if (x == into) continue;
    before_[i].insert(x);
    after_[static_cast<size_t>(x)].insert(into);
  }
  for (const int x : after_[j]) {
    before_[static_cast<size_t>(x)].erase(from);
    if (x == into) continue;
    after_[i].insert(x);
    before_[static_cast<size_t>(x)].insert(into);
  }
  before_[j].clear();
  after_[j].clear();
  ancestors_[i].add_all(ancestors_[j]);
  ancestors_[i].remove(i);
  ancestors_[i].remove(j);
  ancestors_[j] = {};
  Bits all = ancestors_[i];
  all.add(i);
  for (const int x : after_[i]) inherit(x, all);
}

}  // namespace ourjit
