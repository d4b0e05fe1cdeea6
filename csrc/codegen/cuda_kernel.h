// Emits one kernel as CUDA C++: the state that the traversal (cuda_emitter.cpp), thread loops
// (cuda_threads.cpp) and what stands around them (cuda_entry.cpp) share.
//
// In a thread loop of width W > 1 a thread takes W adjacent iterations, its lanes. What differs
// between them is an array of W elements, computed in loops over the lanes; the rest is computed
// once. Where all threads must go through the same statements (barriers and reductions over
// threads), iterations beyond the end are run as well, with everything that has an effect guarded
// by a predicate.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "loop/loop_ir.h"

namespace ourjit::cuda {

class KernelEmitter {
 public:
  KernelEmitter(const loop::Kernel& k, bool aligned);
  std::string run();

 private:
  // cuda_entry.cpp
  void parameters();
  void locals();
  void epilogue();

  // cuda_emitter.cpp
  void block(const std::vector<loop::Node>& body);
  void statement(const loop::Node& n);
  void compute(const loop::Compute& c);
  void load(const loop::Load& l);
  void store(const loop::Store& s);
  void bind(const loop::Bind& b);
  void serial_loop(const loop::For& f);
  /// `type name = expression;`, in each lane where the value is varying.
  void define(loop::ValueId id, const std::string& expression);
  /// A statement for each lane, or once; `varying` says which.
  void perform(const std::string& text, bool varying);
  /// Ends the loop over lanes that is being written, if there is one.
  void end_lanes();
  /// True if the random numbers of the lanes come from whole blocks (kernels/cuda/operations.cuh).
  bool shares_random_blocks(const loop::Compute& c) const;
  std::string element(const std::string& memory, const Sym& at) const;
  /// True if the lanes' elements are moved as one vector.
  bool loads_vector(const loop::Load& l) const;
  bool stores_vector(const loop::Store& s) const;
  /// Notes the casts in a thread loop's body that its vector loads and stores do themselves.
  void convert_vectors(const std::vector<loop::Node>& body);
  /// A vector load or store at `index` of memory of this dtype.
  void move_vector(const std::string& verb, const std::string& arguments, const Sym& index,
                   DType memory);

  // cuda_threads.cpp
  void thread_loop(const loop::For& f);
  void thread_body(const loop::For& f, bool exact);
  /// Declares what the loop's reductions start with.
  void begin_reductions(const loop::For& f);
  void accumulate(const loop::For& f);
  /// Defines the results, combined over the threads of a thread loop.
  void end_reductions(const loop::For& f);
  std::string accumulator_type(const loop::Reduction& r) const;
  void mark_varying(const std::vector<loop::Node>& body);
  /// Asks for unrolling where that pays; true if nothing of the loop is left.
  bool unroll_serial(const loop::For& f);
  int threads(const loop::For& f) const;
  /// Iterations of a thread, where a number bounds them.
  std::optional<int64_t> trips(const loop::For& f) const;
  /// Operations of all lanes in one iteration of a thread.
  int64_t operations(const loop::For& f) const;

  // names
  std::string value(loop::ValueId id) const;
  std::string index(const Sym& s) const;
  /// The index of the first lane.
  std::string first_index(const Sym& s) const;
  /// "memory, index" of an access, or "memory + (rest), number": what unrolling turns into a number
  /// comes last, so that the accesses of all iterations share one address. For the lane at hand
  /// (`in_lanes`) or the first one.
  std::string place(const std::string& memory, const Sym& s, bool in_lanes) const;
  bool varies(loop::ValueId id) const { return lanes_ > 1 && varying_values_.contains(id); }
  bool varies(const Sym& s) const;
  /// True if lane l's index is the first one's plus l.
  bool steps_by_one(const Sym& s) const;
  DType dtype(loop::ValueId id) const { return k_.types[static_cast<size_t>(id)]; }
  /// "a && b" of what must hold for an effect: the predicate, whether the lane exists, `mask`.
  std::string condition(loop::ValueId mask, bool varying) const;
  static std::string both(const std::string& a, const std::string& b);

  const loop::Kernel& k_;
  const bool aligned_;  // buffers begin at multiples of kBufferAlignment
  TextWriter out_;
  int lanes_ = 1;                    // width of the thread loop around
  const loop::For* wide_ = nullptr;  // that loop
  bool some_lanes_ = false;          // lanes may lie beyond the end: active_ says how many do not
  bool all_or_none_ = false;         // active_ is a bool: all lanes exist or none
  std::string active_;
  std::string predicate_;  // of the iterations around; empty: they all exist
  bool in_x_ = false, in_y_ = false;
  bool in_lane_loop_ = false;
  std::set<loop::ValueId> varying_values_;
  std::set<std::string> varying_symbols_;
  std::map<std::string, Sym, std::less<>> unrolled_;  // variables of loops that are unrolled
  std::set<std::string, std::less<>> numbers_;        // symbols that unrolling turns into numbers
  std::map<loop::ValueId, Sym> indices_;              // that values are of
  std::map<loop::ValueId, loop::ValueId> widened_;    // a half whose only use is a cast to this f32
  std::map<loop::ValueId, loop::ValueId> narrowed_;   // a half used once, cast from this f32
  std::set<loop::ValueId> converted_;                 // casts that vector loads and stores do
  int64_t scratch_bytes_ = 0;
};

}  // namespace ourjit::cuda
