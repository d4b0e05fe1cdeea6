#include "lower/absorb.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "loop/simplify.h"
#include "loop/visit.h"

namespace ourjit {
namespace {

// What every thread of a host may compute again.
constexpr int64_t kMostOperations = 32;
constexpr int64_t kMostElements = 64;  // of a buffer that a tiny kernel reads one of

bool is_tiny(const loop::Kernel& k) {
  if (k.body.empty() || !k.sizes.empty() || !k.locals.empty() || !k.epilogue.empty()) return false;
  int64_t operations = 0;
  std::set<std::string> stored;
  for (const loop::Node& n : k.body) {
    const auto* l = std::get_if<loop::Load>(&n.v);
    const auto* s = std::get_if<loop::Store>(&n.v);
    if (l && (l->mask != loop::kNone || !l->index.is_const() || stored.contains(l->buffer)))
      return false;
    if (s && (s->mask != loop::kNone || !s->index.is_const() || s->accumulate ||
              !stored.insert(s->buffer).second))
      return false;
    const bool computes = std::holds_alternative<loop::Compute>(n.v);
    if (!l && !s && !computes && !std::holds_alternative<loop::Const>(n.v)) return false;
    operations += computes;
  }
  const bool small = std::all_of(k.buffers.begin(), k.buffers.end(), [](const loop::Buffer& b) {
    return b.size.is_const() && b.size.value() <= kMostElements;
  });
  return small && operations <= kMostOperations;
}

/// The statement of a tiny kernel that writes to a buffer.
const loop::Store& store_to(const loop::Kernel& k, size_t buffer) {
  for (const loop::Node& n : k.body)
    if (const auto* s = std::get_if<loop::Store>(&n.v); s && s->buffer == k.buffers[buffer].name)
      return *s;
  OURJIT_CHECK(false) << "@" << k.name << " writes nothing to " << k.buffers[buffer].name;
  return std::get<loop::Store>(k.body.front().v);
}

/// A value that a tiny kernel makes.
struct Result {
  ValueId value;
  size_t buffer;  // of the tiny kernel: where it is written
  bool stored;    // it lives on, in an input or for others than the hosts
};

bool any_stored(const std::vector<Result>& results) {
  return std::any_of(results.begin(), results.end(), [](const Result& r) { return r.stored; });
}

/// Adds the work of a tiny kernel to a host.
class Absorption {
 public:
  Absorption(LoweredKernel& host, const LoweredKernel& tiny, const std::vector<Result>& results)
      : out_(host), k_(host.kernel), tiny_(tiny), results_(results) {}

  void run() {
    // The lines of the tiny kernel come first.
    const auto lines = static_cast<int>(tiny_.kernel.provenance.size());
    loop::shift_lines(k_.body, lines);
    loop::shift_lines(k_.epilogue, lines);
    for (size_t b = 0; b < tiny_.buffers.size(); ++b) add_buffer(b);
    std::vector<loop::ValueId> computed;
    std::vector<loop::Node> statements = copy(computed);
    std::erase_if(statements,
                  [](const loop::Node& n) { return std::holds_alternative<loop::Store>(n.v); });
    for (const Result& r : results_) replace_loads(r, computed);
    k_.body.insert(k_.body.begin(), statements.begin(), statements.end());
    if (any_stored(results_)) {
      statements = copy(computed);
      std::erase_if(statements, [&](const loop::Node& n) {
        const auto* s = std::get_if<loop::Store>(&n.v);
        return s && !is_stored(s->buffer);
      });
      k_.epilogue.insert(k_.epilogue.end(), statements.begin(), statements.end());
    }
    loop::remove_unused(k_);
    drop_unused_buffers();
    k_.provenance.insert(k_.provenance.begin(), tiny_.kernel.provenance.begin(),
                         tiny_.kernel.provenance.end());
  }

 private:
  /// Gives buffer `b` of the tiny kernel a parameter.
  void add_buffer(size_t b) {
    loop::Buffer buffer = tiny_.kernel.buffers[b];
    if (const auto at = std::find(out_.buffers.begin(), out_.buffers.end(), tiny_.buffers[b]);
        at != out_.buffers.end()) {
      loop::Buffer& own = k_.buffers[static_cast<size_t>(at - out_.buffers.begin())];
      if (own.access != buffer.access) own.access = loop::Access::InOut;
      names_[buffer.name] = own.name;
      return;
    }
    const std::string name = loop::fresh_name(k_, buffer.name);
    names_[buffer.name] = name;
    buffer.name = name;
    k_.buffers.push_back(std::move(buffer));
    out_.buffers.push_back(tiny_.buffers[b]);
  }

