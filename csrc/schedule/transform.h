// Rewrites of single loops. Each keeps what the loop computes; callers see to it that the new order
// of iterations is allowed.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// `for v in b..e` becomes `for outer in 0..ceildiv(e - b, tile) { for v in b + outer*tile ..
/// min(e, b + outer*tile + tile) }`. Reductions pass through both loops; argmax and argmin do not
/// split.
For tiled(Kernel& k, For f, int64_t tile, const std::string& outer);

/// `for v in m*b..m*e` becomes `for outer in b..e { for inner in 0..m }` with v = outer*m + inner.
/// Empty if a bound is not a multiple of m.
std::optional<For> split(Kernel& k, const For& f, int64_t m, const std::string& outer,
                         const std::string& inner);

/// A copy of `body` that defines values of its own.
std::vector<Node> cloned(Kernel& k, const std::vector<Node>& body);

/// True if `f` reduces to a position, which depends on the loop's numbering.
bool has_positions(const For& f);

/// Gives each iteration of `f`, which counts from `origin` to less than origin + lanes, its own
/// copy of the locals `names`: element i becomes element i*lanes + var - origin.
void privatize(Kernel& k, For& f, const std::set<std::string>& names, const Sym& origin, int lanes);

}  // namespace ourjit::loop
