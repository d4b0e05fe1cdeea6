#include "adapter/products.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/bmm_cpu_dispatch.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <utility>

#include "native_kernels.h"

namespace ourjit {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kWays = 3;
constexpr double kMeasuringMicroseconds = 5000;  // for each way, but once at least
constexpr int kRounds = 7;
constexpr double kWorthwhile = 0.97;     // of ATen's time: less is noise
constexpr double kFlopsOfATask = 2.5e6;  // about 30 us: waking a thread takes 5 to 10

struct Operands {
  const at::Tensor& a;
  const at::Tensor& b;
  at::Tensor& out;
};

// --- ours ---

/// The operands of batch entry 0, and what leads to the next entry.
struct Batch {
  matmul::Product first;
  int64_t count;
  int64_t a, b, c;
};

/// True for f32 operands with something to add up, whose sizes fit: ATen raises its errors itself.
bool are_plain(const Operands& x) {
  const int64_t d = x.out.dim() - 2;
  for (const at::Tensor* t : {&x.a, &x.b, static_cast<const at::Tensor*>(&x.out)})
    if (t->scalar_type() != at::kFloat || t->dim() != x.out.dim() || t->numel() == 0) return false;
  return x.a.size(d) == x.out.size(d) && x.b.size(d + 1) == x.out.size(d + 1) &&
         x.a.size(d + 1) == x.b.size(d) &&
         (d == 0 || (x.a.size(0) == x.out.size(0) && x.b.size(0) == x.out.size(0)));
}

/// None if the kernel does not take such operands.
std::optional<Batch> as_batch(const Operands& x) {
  if (!are_plain(x)) return std::nullopt;
  const int64_t d = x.out.dim() - 2;
  const auto stride = [d](const at::Tensor& t, int64_t dim) { return t.stride(d + dim); };
  const auto leap = [d](const at::Tensor& t) { return d ? t.stride(0) : 0; };
  const auto matrix = [&](const at::Tensor& t, bool turned) {
    return matmul::Matrix{t.const_data_ptr<float>(), stride(t, turned), stride(t, !turned)};
  };
  // c' = b' a' where the columns of c are contiguous, not its rows.
  const bool turned = stride(x.out, 1) != 1 && stride(x.out, 0) == 1;
  if (!turned && stride(x.out, 1) != 1) return std::nullopt;
  const at::Tensor &a = turned ? x.b : x.a, &b = turned ? x.a : x.b;
  Batch batch{};
  matmul::Product& p = batch.first;
  p.a = matrix(a, turned);
  p.b = matrix(b, turned);
  p.m = x.out.size(d + turned);
  p.n = x.out.size(d + !turned);
  p.k = x.a.size(d + 1);
  p.c = x.out.mutable_data_ptr<float>();
  p.c_row = stride(x.out, turned);
  batch.count = d ? x.out.size(0) : 1;
  batch.a = leap(a);
  batch.b = leap(b);
  batch.c = leap(x.out);
  return batch;
}

/// Into how many ranges of rows and of columns one product is cut.
std::pair<int64_t, int64_t> cuts(const matmul::Product& p, const matmul::Kernel& kernel,
                                 int64_t tasks) {
  const int64_t high = (p.m + kernel.rows - 1) / kernel.rows;
  const int64_t wide = (p.n + kernel.columns - 1) / kernel.columns;
  std::pair<int64_t, int64_t> best{1, 1};
  double least = kNever;
  for (int64_t rows = 1; rows <= tasks; ++rows) {
    const int64_t columns = tasks / rows;
    if (rows > high || columns > wide) continue;
    const auto m = static_cast<double>((high + rows - 1) / rows * kernel.rows);
    const auto n = static_cast<double>((wide + columns - 1) / columns * kernel.columns);
    // Multiplying takes a step for each vector, packing about as much for an element.
    const double cost = m * n / 16 + m + n;
    if (cost < least) least = cost, best = {rows, columns};
  }
  return best;
}

float* scratch(int64_t floats) {
  constexpr size_t kLine = 64 / sizeof(float);
  thread_local std::vector<float> memory;
  if (memory.size() < static_cast<size_t>(floats) + kLine)
    memory.resize(static_cast<size_t>(floats) + kLine);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return memory.data() + (64 - address % 64) % 64 / sizeof(float);
}

void multiply(const Batch& batch, const matmul::Kernel& kernel) {
  const matmul::Product& whole = batch.first;
  const double flops = 2.0 * static_cast<double>(whole.m) * static_cast<double>(whole.n) *
                       static_cast<double>(whole.k);
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t worthwhile =
      static_cast<int64_t>(flops * static_cast<double>(batch.count) / kFlopsOfATask);
  const int64_t wanted = std::clamp<int64_t>(worthwhile, 1, threads);
  const int64_t each = (wanted + batch.count - 1) / batch.count;
  const auto [rows, columns] = cuts(whole, kernel, each);
  const auto part = [](int64_t size, int64_t unit, int64_t i, int64_t n) {
    return std::min(size, (size + unit - 1) / unit * i / n * unit);
  };
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t entry = task / (rows * columns), i = task / columns % rows, j = task % columns;
      const int64_t top = part(whole.m, kernel.rows, i, rows);
      const int64_t left = part(whole.n, kernel.columns, j, columns);
      matmul::Product p = whole;
      p.m = part(whole.m, kernel.rows, i + 1, rows) - top;
      p.n = part(whole.n, kernel.columns, j + 1, columns) - left;
      p.a.data += entry * batch.a + top * p.a.row;
      p.b.data += entry * batch.b + left * p.b.column;
      p.c += entry * batch.c + top * p.c_row + left;
      kernel.multiply(p, scratch(kernel.scratch_floats(p)));
    }
  };
  const int64_t tasks = batch.count * rows * columns;
  if (wanted == 1)
    run(0, tasks);
  else
    at::parallel_for(0, tasks, 1, run);
}

