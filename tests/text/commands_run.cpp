#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "base/text.h"
#include "commands.h"
#include "loop/interpret.h"
#include "loop/text.h"
#include "loop/verify.h"
#include "schedule/schedule.h"

namespace ourjit::text_tests {
namespace {

/// "s0=3 s1=4".
std::map<std::string, int64_t, std::less<>> parse_sizes(std::string_view args) {
  std::map<std::string, int64_t, std::less<>> sizes;
  Lexer in(args);
  while (!in.at_end()) {
    const std::string name = in.name("a size");
    in.expect("=");
    sizes[name] = in.integer();
  }
  return sizes;
}

/// What element i of every buffer holds at first: small numbers of both signs.
Scalar initial(DType t, int64_t i) {
  const int64_t v = i * 7 % 5;
  return is_float(t) ? Scalar::number(t, static_cast<double>(v) - 1.5) : Scalar::integer(t, v);
}

/// A kernel's sizes and the memory of its buffers.
struct Data {
  std::vector<int64_t> sizes;
  std::vector<std::vector<std::byte>> memory;

  Data(const loop::Kernel& k, std::string_view args) {
    const auto values = parse_sizes(args);
    const SymEnv env = [&](std::string_view name) -> std::optional<int64_t> {
      const auto it = values.find(name);
      if (it == values.end()) return std::nullopt;
      return it->second;
    };
    for (const std::string& s : k.sizes) sizes.push_back(Sym::symbol(s).eval(env));
    for (const loop::Buffer& b : k.buffers) {
      const int64_t n = b.size.eval(env), bytes = dtype_bytes(b.dtype);
      if (n < 0 || n > 100000) OURJIT_RAISE(UserError) << b.name << " has " << n << " elements";
      auto& data = memory.emplace_back(static_cast<size_t>(n * bytes));
      for (int64_t i = 0; i < n; ++i) store_scalar(data.data() + i * bytes, initial(b.dtype, i));
    }
  }

  loop::Status run(const loop::Kernel& k) {
    std::vector<void*> pointers;
    for (auto& data : memory) pointers.push_back(data.data());
    return loop::interpret(k, pointers, sizes);
  }

  /// The elements of buffer `b`.
  std::vector<Scalar> elements(const loop::Kernel& k, size_t b) const {
    const DType t = k.buffers[b].dtype;
    const auto bytes = static_cast<size_t>(dtype_bytes(t));
    std::vector<Scalar> out;
    for (size_t i = 0; i * bytes < memory[b].size(); ++i)
      out.push_back(load_scalar(t, memory[b].data() + i * bytes));
    return out;
  }
};

/// Differences that another order of a sum may make.
bool nearly_equal(const Scalar& a, const Scalar& b) {
  if (!is_float(a.dtype)) return a.i == b.i;
  const double x = a.f, y = b.f;
  if (x == y || (std::isnan(x) && std::isnan(y))) return true;
  const double limit = dtype_bytes(a.dtype) == 2 ? 0.02 : 1e-5;
  return std::abs(x - y) <= limit * (1 + std::max(std::abs(x), std::abs(y)));
}

}  // namespace

std::string loop_run(std::string_view args, std::string_view body) {
  const loop::Kernel k = loop::parse_kernel(body);
  Data data(k, args);
  const loop::Status status = data.run(k);
  std::ostringstream out;
  out << "status " << static_cast<int>(status) << "\n";
  for (size_t b = 0; b < k.buffers.size(); ++b) {
    if (k.buffers[b].access == loop::Access::In) continue;
    out << k.buffers[b].name << ":";
    for (const Scalar& x : data.elements(k, b)) out << " " << scalar_str(x);
    out << "\n";
  }
  return out.str();
}

std::string schedule_compare(std::string_view args, std::string_view body) {
  const loop::Kernel k = loop::parse_kernel(body);
  Data expected(k, args);
  const loop::Status status = expected.run(k);
  std::string out;
  for (const int multiprocessors : {1, 132}) {
    loop::GpuTarget target;
    target.multiprocessors = multiprocessors;
    const loop::Kernel scheduled = loop::schedule_gpu(k, target);
    loop::verify(scheduled);
    Data data(k, args);
    const loop::Status s = data.run(scheduled);
    bool same = s == status;
    for (size_t b = 0; b < k.buffers.size(); ++b) {
      const std::vector<Scalar> x = expected.elements(k, b), y = data.elements(k, b);
      same &= std::equal(x.begin(), x.end(), y.begin(), y.end(), nearly_equal);
    }
    out += same ? "same\n" : "differs:\n" + loop::print(scheduled);
  }
  return out;
}

}  // namespace ourjit::text_tests
