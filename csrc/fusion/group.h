// Fusion groups: which nodes become one kernel.
//
// The rule. Every node is of one of three kinds. *Folded* nodes (views, generators, pads, small
// concats, gathers) are never in memory: they become index arithmetic wherever their value is read.
// *Members* (pointwise operators and reductions) are computed by a kernel. *Barriers* (calls,
// scatters, joined memory, mutation) stand alone. Members of one group share an iteration domain:
// the row-major shape `dims`, of which every member's own shape is a grouping (a full member), or
// whose kept dims are (a row member, once the group reduces the dims marked in `reduced`). A node
// joins the group of a producer, or of a node that reads the same memory, if
//   - its shape fits the domain, its reduction runs over the group's reduced dims, or, for the
//   first phase of a
//     two-phase reduction (a sink), over exactly the dims that the group keeps, or over all of
//     them;
//   - every value of the group that it reads is read at the very element that the same iteration
//   computes, or is
//     cheap to compute again at the element wanted;
//   - no path leads from the group to the node through another group.
// Each join saves the bytes of the shared value at least once, and costs none, so there is nothing
// to weigh; the limits on members and buffers keep compile time and register pressure down. But
// column sums and reductions of rows that are too long to be kept share nothing: such a group is
// taken apart. After that, pointwise values whose recomputation reads no more bytes than they have
// themselves are folded into their readers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fusion/view_index.h"
#include "graph/graph.h"

namespace ourjit {

enum class NodeKind : uint8_t { Folded, Member, Barrier };

/// How a node takes part in fusion.
NodeKind node_kind(const Graph& g, NodeId n);

/// A set of nodes that one kernel computes.
struct Group {
  std::vector<NodeId> members;  // in graph order
  std::vector<Sym> dims;        // iteration domain, row-major, without sizes of 1
  std::vector<bool>
      reduced;  // for each dim: reduced by the group's reductions; empty without reductions
  std::vector<NodeId> sinks;    // partial_reduce members; all have the same dims and chunk
  std::vector<ValueId> stores;  // values of members that live in memory because others need them
};

/// Why a reader of a value is not in its producer's group.
struct NotFused {
  NodeId producer, consumer;
  std::string reason;
};

/// One step of the program: a group, or a single barrier node.
struct FusedStep {
  std::optional<Group> group;
  NodeId node = -1;  // used without a group
};

struct Fusion {
  std::vector<FusedStep> steps;    // in an order that respects all dependences
  std::vector<bool> materialized;  // by ValueId: lives in memory
  std::vector<NotFused> not_fused;
};

struct FusionOptions {
  bool fuse = true;          // false: one group for each member
  int max_members = 96;      // of a group
  int max_buffers = 48;      // that a group reads
  int64_t kept_row = 16384;  // elements of rows that kernels read once, however often they use them
};

/// Rewrites `g` so that every value that must be in memory is an input, a member's or a barrier's
/// result, or a strided view of one: inserts identity copies (`cast` to the same dtype) where it is
/// not.
Graph insert_copies(const Graph& g);

/// Groups the nodes of a graph that insert_copies() has prepared.
Fusion fuse(const Graph& g, const FusionOptions& options = {});

/// Groups, their domains, stores and the reasons, for explain() and tests.
std::string print(const Graph& g, const Fusion& f);

/// Index of each dim of member `n`'s own iteration shape over the group's domain variables; absent
/// if it does not fit.
struct MemberIndex {
  IndexVector index;  // into iteration_shape(n)
  bool row = false;   // a row member: uses kept dims only
};
std::optional<MemberIndex> member_index(const Graph& g, const Group& group, NodeId n);
/// The domain variables d0, d1, ... and their extents.
IndexVector domain_variables(const Group& group, SymBounds* bounds);
/// The sizes of the dims that the group does not reduce.
std::vector<Sym> kept_dims(const Group& group);
/// The shape that a member iterates over: a reduction's operand shape, else the result's.
const std::vector<Sym>& iteration_shape(const Graph& g, const Node& n);
/// The element of `n`'s result that iteration `index` (over iteration_shape) computes or
/// contributes to.
IndexVector result_index(const Node& n, const IndexVector& index);

/// True if node `n` may be a member of `group` by its shape and, for reductions, its dims. `joined`
/// is then the group with its domain refined for `n`, which is not yet a member; otherwise `why`
/// says what does not fit.
bool shape_fits(const Graph& g, const Group& group, NodeId n, Group* joined, std::string* why);

/// The row reductions of a group with all that they need, and the rest, if there are sinks and rows
/// are longer than `kept_row` elements: to read the row again for the rest costs less than to carry
/// column sums of its length from row to row.
std::optional<std::pair<Group, Group>> split_rows(const Graph& g, const Group& group,
                                                  const std::function<bool(NodeId)>& is_folded,
                                                  int64_t kept_row);

}  // namespace ourjit
