#include "runtime/instance.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "runtime/memory_plan.h"

namespace ourjit {

namespace {

// Waking the pool costs a few microseconds, so less work than this stays on the calling thread, and
// a task is at least half of it.
constexpr double kParallelFromNs = 30e3;
constexpr double kTaskNs = 15e3;

template <class T>
Range append(std::vector<T>& all, const std::vector<T>& more) {
  const Range r{static_cast<int>(all.size()), static_cast<int>(more.size())};
  all.insert(all.end(), more.begin(), more.end());
  return r;
}

int64_t grain_of(int64_t extent, double cost_ns) {
  if (extent <= 1 || static_cast<double>(extent) * cost_ns < kParallelFromNs) return 0;
  return std::max<int64_t>(1, static_cast<int64_t>(kTaskNs / cost_ns));
}

/// Builds one instance; the members are the plan's facts that several steps of it need.
struct Instantiation {
  const Plan& plan;
  PlanInstance& out;

  std::vector<int64_t> eval(const std::vector<Sym>& xs) const {
    std::vector<int64_t> values;
    values.reserve(xs.size());
    for (const Sym& x : xs) values.push_back(out.eval(x));
    return values;
  }

  void inputs_and_tensors() {
    for (const PlanInput& in : plan.inputs)
      out.inputs.push_back({in.is_number, in.dtype, eval(in.sizes), eval(in.strides)});
    for (const PlanTensor& t : plan.tensors) {
      OURJIT_CHECK(t.buffer >= 0 && static_cast<size_t>(t.buffer) < plan.buffers.size())
          << t.buffer;
      OURJIT_CHECK(t.sizes.size() == t.strides.size()) << plan.name;
      out.tensors.push_back({t.buffer, t.dtype, eval(t.sizes), eval(t.strides),
                             out.eval(t.offset) * dtype_bytes(t.dtype)});
    }
    for (const PlanOutput& o : plan.outputs)
      out.numbers.push_back(o.number ? std::optional(out.eval(*o.number)) : std::nullopt);
  }

  /// Buffers that leave the call through an output stay to the end.
  std::vector<bool> returned() const {
    std::vector<bool> r(plan.buffers.size());
    for (const PlanOutput& o : plan.outputs)
      if (o.tensor >= 0) {
        const int b = out.tensors[static_cast<size_t>(o.tensor)].buffer;
        OURJIT_CHECK(plan.buffers[static_cast<size_t>(b)].kind != BufferKind::Temp)
            << "buffer " << plan.buffers[static_cast<size_t>(b)].name
            << " is returned but temporary";
        r[static_cast<size_t>(b)] = true;
      }
    return r;
  }

  void arena(const std::vector<BufferLife>& lives) {
    std::vector<MemoryRequest> requests;
    for (size_t b = 0; b < plan.buffers.size(); ++b) {
      // From the first to the last element, which is negative where there are none and strides
      // leave gaps.
      out.buffer_bytes.push_back(std::max<int64_t>(0, out.eval(plan.buffers[b].bytes)));
      const bool temp = plan.buffers[b].kind == BufferKind::Temp;
      requests.push_back({temp ? out.buffer_bytes[b] : 0, lives[b]});
    }
    const MemoryLayout layout = plan_memory(requests);
    out.arena_bytes = layout.bytes;
    for (size_t b = 0; b < plan.buffers.size(); ++b)
      out.temp_offsets.push_back(plan.buffers[b].kind == BufferKind::Temp ? layout.offsets[b] : -1);
  }

  /// Whatever the sizes are, tensors lie within the memory that the plan takes for them.
  void check_extents() const {
    for (const InstanceTensor& t : out.tensors) {
      const PlanBuffer& buffer = plan.buffers[static_cast<size_t>(t.buffer)];
      const bool owned = buffer.kind == BufferKind::Temp || buffer.kind == BufferKind::Output;
      if (!owned || is_empty(t)) continue;
      const int64_t element = dtype_bytes(t.dtype);
      int64_t first = t.byte_offset, last = t.byte_offset + element;
      for (size_t d = 0; d < t.sizes.size(); ++d) {
        const int64_t way = (t.sizes[d] - 1) * t.strides[d] * element;
        (way < 0 ? first : last) += way;
      }
      const int64_t bytes = out.buffer_bytes[static_cast<size_t>(t.buffer)];
      OURJIT_CHECK(first >= 0 && last <= bytes)
          << plan.name << ": a tensor takes bytes " << first << " to " << last << " of buffer "
          << buffer.name << ", which has " << bytes;
    }
  }

