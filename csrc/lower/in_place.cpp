#include "lower/in_place.h"

#include <algorithm>
#include <optional>

#include "loop/visit.h"

namespace ourjit {
namespace {

/// The only place where a kernel writes to a buffer.
struct Write {
  const std::vector<loop::Node>* block = nullptr;
  size_t at = 0;  // statement of the block
  Sym index;
};

bool mentions_memory(const loop::Node& n, const std::string& name) {
  if (const auto* l = std::get_if<loop::Load>(&n.v)) return l->buffer == name;
  if (const auto* s = std::get_if<loop::Store>(&n.v)) return s->buffer == name;
  return false;
}

void find_blocks(const std::vector<loop::Node>& body, const std::string& name,
                 std::vector<Write>& out) {
  for (size_t i = 0; i < body.size(); ++i) {
    if (const auto* f = std::get_if<loop::For>(&body[i].v)) find_blocks(f->body, name, out);
    if (!mentions_memory(body[i], name)) continue;
    const auto* s = std::get_if<loop::Store>(&body[i].v);
    out.push_back({&body, i, s ? s->index : std::get<loop::Load>(body[i].v).index});
  }
}

/// Where `k` writes to `name`, if that is a single unconditional store and nothing reads it.
std::optional<Write> single_write(const loop::Kernel& k, const std::string& name) {
  std::vector<Write> found;
  find_blocks(k.body, name, found);
  if (found.size() != 1) return std::nullopt;
  const auto* s = std::get_if<loop::Store>(&(*found[0].block)[found[0].at].v);
  if (!s || s->accumulate || s->mask != loop::kNone) return std::nullopt;
  return found[0];
}

/// True if every read of `name` is of the element that `w` writes, in the same iteration, before.
bool reads_before(const loop::Kernel& k, const std::string& name, const Write& w) {
  std::vector<Write> found;
  find_blocks(k.body, name, found);
  return std::all_of(found.begin(), found.end(), [&](const Write& r) {
    return r.block == w.block && r.at < w.at && r.index == w.index;
  });
}

class Rewrite {
 public:
  Rewrite(const Graph& g, const Fusion& f, std::vector<LoweredKernel>& kernels)
      : g_(g), f_(f), kernels_(kernels), root_(g, f, {}), joined_(find_joined(g, f)) {
    for (size_t i = 0; i < f.steps.size(); ++i)
      if (f.steps[i].group)
        for (const ValueId v : f.steps[i].group->stores) made_by_[v] = i;
    for (size_t i = 0; i < f.steps.size(); ++i) note_memory(i);
  }

  InPlace run() {
    for (size_t i = 0; i < f_.steps.size(); ++i) {
      if (f_.steps[i].group) continue;
      const Node& n = g_.node(f_.steps[i].node);
      if (n.op == Op::copy_to && try_copy(n, i)) {
        homes_[n.operands[1]] = n.operands[0];
        kernels_[i] = {};
      }
    }
    return std::move(homes_);
  }

 private:
  void note_memory(size_t step) {
    const FusedStep& s = f_.steps[step];
    if (s.group || g_.node(s.node).op != Op::call) {
      for (const ValueId v : kernels_[step].buffers) touched_[root_(v)].push_back(step);
      return;
    }
    for (const ValueId v : g_.node(s.node).operands) touched_[root_(v)].push_back(step);
  }

  bool leaves_call(ValueId v) const {
    return std::any_of(g_.outputs.begin(), g_.outputs.end(),
                       [&](const GraphOutput& o) { return o.value >= 0 && root_(o.value) == v; });
  }

  /// Step `copy` copies operand 1 of `n` into operand 0.
  bool try_copy(const Node& n, size_t copy) {
    const ValueId target = n.operands[0], value = n.operands[1];
    const auto made = made_by_.find(value);
    if (g_.def(target) || made == made_by_.end() || homes_.contains(value)) return false;
    const TensorType &t = g_.type(target), &v = g_.type(value);
    if (t.dtype != v.dtype || t.sizes != v.sizes || t.strides != v.strides) return false;
    if (leaves_call(value) || joined_.contains(value)) return false;
    const size_t maker = made->second;
    for (const size_t step : touched_[target])
      if (step != copy && !allows(step, maker, copy)) return false;
    return merge(kernels_[maker], value, target);
  }

