#include <map>
#include <sstream>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "base/text.h"
#include "commands.h"
#include "loop/interpret.h"
#include "loop/text.h"

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

}  // namespace

std::string loop_run(std::string_view args, std::string_view body) {
  const loop::Kernel k = loop::parse_kernel(body);
  const auto values = parse_sizes(args);
  const SymEnv env = [&](std::string_view name) -> std::optional<int64_t> {
    const auto it = values.find(name);
    if (it == values.end()) return std::nullopt;
    return it->second;
  };
  std::vector<int64_t> sizes;
  for (const std::string& s : k.sizes) sizes.push_back(Sym::symbol(s).eval(env));
  std::vector<std::vector<std::byte>> memory;
  std::vector<void*> pointers;
  for (const loop::Buffer& b : k.buffers) {
    const int64_t n = b.size.eval(env), bytes = dtype_bytes(b.dtype);
    if (n < 0 || n > 10000) OURJIT_RAISE(UserError) << b.name << " has " << n << " elements";
    auto& data = memory.emplace_back(static_cast<size_t>(n * bytes));
    for (int64_t i = 0; i < n; ++i) store_scalar(data.data() + i * bytes, initial(b.dtype, i));
    pointers.push_back(data.data());
  }
  const loop::Status status = loop::interpret(k, pointers, sizes);
  std::ostringstream out;
  out << "status " << static_cast<int>(status) << "\n";
  for (size_t b = 0; b < k.buffers.size(); ++b) {
    if (k.buffers[b].access == loop::Access::In) continue;
    const DType t = k.buffers[b].dtype;
    const auto bytes = static_cast<size_t>(dtype_bytes(t));
    out << k.buffers[b].name << ":";
    for (size_t i = 0; i * bytes < memory[b].size(); ++i)
      out << " " << scalar_str(load_scalar(t, memory[b].data() + i * bytes));
    out << "\n";
  }
  return out.str();
}

}  // namespace ourjit::text_tests