  bool is_stored(const std::string& name) const {
    return std::any_of(results_.begin(), results_.end(), [&](const Result& r) {
      return r.stored && names_.at(tiny_.kernel.buffers[r.buffer].name) == name;
    });
  }

  /// The tiny kernel's statements under new names; `computed`: its values' new ones.
  std::vector<loop::Node> copy(std::vector<loop::ValueId>& computed) {
    std::vector<loop::Node> statements = tiny_.kernel.body;
    const auto first = static_cast<loop::ValueId>(k_.types.size());
    k_.types.insert(k_.types.end(), tiny_.kernel.types.begin(), tiny_.kernel.types.end());
    computed.resize(tiny_.kernel.types.size());
    for (size_t i = 0; i < computed.size(); ++i)
      computed[i] = first + static_cast<loop::ValueId>(i);
    const auto renamed = [&](loop::ValueId v) { return first + v; };
    for (loop::Node& n : statements) {
      loop::map_operands(n, renamed);
      loop::map_results(n, renamed);
      if (auto* l = std::get_if<loop::Load>(&n.v)) l->buffer = names_.at(l->buffer);
      if (auto* s = std::get_if<loop::Store>(&n.v)) s->buffer = names_.at(s->buffer);
    }
    return statements;
  }

  /// The host uses the value that it computes where it loaded it before.
  void replace_loads(const Result& v, const std::vector<loop::ValueId>& computed) {
    const auto at = std::find(out_.buffers.begin(), out_.buffers.end(), v.value);
    if (at == out_.buffers.end()) return;
    const std::string name = k_.buffers[static_cast<size_t>(at - out_.buffers.begin())].name;
    const loop::ValueId value =
        computed[static_cast<size_t>(store_to(tiny_.kernel, v.buffer).value)];
    std::set<loop::ValueId> loaded;
    loop::for_each_node(std::as_const(k_.body), [&](const loop::Node& n) {
      const auto* l = std::get_if<loop::Load>(&n.v);
      if (l && l->buffer == name) loaded.insert(l->result);
    });
    loop::for_each_node(k_.body, [&](loop::Node& n) {
      loop::map_operands(n, [&](loop::ValueId x) { return loaded.contains(x) ? value : x; });
    });
  }

  void drop_unused_buffers() {
    const loop::Touched body(k_.body), epilogue(k_.epilogue);
    for (size_t b = k_.buffers.size(); b-- > 0;) {
      const std::string& name = k_.buffers[b].name;
      if (body.has(name) || epilogue.has(name)) continue;
      k_.buffers.erase(k_.buffers.begin() + static_cast<int64_t>(b));
      out_.buffers.erase(out_.buffers.begin() + static_cast<int64_t>(b));
    }
  }

  LoweredKernel& out_;
  loop::Kernel& k_;
  const LoweredKernel& tiny_;
  const std::vector<Result>& results_;
  std::map<std::string, std::string> names_;  // of the tiny kernel's buffers in the host
};

class Search {
 public:
  Search(const Graph& g, const Fusion& f, const MemoryRoots& root, const InPlace& in_place,
         Hosts wanted, std::vector<LoweredKernel>& kernels, StepOrder& before)
      : f_(f),
        root_(root),
        in_place_(in_place),
        wanted_(wanted),
        kernels_(kernels),
        order_(before),
        before_(before.size()),
        after_(before.size()) {
    for (size_t i = 0; i < before.size(); ++i) {
      before_[i] = {before[i].begin(), before[i].end()};
      for (const size_t p : before[i]) after_[p].insert(i);
      if (is_call(g, f.steps[i])) {
        const Node& n = g.node(f.steps[i].node);
        for (const ValueId v : n.operands) touched_[root_(v)].insert(i);
      }
      for (const ValueId v : kernels[i].buffers) touched_[root_(v)].insert(i);
    }
    for (const GraphOutput& o : g.outputs)
      if (o.value >= 0) leaves_.insert(root_(o.value));
  }

