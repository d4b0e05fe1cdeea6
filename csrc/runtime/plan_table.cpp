#include "runtime/plan_table.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"

namespace ourjit {
namespace {

// Temporaries of all rows live at once where launches run over all rows: so much of them may.
constexpr int64_t kSmallBytes = 4096;

/// True for an input that stands for the elements of a tensor of any shape.
bool is_flat(const PlanInput& in) {
  return in.sizes.size() == 1 && in.sizes[0].as_symbol() && in.strides[0].is_const(1);
}

int64_t elements(const TensorLayout& t) {
  int64_t n = 1;
  for (const int64_t size : t.sizes) n *= size;
  return n;
}

/// (stride, size) of the dims that have more than one element.
std::vector<std::pair<int64_t, int64_t>> steps(const TensorLayout& t) {
  std::vector<std::pair<int64_t, int64_t>> found;
  for (size_t d = 0; d < t.sizes.size(); ++d)
    if (t.sizes[d] != 1) found.emplace_back(t.strides[d], t.sizes[d]);
  return found;
}

/// True if each element has a place of its own, and there are no gaps between them.
bool is_dense(const TensorLayout& t) {
  if (elements(t) == 0) return true;
  auto dims = steps(t);
  std::sort(dims.begin(), dims.end());
  int64_t expected = 1;
  for (const auto& [stride, size] : dims) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

class Table {
 public:
  Table(const Plan& plan, const std::vector<std::vector<TensorLayout>>& rows)
      : plan_(plan), rows_(rows) {
    if (!plan.outputs.empty()) OURJIT_RAISE(Unsupported) << plan.name << " has outputs";
    for (const PlanInput& in : plan.inputs)
      if (in.is_number)
        OURJIT_RAISE(Unsupported) << plan.name << ": input " << in.name << " is a number";
  }

  Plan run() {
    out_.name = plan_.name;
    out_.kernels = plan_.kernels;
    out_.device = plan_.device;
    out_.guarded = plan_.guarded;
    out_.matmul = plan_.matmul;
    out_.check_nan = plan_.check_nan;
    out_.tensors_on = plan_.tensors_on;
    for (size_t r = 0; r < rows_.size(); ++r) add_memory(r);
    if (temporaries_are_small()) {
      for (const PlanStep& s : plan_.steps) add_step(s, 0, rows_.size());
    } else {
      for (size_t r = 0; r < rows_.size(); ++r)
        for (const PlanStep& s : plan_.steps) add_step(s, r, r + 1);
    }
    return std::move(out_);
  }

 private:
  Sym at(const Sym& x, size_t row) const {
    return x.substitute([&](std::string_view name) -> std::optional<Sym> {
      const auto it = values_[row].find(std::string(name));
      return it == values_[row].end() ? std::nullopt : std::optional<Sym>(it->second);
    });
  }

  std::vector<Sym> at(const std::vector<Sym>& xs, size_t row) const {
    std::vector<Sym> out;
    out.reserve(xs.size());
    for (const Sym& x : xs) out.push_back(at(x, row));
    return out;
  }

  int tensor(int of_plan, size_t row) const {
    return of_plan < 0 ? of_plan : of_plan + static_cast<int>(row * plan_.tensors.size());
  }

  [[noreturn]] void refuse(size_t row, const PlanInput& in, const std::string& why) const {
    OURJIT_RAISE(UserError) << plan_.name << ": row " << row << " of the table: " << in.name << " "
                            << why;
  }

  void find_values(size_t row) {
    std::map<std::string, int64_t>& values = values_.emplace_back();
    for (const SymbolSource& s : plan_.symbols) {
      const auto i = static_cast<size_t>(s.input);
      const TensorLayout& t = rows_[row][i];
      const auto d = static_cast<size_t>(s.dim);
      if (is_flat(plan_.inputs[i]))
        values[s.symbol] = elements(t);
      else if (d < t.sizes.size())
        values[s.symbol] = t.sizes[d];
      else
        refuse(row, plan_.inputs[i], "has too few dims");
    }
  }

  void add_input(size_t row, size_t i, const TensorLayout*& flat) {
    const PlanInput& in = plan_.inputs[i];
    const TensorLayout& t = rows_[row][i];
    PlanInput& added = out_.inputs.emplace_back(in);
    added.name += "." + std::to_string(row);
    added.sizes.assign(t.sizes.begin(), t.sizes.end());
    added.strides.assign(t.strides.begin(), t.strides.end());
    if (is_flat(in)) {
      if (elements(t) != at(in.sizes[0], row).value())
        refuse(row, in, "has another number of elements");
      if (!is_dense(t)) refuse(row, in, "has gaps, or elements that share memory");
      if (flat && (flat->sizes != t.sizes || (elements(t) > 0 && steps(*flat) != steps(t))))
        refuse(row, in, "is laid out otherwise than the tensors beside it");
      flat = &t;
      return;
    }
    if (added.sizes != at(in.sizes, row)) refuse(row, in, "has another shape");
    added.strides = at(in.strides, row);  // others are copied, as in any call
  }

  void add_memory(size_t row) {
    if (rows_[row].size() != plan_.inputs.size())
      OURJIT_RAISE(UserError) << plan_.name << ": row " << row << " of the table has "
                              << rows_[row].size() << " tensors, not " << plan_.inputs.size();
    find_values(row);
    const int inputs = static_cast<int>(out_.inputs.size());
    const int buffers = static_cast<int>(out_.buffers.size());
    const TensorLayout* flat = nullptr;
    for (size_t i = 0; i < plan_.inputs.size(); ++i) add_input(row, i, flat);
    for (const PlanBuffer& b : plan_.buffers)
      out_.buffers.push_back(
          {b.kind, b.input < 0 ? b.input : b.input + inputs, at(b.bytes, row), b.name});
    for (const PlanTensor& t : plan_.tensors)
      out_.tensors.push_back(
          {t.buffer + buffers, t.dtype, at(t.sizes, row), at(t.strides, row), at(t.offset, row)});
  }

  bool temporaries_are_small() const {
    return std::all_of(out_.buffers.begin(), out_.buffers.end(), [](const PlanBuffer& b) {
      return b.kind == BufferKind::Input || (b.bytes.is_const() && b.bytes.value() <= kSmallBytes);
    });
  }

  LaunchRow launch_row(const LaunchRow& r, size_t row) const {
    LaunchRow out{{}, at(r.sizes, row), at(r.extent, row)};
    for (const int t : r.tensors) out.tensors.push_back(tensor(t, row));
    return out;
  }

  CallArg argument(const CallArg& a, size_t row) const {
    if (const auto* t = std::get_if<CallTensor>(&a.v)) return {CallTensor{tensor(t->tensor, row)}};
    if (const auto* s = std::get_if<Sym>(&a.v)) return {at(*s, row)};
    if (const auto* list = std::get_if<std::vector<CallArg>>(&a.v)) {
      std::vector<CallArg> out;
      for (const CallArg& x : *list) out.push_back(argument(x, row));
      return {std::move(out)};
    }
    return a;
  }

  /// A step of the plan for the rows first .. last - 1. Rows that leave out an epilogue come first.
  void add_step(const PlanStep& s, size_t first, size_t last) {
    if (const auto* launch = std::get_if<LaunchStep>(&s)) {
      LaunchStep step{
          launch->kernel, {}, launch->cost_ns, launch->silent * (last - first), launch->provenance};
      for (size_t r = first; r < last; ++r)
        for (size_t i = 0; i < launch->silent; ++i)
          step.rows.push_back(launch_row(launch->rows[i], r));
      for (size_t r = first; r < last; ++r)
        for (size_t i = launch->silent; i < launch->rows.size(); ++i)
          step.rows.push_back(launch_row(launch->rows[i], r));
      out_.steps.emplace_back(std::move(step));
      return;
    }
    const auto& call = std::get<CallStep>(s);
    for (size_t r = first; r < last; ++r) {
      CallStep step{call.target, {}, {}, call.into_results, call.loc};
      for (const CallArg& a : call.args) step.args.push_back(argument(a, r));
      for (const int t : call.results) step.results.push_back(tensor(t, r));
      out_.steps.emplace_back(std::move(step));
    }
  }

  const Plan& plan_;
  const std::vector<std::vector<TensorLayout>>& rows_;
  std::vector<std::map<std::string, int64_t>> values_;  // of the symbols in each row
  Plan out_;
};

}  // namespace

Plan plan_over_table(const Plan& plan, const std::vector<std::vector<TensorLayout>>& rows) {
  return Table(plan, rows).run();
}

}  // namespace ourjit
