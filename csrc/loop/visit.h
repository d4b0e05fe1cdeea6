// Walks over kernels, shared by the stages that read or rewrite them.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "loop/loop_ir.h"

namespace ourjit::loop {

/// Calls `f` on every node of `body` in order, a loop before its body.
void for_each_node(const std::vector<Node>& body, const std::function<void(const Node&)>& f);
void for_each_node(std::vector<Node>& body, const std::function<void(Node&)>& f);

/// The values that the node itself (not a loop's body) reads; a loop reads its reductions' values.
std::vector<ValueId> operands(const Node& n);
/// Replaces each value that the node itself reads by `f` of it.
void map_operands(Node& n, const std::function<ValueId(ValueId)>& f);
/// Replaces each value that the node itself defines by `f` of it.
void map_results(Node& n, const std::function<ValueId(ValueId)>& f);
/// The values that the node defines, in order.
std::vector<ValueId> results(const Node& n);

/// The names of the memory that the nodes read and write.
struct Touched {
  std::set<std::string> read, written;

  explicit Touched(const std::vector<Node>& body);
  bool has(const std::string& name) const { return read.contains(name) || written.contains(name); }
};

/// True if the node only defines values and symbols: it is no store, barrier or loop.
bool is_pure(const Node& n);

/// Calls `f` on every index, bound and extent in `n` itself (not in a loop's body).
void for_each_sym(const Node& n, const std::function<void(const Sym&)>& f);
/// Rewrites every index, bound and extent in `n` itself (not in a loop's body) by `f`.
void map_syms(Node& n, const std::function<Sym(const Sym&)>& f);
/// The same for `body` and everything in it.
void map_syms(std::vector<Node>& body, const std::function<Sym(const Sym&)>& f);

/// Makes room for so many lines in front of those that the nodes of `body` and all in it refer to.
void shift_lines(std::vector<Node>& body, int by);

/// The parallel loop; null if there is none.
const For* parallel_loop(const Kernel& k);
For* parallel_loop(Kernel& k);

/// Iterations of the parallel loop (1 without one), given the values of the kernel's size
/// parameters in order.
Sym parallel_extent(const Kernel& k, const std::vector<Sym>& sizes);

/// The kernel's size parameters as expressions, in order.
std::vector<Sym> size_symbols(const Kernel& k);

/// A name that starts with `base` and that no size, loop variable, bound symbol or memory has.
std::string fresh_name(const Kernel& k, const std::string& base);

}  // namespace ourjit::loop