  /// The last steps first: when one reads what another computes, its host then reads that.
  std::vector<Absorbed> run(const std::set<size_t>& refused) {
    std::vector<Absorbed> found;
    for (size_t i = f_.steps.size(); i-- > 0;) {
      if (refused.contains(i) || !f_.steps[i].group || !is_tiny(kernels_[i].kernel)) continue;
      if (std::optional<Absorbed> a = try_step(i)) found.push_back(std::move(*a));
    }
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = {before_[i].begin(), before_[i].end()};
    return found;
  }

 private:
  std::optional<Absorbed> try_step(size_t step) {
    std::optional<std::vector<Result>> results = results_of(step);
    if (!results) return std::nullopt;
    std::vector<size_t> hosts;
    for (const auto* others : {&before_[step], &after_[step]})
      for (const size_t i : *others)
        if (can_host(step, *results, i)) hosts.push_back(i);
    if (hosts.empty() && wanted_ == Hosts::Any) hosts = neighbour(step, *results);
    if (hosts.empty() || !keeps_order(step, hosts)) return std::nullopt;
    for (Result& r : *results) r.stored = lives_on(step, hosts, r.value);
    const bool writes = any_stored(*results);
    if (writes && !has_room(step, hosts)) return std::nullopt;
    for (const size_t h : hosts) {
      Absorption(kernels_[h], kernels_[step], *results).run();
      if (writes) writing_[h] = hosts;
    }
    move(step, hosts);
    return Absorbed{step, std::move(hosts), writes};
  }

  std::optional<std::vector<Result>> results_of(size_t step) const {
    std::vector<Result> results;
    for (const ValueId v : f_.steps[step].group->stores) {
      const auto home = in_place_.find(v);
      const std::vector<ValueId>& all = kernels_[step].buffers;
      const auto at = std::find(all.begin(), all.end(), home == in_place_.end() ? v : home->second);
      if (at == all.end()) return std::nullopt;
      results.push_back({v, static_cast<size_t>(at - all.begin()), true});
    }
    return results;
  }

  /// The memory of a step's buffers that are, or are not, only read.
  std::set<ValueId> memory(size_t step, bool only_read) const {
    std::set<ValueId> found;
    for (size_t b = 0; b < kernels_[step].buffers.size(); ++b)
      if ((kernels_[step].kernel.buffers[b].access == loop::Access::In) == only_read)
        found.insert(root_(kernels_[step].buffers[b]));
    return found;
  }

  /// True if the body of kernel `i` finds all as it would if `step` ran apart: it writes nothing
  /// that `step` touches, and reads of what that writes either the old contents, as it comes
  /// before, or results that it can compute.
  bool can_host(size_t step, const std::vector<Result>& results, size_t i) const {
    const LoweredKernel& k = kernels_[i];
    if (!f_.steps[i].group || k.kernel.body.empty() || is_tiny(k.kernel) || !k.extent.is_const() ||
        k.extent.value() <= 0)
      return false;
    const std::set<ValueId> reads = memory(step, true), writes = memory(step, false);
    const loop::Touched body(k.kernel.body), epilogue(k.kernel.epilogue);
    for (size_t b = 0; b < k.buffers.size(); ++b) {
      const std::string& name = k.kernel.buffers[b].name;
      const ValueId m = root_(k.buffers[b]);
      if (body.written.contains(name) && (reads.contains(m) || writes.contains(m))) return false;
      // What an earlier kernel's epilogue writes is there for `step` alone.
      if (i < step && epilogue.written.contains(name) && reads.contains(m)) return false;
      if (!writes.contains(m)) continue;
      if (epilogue.has(name)) return false;
      if (i < step || !body.read.contains(name)) continue;
      const auto r = std::find_if(results.begin(), results.end(),
                                  [&](const Result& x) { return x.value == k.buffers[b]; });
      if (r == results.end() ||
          !loads_only_at(k.kernel, name, store_to(kernels_[step].kernel, r->buffer).index))
        return false;
    }
    return true;
  }

