// The order of units against plain graph search.
#include "fusion/unit_order.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace ourjit {
namespace {

/// The same questions by search over edges.
struct Reference {
  std::vector<std::set<int>> before;
  std::vector<bool> gone;

  bool reaches(int u, int w) const {  // from u back to w
    for (const int x : before[static_cast<size_t>(u)])
      if (x == w || reaches(x, w)) return true;
    return false;
  }
  bool between(int u, int w) const {
    for (int x = 0; x < static_cast<int>(before.size()); ++x)
      if (x != u && x != w && !gone[static_cast<size_t>(x)] &&
          ((reaches(u, x) && reaches(x, w)) || (reaches(w, x) && reaches(x, u))))
        return true;
    return false;
  }
  void merge(int into, int from) {
    const auto i = static_cast<size_t>(into), j = static_cast<size_t>(from);
    before[i].insert(before[j].begin(), before[j].end());
    before[i].erase(into);
    before[i].erase(from);
    before[j].clear();
    gone[j] = true;
    for (size_t x = 0; x < before.size(); ++x)
      if (before[x].erase(from) && x != i) before[x].insert(into);
  }
};

TEST(UnitOrder, AnswersAsASearchDoes) {
  int merged = 0, refused = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    UnitOrder order;
    Reference wanted;
    std::vector<int> live;
    for (int step = 0; step < 90; ++step) {
      live.push_back(order.add());
      wanted.before.emplace_back();
      wanted.gone.push_back(false);
      for (int edges = below(3); edges > 0; --edges) {
        const int w = live[static_cast<size_t>(below(static_cast<int>(live.size())))];
        order.depend(live.back(), w);
        if (w != live.back()) wanted.before[static_cast<size_t>(live.back())].insert(w);
      }
      // An older unit may come to depend on one that is not behind it.
      const int u = live[static_cast<size_t>(below(static_cast<int>(live.size())))];
      const int w = live[static_cast<size_t>(below(static_cast<int>(live.size())))];
      ASSERT_EQ(order.is_after(w, u), wanted.reaches(w, u));
      ASSERT_EQ(order.something_between(u, w), u != w && wanted.between(u, w)) << "seed " << seed;
      if (u == w) continue;
      if (order.something_between(u, w)) {
        ++refused;
      } else if (below(2)) {
        order.merge(u, w);
        wanted.merge(u, w);
        std::erase(live, w);
        ++merged;
      } else if (!order.is_after(w, u)) {
        order.depend(u, w);
        wanted.before[static_cast<size_t>(u)].insert(w);
      }
    }
    for (const int a : live)
      for (const int b : live)
        if (a != b) {
          ASSERT_EQ(order.is_after(a, b), wanted.reaches(a, b)) << "seed " << seed;
        }
  }
  EXPECT_GT(merged, 500);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace ourjit
