// Emits one kernel: the state that the traversal (llvm_emitter.cpp), the loops (llvm_loops.cpp),
// memory (llvm_memory.cpp) and reductions (llvm_reduce.cpp) share.
//
// Inside a vector loop a value is either uniform, a scalar computed once for all lanes, or varying,
// a vector with one element a lane. Which it is follows from what it is computed from and is known
// before the loop is emitted (varying_). A vector loop runs whole vectors first, and then what is
// left under a mask of lanes (lane_mask_).
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "codegen/llvm_index.h"
#include "codegen/llvm_values.h"
#include "loop/interpret.h"
#include "loop/loop_ir.h"
#include "loop/target.h"

namespace ourjit {

class KernelEmitter {
 public:
  KernelEmitter(const loop::Kernel& k, const loop::Target& target, llvm::Module& module);
  void run();

 private:
  using Values = std::vector<Value*>;
  /// Emits a loop's body for the iteration `var` and maps the carried values to their next.
  using LoopBody = std::function<Values(Value* var, const Values& carried)>;

  // llvm_emitter.cpp
  void begin_function();
  void end_function();
  void allocate_locals();
  void block(const std::vector<loop::Node>& body);
  void statement(const loop::Node& n);
  void compute(const loop::Compute& c);
  void bind(const loop::Bind& b);
  /// Records `s` if `bad` holds in any active lane and nothing was recorded before.
  void record(Value* bad, loop::Status s);
  Value*& value(loop::ValueId id) { return values_[static_cast<size_t>(id)]; }
  DType dtype(loop::ValueId id) const { return k_.types[static_cast<size_t>(id)]; }
  /// `v` and the lanes that are active; `v` or the result may be null, which stands for all.
  Value* with_lane_mask(Value* v);
  llvm::BasicBlock* new_block(const char* name);

  // llvm_loops.cpp
  void parallel_loop(const loop::For& f);
  void serial_loop(const loop::For& f);
  void vector_loop(const loop::For& f);
  /// The body of a vector loop for `width` iterations from `first`, of which those of `mask` (null:
  /// all) are active.
  Values vector_body(const loop::For& f, int width, Value* first, Value* mask,
                     const Values& carried);
  /// The iterations from `from` on (`trips` of them, if known), one vector at a time; `exact` if
  /// they fill whole vectors, else the last one is masked; `at_most_one` if there is no second one.
  Values single_vectors(const loop::For& f, Value* from, std::optional<int64_t> trips, bool exact,
                        bool at_most_one, const Values& carried);
  /// Iterations up to `end` in whole vectors, `copies` of them at a time, each with its own
  /// accumulators.
  Values unrolled_vectors(const loop::For& f, Value* end, std::optional<int64_t> trips, int copies,
                          const Values& carried);
  /// for (var = begin; var < end; var += step), as a loop that tests at its end; `trips` is end -
  /// begin, if known.
  Values counted_loop(Value* begin, Value* end, std::optional<int64_t> trips, int64_t step,
                      const Values& initial, const LoopBody& body);
  /// Emits `then` where `condition` holds; its values, or `otherwise`.
  Values if_then(Value* condition, const Values& otherwise, const std::function<Values()>& then);
  void mark_varying(const std::vector<loop::Node>& body);
  bool is_varying(loop::ValueId id) const { return varying_values_[static_cast<size_t>(id)]; }
  bool is_varying(const Sym& s) const;
  Interval loop_range(const loop::For& f) const;

  // llvm_memory.cpp
  void load(const loop::Load& l);
  void store(const loop::Store& s);
  Value* element_pointer(const std::string& memory, Value* index);
  Value* load_uniform(const loop::Load& l, Value* index);
  Value* load_lanes(DType t, const std::string& memory, const LaneAddress& at, Value* mask);
  void store_uniform(const loop::Store& s, DType t, Value* index);
  void store_lanes(DType t, const std::string& memory, const LaneAddress& at, Value* v,
                   Value* mask);
  /// Pointers of all lanes of a scattered access.
  Value* lane_pointers(DType t, const std::string& memory, const LaneAddress& at);
  Value* add_to_memory(DType t, Value* old, Value* v);

  // llvm_reduce.cpp
  /// Values that a reduction carries: one, or for argmax and argmin the extreme and its iteration.
  static size_t carried_count(const loop::Reduction& r);
  static bool is_arg(const loop::Reduction& r);
  Values initial_values(const loop::For& f, bool vector);
  /// Combines the body's values of the iteration(s) from `var` on into `carried`.
  Values accumulate(const loop::For& f, const Values& carried, Value* var, Value* mask);
  /// Combines two partial results of one reduction; indices decide between equal extremes.
  Values combine(const loop::Reduction& r, const Values& a, const Values& b);
  /// Combines the lanes of one reduction's partial result.
  Values combine_lanes(const loop::Reduction& r, Values partial);
  /// Combines the accumulators of all copies and lanes of a vector loop.
  Values combine_partials(const loop::For& f, const Values& carried, int copies);
  void define_results(const loop::For& f, const Values& final);
  Value* identity(const loop::Reduction& r);
  Value* is_better(const loop::Reduction& r, Value* a, Value* b);

  const loop::Kernel& k_;
  llvm::Module& module_;
  llvm::IRBuilder<> ir_;
  ValueBuilder builder_;
  IndexBuilder index_;
  llvm::Function* function_ = nullptr;
  Value* begin_ = nullptr;  // KernelArgs::begin, end, status
  Value* end_ = nullptr;
  Value* status_ = nullptr;
  std::map<std::string, Value*, std::less<>> memory_;
  Values scratch_;  // locals to free
  Values values_;
  std::vector<bool> varying_values_;
  std::set<std::string, std::less<>> varying_symbols_;
  unsigned lanes_ = 1;
  Value* lane_mask_ = nullptr;
};

}  // namespace ourjit