  static bool loads_only_at(const loop::Kernel& k, const std::string& name, const Sym& index) {
    bool good = true;
    loop::for_each_node(k.body, [&](const loop::Node& n) {
      const auto* l = std::get_if<loop::Load>(&n.v);
      if (l && l->buffer == name) good &= l->mask == loop::kNone && l->index == index;
    });
    return good;
  }

  /// For a step that nothing is related to, the next kernel that was not chosen for another one:
  /// equal steps beside equal kernels get one each.
  std::vector<size_t> neighbour(size_t step, const std::vector<Result>& results) {
    for (size_t i = step + 1; i < f_.steps.size(); ++i)
      if (!chosen_.contains(i) && can_host(step, results, i)) {
        chosen_.insert(i);
        return {i};
      }
    return {};
  }

  /// True if what must run before (after) `step` runs before (after) all hosts.
  bool keeps_order(size_t step, const std::vector<size_t>& hosts) const {
    const auto is_host = [&](size_t i) {
      return std::binary_search(hosts.begin(), hosts.end(), i);
    };
    return std::all_of(before_[step].begin(), before_[step].end(),
                       [&](size_t i) { return is_host(i) || i < hosts.front(); }) &&
           std::all_of(after_[step].begin(), after_[step].end(),
                       [&](size_t i) { return is_host(i) || i > hosts.back(); });
  }

  /// True unless the hosts alone want value `v` in memory.
  bool lives_on(size_t step, const std::vector<size_t>& hosts, ValueId v) const {
    if (root_(v) != v || leaves_.contains(v)) return true;
    const std::set<size_t>& steps = touched_.at(v);
    return std::any_of(steps.begin(), steps.end(), [&](size_t i) {
      return i != step && !std::binary_search(hosts.begin(), hosts.end(), i);
    });
  }

  /// True if the writes of `step` can go to the epilogues of its hosts: a row leaves its epilogue
  /// out as a whole, so all that is there has the same hosts, and no part needs another.
  bool has_room(size_t step, const std::vector<size_t>& hosts) const {
    const std::set<ValueId> reads = memory(step, true);
    return std::all_of(hosts.begin(), hosts.end(), [&](size_t h) {
      if (const auto it = writing_.find(h); it != writing_.end() && it->second != hosts)
        return false;
      const LoweredKernel& k = kernels_[h];
      const loop::Touched epilogue(k.kernel.epilogue);
      for (size_t b = 0; b < k.buffers.size(); ++b)
        if (epilogue.written.contains(k.kernel.buffers[b].name) &&
            reads.contains(root_(k.buffers[b])))
          return false;
      return true;
    });
  }

  /// The hosts take the place of `step` in the order.
  void move(size_t step, const std::vector<size_t>& hosts) {
    for (const size_t p : before_[step]) {
      after_[p].erase(step);
      for (const size_t h : hosts)
        if (p < hosts.front() && before_[h].insert(p).second) after_[p].insert(h);
    }
    for (const size_t n : after_[step]) {
      before_[n].erase(step);
      for (const size_t h : hosts)
        if (n > hosts.back() && before_[n].insert(h).second) after_[h].insert(n);
    }
    before_[step].clear();
    after_[step].clear();
    for (const ValueId v : kernels_[step].buffers) {
      std::set<size_t>& steps = touched_[root_(v)];
      steps.erase(step);
      steps.insert(hosts.begin(), hosts.end());
    }
    kernels_[step] = {};
  }

  const Fusion& f_;
  const MemoryRoots& root_;
  const InPlace& in_place_;
  const Hosts wanted_;
  std::vector<LoweredKernel>& kernels_;
  StepOrder& order_;
  std::vector<std::set<size_t>> before_, after_;
  std::map<ValueId, std::set<size_t>> touched_;    // by memory root, the steps that use it
  std::map<size_t, std::vector<size_t>> writing_;  // the hosts of what a host's epilogue does
  std::set<size_t> chosen_;                        // as neighbours
  std::set<ValueId> leaves_;
};

}  // namespace

std::vector<Absorbed> absorb(const Graph& g, const Fusion& f, const MemoryRoots& root,
                             const InPlace& in_place, Hosts wanted, const std::set<size_t>& refused,
                             std::vector<LoweredKernel>& kernels, StepOrder& before) {
  if (wanted == Hosts::None) return {};
  return Search(g, f, root, in_place, wanted, kernels, before).run(refused);
}

}  // namespace ourjit