// --- the ways ---

/// ATen's own call of oneDNN for matrices; null in releases that lack it and on CPUs it refuses.
using OneDnn = void (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, float, float);
OneDnn onednn() {
  static const OneDnn found = [] {
    const auto call = reinterpret_cast<OneDnn>(
        dlsym(RTLD_DEFAULT, "_ZN2at6native13mkldnn_matmulERKNS_6TensorES3_S3_ff"));
    if (!call) return call;
    try {
      const at::Tensor one = at::ones({1, 1});
      call(one, one, at::zeros({1, 1}), 0, 1);
    } catch (const c10::Error&) {
      return static_cast<OneDnn>(nullptr);
    }
    return call;
  }();
  return found;
}

void by_aten(const Operands& x) {
  if (x.out.dim() == 3)
    at::cpu::bmm_out(x.out, x.a, x.b);
  else
    at::cpu::mm_out(x.out, x.a, x.b);
}

bool can(ProductBy by, const Operands& x) {
  switch (by) {
    case ProductBy::aten:
      return true;
    case ProductBy::onednn:
      return onednn() && at::globalContext().userEnabledMkldnn() && x.out.is_contiguous() &&
             are_plain(x);
    case ProductBy::ourjit:
      return native_matmul() && as_batch(x);
  }
  return false;
}

void compute(ProductBy by, const Operands& x) {
  if (by == ProductBy::aten) return by_aten(x);
  if (by == ProductBy::onednn) return onednn()(x.a, x.b, x.out, 0, 1);
  multiply(*as_batch(x), *native_matmul());
}

// --- the choice ---

/// Batch, m, k, n, which of a, b and c are transposed, dtype and threads.
using Form = std::array<int64_t, 9>;

Form form_of(const Operands& x, int threads) {
  const int64_t d = x.out.dim() - 2;
  const auto turned = [d](const at::Tensor& t) { return int64_t{t.stride(d + 1) != 1}; };
  return {d ? x.out.size(0) : 0,
          x.out.size(d),
          x.a.size(d + 1),
          x.out.size(d + 1),
          turned(x.a),
          turned(x.b),
          turned(x.out),
          static_cast<int64_t>(x.out.scalar_type()),
          threads};
}

/// Forms of nearly the same sizes share a choice, so that a program with many sizes measures few:
/// two leading bits are kept.
Form rounded_up(Form form) {
  for (size_t i = 0; i < 4; ++i) {
    int64_t unit = 1;
    while (form[i] > 4 * unit) unit *= 2;
    form[i] = (form[i] + unit - 1) / unit * unit;
  }
  return form;
}

std::string str(const Form& form) {
  const auto [batch, m, k, n, a, b, out, dtype, threads] = form;
  std::ostringstream s;
  if (batch) s << batch << " times ";
  s << "[" << m << ", " << k << "]" << (a ? "'" : "") << " x [" << k << ", " << n << "]"
    << (b ? "'" : "") << (out ? ", transposed" : "") << ", "
    << c10::toString(static_cast<at::ScalarType>(dtype)) << ", " << threads
    << (threads == 1 ? " thread" : " threads");
  return s.str();
}