  /// True if `step`, which touches the target, cannot tell that step `maker` writes to it already.
  /// Kernels other than groups write to their target, and calls may.
  bool allows(size_t step, size_t maker, size_t copy) {
    if (f_.steps[step].group) return step <= maker || step > copy;
    const Node& n = g_.node(f_.steps[step].node);
    if (n.op != Op::call || step > maker) return false;
    // Its results may be views of the target.
    return std::all_of(n.results.begin(), n.results.end(), [&](ValueId r) {
      if (r < 0) return true;
      const std::vector<size_t>& uses = touched_[r];
      return !leaves_call(r) &&
             std::all_of(uses.begin(), uses.end(), [&](size_t u) { return u < maker; });
    });
  }

  /// Gives the buffers of `value` and `target` one parameter.
  static bool merge(LoweredKernel& lowered, ValueId value, ValueId target) {
    loop::Kernel& k = lowered.kernel;
    const auto number = [&](ValueId x) {
      return static_cast<size_t>(std::find(lowered.buffers.begin(), lowered.buffers.end(), x) -
                                 lowered.buffers.begin());
    };
    const size_t out = number(value), in = number(target);
    if (out == lowered.buffers.size()) return false;
    const std::optional<Write> write = single_write(k, k.buffers[out].name);
    if (!write) return false;
    if (in == lowered.buffers.size()) {
      lowered.buffers[out] = target;
      return true;
    }
    const std::string name = k.buffers[in].name, old = k.buffers[out].name;
    if (k.buffers[in].access != loop::Access::In || !reads_before(k, name, *write)) return false;
    k.buffers[in].access = loop::Access::InOut;
    loop::for_each_node(k.body, [&](loop::Node& n) {
      if (auto* s = std::get_if<loop::Store>(&n.v); s && s->buffer == old) s->buffer = name;
    });
    k.buffers.erase(k.buffers.begin() + static_cast<int64_t>(out));
    lowered.buffers.erase(lowered.buffers.begin() + static_cast<int64_t>(out));
    return true;
  }

  const Graph& g_;
  const Fusion& f_;
  std::vector<LoweredKernel>& kernels_;
  const MemoryRoots root_;
  const std::map<ValueId, ValueId> joined_;
  std::map<ValueId, size_t> made_by_;               // groups, by the values that they store
  std::map<ValueId, std::vector<size_t>> touched_;  // by memory root, the steps that use it
  InPlace homes_;
};

}  // namespace

std::map<ValueId, ValueId> find_joined(const Graph& g, const Fusion& f) {
  std::map<ValueId, ValueId> joined;
  for (const FusedStep& s : f.steps) {
    if (s.group || g.node(s.node).op != Op::concat) continue;
    const Node& n = g.node(s.node);
    for (const ValueId v : n.operands) joined[v] = n.results[0];
  }
  return joined;
}

MemoryRoots::MemoryRoots(const Graph& g, const Fusion& f, const InPlace& in_place)
    : g_(g), inside_(find_joined(g, f)) {
  inside_.insert(in_place.begin(), in_place.end());
}

ValueId MemoryRoots::operator()(ValueId v) const {
  for (;;) {
    if (const auto i = inside_.find(v); i != inside_.end()) {
      v = i->second;
      continue;
    }
    const Node* n = g_.def(v);
    if (!n) return v;
    const bool inside = op_category(n->op) == OpCategory::View ||
                        op_category(n->op) == OpCategory::Scatter || n->op == Op::copy_to;
    if (!inside) return v;
    v = n->operands[0];
  }
}

InPlace write_in_place(const Graph& g, const Fusion& f, std::vector<LoweredKernel>& kernels) {
  return Rewrite(g, f, kernels).run();
}

}  // namespace ourjit
