// What a loop's memory accesses look like along its variable, and whether its iterations may be
// lanes.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// How an index moves when a loop variable grows by one.
enum class Step : uint8_t {
  Same,  // not at all
  Next,  // to the next element
  Far,   // anywhere else
};

/// The values and bound symbols in a loop that may differ between its iterations.
struct Varying {
  std::string var;
  std::set<ValueId> values;
  std::set<std::string> symbols;  // var among them

  bool value(ValueId v) const { return values.contains(v); }
  bool mentioned(const Sym& s) const;
};

/// Analyses the whole body of `f`.
Varying varying_in(const For& f);

/// How `index` moves with the loop of `v`.
Step step_of(const Sym& index, const Varying& v);

/// True if the iterations of `f` can be lanes of a vector loop: no other vector loop inside, inner
/// bounds that all lanes share, and no lane writes what another one reads or writes. `around` knows
/// the variables of the loops around `f`. Memories in `own` do not matter: each lane gets its own.
bool can_vectorize(const For& f, const SymBounds& around, const std::set<std::string>& own = {});

/// Locals that only `f` uses and that it stores to at places that all its iterations share: lanes
/// need their own copies.
std::set<std::string> shared_locals(const Kernel& k, const For& f);

}  // namespace ourjit::loop
