// What must hold of every partition.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "../passes/random_graph.h"
#include "fusion/group.h"
#include "graph/text.h"
#include "passes/passes.h"

namespace ourjit {
namespace {

TEST(Partition, StepsFollowWhatTheyRead) {
  for (unsigned seed = 0; seed < 400; ++seed) {
    const testing::RandomGraph r(seed, 10 + static_cast<int>(seed % 150));
    const Graph g = insert_copies(run_passes(r.graph, {}));
    const Fusion f = fuse(g);
    std::vector<int> made(g.nodes.size(), -1);  // the step that computes a node
    for (size_t i = 0; i < f.steps.size(); ++i) {
      const FusedStep& s = f.steps[i];
      for (const NodeId n : s.group ? s.group->members : std::vector<NodeId>{s.node}) {
        ASSERT_EQ(made[static_cast<size_t>(n)], -1) << "seed " << seed << ": a node in two steps";
        made[static_cast<size_t>(n)] = static_cast<int>(i);
      }
    }
    // Nodes of no step are computed where they are read: look through them.
    const std::function<void(NodeId, int)> check = [&](NodeId n, int step) {
      for (const ValueId v : g.node(n).operands) {
        const NodeId d = g.values[static_cast<size_t>(v)].def;
        if (d < 0) continue;
        if (made[static_cast<size_t>(d)] < 0)
          check(d, step);
        else
          EXPECT_LE(made[static_cast<size_t>(d)], step) << "seed " << seed << "\n" << print(g, f);
      }
    };
    for (size_t n = 0; n < made.size(); ++n)
      if (made[n] >= 0) check(static_cast<NodeId>(n), made[n]);
    for (const FusedStep& s : f.steps)
      if (s.group) {
        EXPECT_LE(s.group->members.size(), static_cast<size_t>(FusionOptions().max_members));
        EXPECT_TRUE(std::is_sorted(s.group->members.begin(), s.group->members.end()));
      }
  }
}

}  // namespace
}  // namespace ourjit