double microseconds(ProductBy by, const Operands& x) {
  const auto start = std::chrono::steady_clock::now();
  compute(by, x);
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

/// The least times of each way, in turns. `out` holds a result of one of them afterwards.
std::vector<double> measured(const Operands& x) {
  std::vector<double> least(kWays, kNever), spent(kWays, 0);
  for (int round = 0; round < kRounds; ++round)
    for (int w = 0; w < kWays; ++w) {
      const auto by = static_cast<ProductBy>(w);
      const auto i = static_cast<size_t>(w);
      if (!can(by, x) || (round > 0 && spent[i] > kMeasuringMicroseconds)) continue;
      const double time = microseconds(by, x);
      spent[i] += time;
      least[i] = std::min(least[i], time);
    }
  return least;
}

ProductBy fastest(const std::vector<double>& times) {
  const auto least = std::min_element(times.begin(), times.end());
  if (*least > times[static_cast<size_t>(ProductBy::aten)] * kWorthwhile) return ProductBy::aten;
  return static_cast<ProductBy>(least - times.begin());
}

struct Choices {
  std::mutex mutex;
  std::map<Form, ProductTimes> by_form;
  CodeStore codes;
};

Choices& choices() {
  static Choices all;
  return all;
}

/// Times as text, a number for each way; numbers as text.
std::string to_text(const std::vector<double>& times) {
  std::ostringstream s;
  for (const double t : times) s << t << "\n";
  return s.str();
}
std::optional<std::vector<double>> from_text(const std::string& text) {
  std::vector<double> times;
  for (const char* at = text.c_str(); *at;) {
    char* end = nullptr;
    times.push_back(std::strtod(at, &end));
    if (end == at || *end != '\n') return std::nullopt;
    at = end + 1;
  }
  return times.size() == kWays ? std::optional(times) : std::nullopt;
}

/// What an earlier process has measured for such a form; nothing if its choice cannot be taken.
std::optional<std::vector<double>> stored(const CodeStore& codes, const cache::Key& key,
                                          const Operands& x) {
  const std::optional<cache::Entry> entry = codes.find(key);
  std::optional<std::vector<double>> times = entry ? from_text(entry->payload) : std::nullopt;
  return times && can(fastest(*times), x) ? times : std::nullopt;
}

/// Measures at the first call for such a form. Threads that meet there measure both; the first to
/// end decides.
ProductBy choose(const Operands& x, int threads) {
  if (at::globalContext().deterministicAlgorithms()) return ProductBy::aten;
  if (!can(ProductBy::onednn, x) && !can(ProductBy::ourjit, x)) return ProductBy::aten;
  const Form form = form_of(x, threads), shared = rounded_up(form);
  Choices& all = choices();
  CodeStore codes;
  {
    const std::lock_guard lock(all.mutex);
    if (const auto it = all.by_form.find(shared); it != all.by_form.end()) return it->second.chosen;
    codes = all.codes;
  }
  const cache::Key key = codes.key({{"product", str(shared)}});
  const std::optional<std::vector<double>> known = stored(codes, key, x);
  std::vector<double> times = known ? *known : measured(x);
  if (!known) codes.keep(key, {{"name", "product " + str(form)}}, to_text(times));
  const ProductBy chosen = fastest(times);
  const std::lock_guard lock(all.mutex);
  return all.by_form.emplace(shared, ProductTimes{str(form), chosen, std::move(times)})
      .first->second.chosen;
}

}  // namespace

const char* name(ProductBy by) {
  static constexpr const char* kNames[] = {"aten", "onednn", "ourjit"};
  return kNames[static_cast<int>(by)];
}

ProductCall::ProductCall(const std::string& by) {
  for (int w = 0; w < kWays; ++w)
    if (by == name(static_cast<ProductBy>(w))) fixed_ = static_cast<ProductBy>(w);
}

void ProductCall::run(const at::Tensor& a, const at::Tensor& b, at::Tensor& out) {
  const Operands x{a, b, out};
  if (const int threads = at::get_num_threads(); threads != threads_) {
    chosen_ = !fixed_ ? choose(x, threads) : can(*fixed_, x) ? *fixed_ : ProductBy::aten;
    threads_ = threads;
  }
  compute(chosen_, x);
}

void keep_products(const CodeStore& codes, const std::string& torch_build) {
  Choices& all = choices();
  const std::lock_guard lock(all.mutex);
  all.codes = codes;
  all.codes.common.push_back({"library", torch_build});
}

std::vector<ProductTimes> product_times() {
  Choices& all = choices();
  const std::lock_guard lock(all.mutex);
  std::vector<ProductTimes> found;
  for (const auto& [form, times] : all.by_form) found.push_back(times);
  return found;
}

}  // namespace ourjit