  void arguments(const LaunchStep& launch, InstanceStep& step) {
    step.starts.first = static_cast<int>(out.starts.size());
    step.pointers.first = static_cast<int>(out.pointer_tensors.size());
    step.sizes.first = static_cast<int>(out.sizes.size());
    int64_t extent = 0;
    for (const LaunchRow& row : launch.rows) {
      out.starts.push_back(extent);
      extent += std::max<int64_t>(0, out.eval(row.extent));
      step.pointers.count += append(out.pointer_tensors, row.tensors).count;
      step.sizes.count += append(out.sizes, eval(row.sizes)).count;
    }
    out.starts.push_back(extent);
    step.starts.count = static_cast<int>(launch.rows.size()) + 1;
    step.silent = static_cast<int64_t>(launch.silent);
    step.grain = grain_of(extent, launch.cost_ns);
    out.kernel_ns += static_cast<double>(extent) * launch.cost_ns;
  }

  void steps(const std::vector<BufferLife>& lives) {
    const std::vector<bool> is_returned = returned();
    std::vector<std::vector<int>> acquire(plan.steps.size()), release(plan.steps.size());
    for (size_t b = 0; b < plan.buffers.size(); ++b) {
      const BufferKind kind = plan.buffers[b].kind;
      const int id = static_cast<int>(b);
      const BufferLife life = lives[b];
      if (kind == BufferKind::Output) {
        if (life.first >= 0)
          acquire[static_cast<size_t>(life.first)].push_back(id);
        else
          out.acquire_at_end.push_back(id);
      } else if (kind != BufferKind::Temp && !is_returned[b]) {
        if (life.last >= 0)
          release[static_cast<size_t>(life.last)].push_back(id);
        else if (kind == BufferKind::Input)
          out.release_at_start.push_back(id);
      }
    }
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      InstanceStep step;
      step.acquire = append(out.acquire, acquire[i]);
      step.release = append(out.release, release[i]);
      if (const auto* launch = std::get_if<LaunchStep>(&plan.steps[i])) {
        const PlanKernel& kernel = plan.kernels.at(static_cast<size_t>(launch->kernel));
        step.function = kernel.code.function;
        step.device = kernel.code.device;
        OURJIT_CHECK(step.function || (step.device && plan.device))
            << "kernel " << kernel.name << " has no code";
        arguments(*launch, step);
      } else {
        out.has_calls = true;
      }
      out.steps.push_back(step);
    }
  }
};

}  // namespace

int64_t PlanInstance::eval(const Sym& s) const {
  if (s.is_const()) return s.value();
  return s.eval([this](std::string_view name) -> std::optional<int64_t> {
    for (size_t i = 0; i < plan->symbols.size(); ++i)
      if (plan->symbols[i].symbol == name) return symbol_values[i];
    return std::nullopt;
  });
}

bool is_empty(const InstanceTensor& t) { return std::ranges::count(t.sizes, 0) > 0; }

std::unique_ptr<const PlanInstance> instantiate(const Plan& p, std::vector<int64_t> symbol_values) {
  OURJIT_CHECK(symbol_values.size() == p.symbols.size()) << p.name;
  auto instance = std::make_unique<PlanInstance>();
  instance->plan = &p;
  instance->symbol_values = std::move(symbol_values);
  const std::vector<BufferLife> lives = buffer_lives(p);
  Instantiation build{p, *instance};
  build.inputs_and_tensors();
  build.arena(lives);
  build.check_extents();
  build.steps(lives);
  return instance;
}

std::string print_memory(const PlanInstance& instance) {
  const Plan& p = *instance.plan;
  const std::vector<BufferLife> lives = buffer_lives(p);
  int64_t temp = 0, output = 0;
  TextWriter w;
  for (size_t b = 0; b < p.buffers.size(); ++b) {
    const std::string name = p.buffers[b].name, bytes = std::to_string(instance.buffer_bytes[b]);
    if (p.buffers[b].kind == BufferKind::Temp) {
      temp += instance.buffer_bytes[b];
      w.line("temp " + name + ": " + bytes + " bytes at " +
             std::to_string(instance.temp_offsets[b]) + ", steps " +
             std::to_string(lives[b].first) + " to " + std::to_string(lives[b].last));
    } else if (p.buffers[b].kind == BufferKind::Output) {
      output += instance.buffer_bytes[b];
      w.line("output " + name + ": " + bytes + " bytes");
    }
  }
  w.line("arena: " + std::to_string(instance.arena_bytes) + " bytes for " + std::to_string(temp) +
         " bytes of temporaries; outputs: " + std::to_string(output) + " bytes");
  return w.take();
}

}  // namespace ourjit
