#include "codegen/kernel_check.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>

#include "base/scalar_eval.h"
#include "loop/text.h"
#include "loop/verify.h"

namespace ourjit::testing {

const std::vector<CpuCase>& cpu_cases() {
  static const std::vector<CpuCase> cases = [] {
    std::vector<CpuCase> r;
    const int best = detect_host().target.vector_bits;
    for (const int bits : {512, 256, 128})
      if (bits <= best) r.push_back({"host" + std::to_string(bits), detect_host(bits)});
    const auto old_cpu = [&](const char* name, int bits) {
      HostCpu cpu = detect_host(bits);
      cpu.name = name;
      cpu.features = "";
      if (bits <= best) r.push_back({name, cpu});
    };
    old_cpu("x86-64-v3", 256);
    old_cpu("x86-64-v2", 128);
    return r;
  }();
  return cases;
}

CpuBackend& backend_for(const CpuCase& cpu) {
  static std::map<std::string, std::unique_ptr<CpuBackend>> backends;
  auto& b = backends[cpu.label];
  if (!b) b = make_cpu_backend(cpu.host);
  return *b;
}

Memory::Memory(DType dtype, int64_t size)
    : dtype_(dtype),
      size_(size),
      bytes_(2 * kGuard + static_cast<size_t>(size * dtype_bytes(dtype)), 0xA5) {
  std::memset(data(), 0, bytes_.size() - 2 * kGuard);
}

bool Memory::guards_intact() const {
  for (size_t i = 0; i < kGuard; ++i)
    if (bytes_[i] != 0xA5 || bytes_[bytes_.size() - 1 - i] != 0xA5) return false;
  return true;
}

double Memory::number(int64_t i) const {
  const Scalar x = load_scalar(dtype_, bytes_.data() + kGuard + i * dtype_bytes(dtype_));
  return x.is_float() ? x.f : static_cast<double>(x.i);
}

void Memory::set(int64_t i, int64_t v) {
  store_scalar(bytes_.data() + kGuard + i * dtype_bytes(dtype_), Scalar::integer(dtype_, v));
}

namespace {

double random_number(DType t, Fill fill, std::mt19937& random) {
  const auto pick = [&](const std::vector<double>& v) { return v[random() % v.size()]; };
  const auto small = static_cast<double>(static_cast<int>(random() % 33) - 16);
  if (!is_float(t) && fill != Fill::Any)
    return fill == Fill::Powers     ? pick({1, -1, 2})
           : fill == Fill::Positive ? 1 + std::fabs(small)
                                    : small;
  const double fraction = std::ldexp(static_cast<double>(random()), -32);
  switch (fill) {
    case Fill::Moderate:
      return small / 4;
    case Fill::Powers:
      return pick({1, -1, 2, 0.5});
    case Fill::Positive:
      return 4 * (1 - fraction);
    case Fill::Any:
      break;
  }
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (is_float(t)) {
    static const std::vector<double> specials = {0.0,        -0.0,         1,    -1,    kInfinity,
                                                 -kInfinity, 1e-40,        1e30, -1e30, 0x1p31,
                                                 0x1p63,     std::nan(""), 0.5,  2.5,   -0.5};
    if (random() % 4 == 0) return pick(specials);
    return (fraction - 0.5) * std::ldexp(1.0, static_cast<int>(random() % 12) - 4);
  }
  return small;
}

int64_t random_integer(DType t, std::mt19937& random) {
  const int bits = static_cast<int>(8 * dtype_bytes(t));
  switch (random() % 6) {
    case 0:
      return 0;
    case 1:
      return -1;
    case 2:
      return static_cast<int64_t>(uint64_t{1} << (bits - 1));  // the most negative
    case 3:
      return static_cast<int64_t>((uint64_t{1} << (bits - 1)) - 1);  // the greatest
    case 4:
      return static_cast<int64_t>((static_cast<uint64_t>(random()) << 32) | random());
    default:
      return static_cast<int64_t>(random() % 21) - 10;
  }
}

}  // namespace

void Memory::fill(Fill fill, std::mt19937& random) {
  for (int64_t i = 0; i < size_; ++i) {
    uint8_t* p = bytes_.data() + kGuard + i * dtype_bytes(dtype_);
    if (is_bool(dtype_)) {
      *p = random() % 2 ? static_cast<uint8_t>(1 + random() % 255) : 0;  // any nonzero byte is true
    } else if (!is_float(dtype_) && fill == Fill::Any) {
      store_scalar(p, Scalar::integer(dtype_, random_integer(dtype_, random)));
    } else {
      store_scalar(p, Scalar::number(dtype_, random_number(dtype_, fill, random)));
    }
  }
}

bool same(double got, double want, Tolerance t) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  if (got == want) return true;
  return std::fabs(got - want) <= t.absolute + t.relative * std::fabs(want);
}

loop::Status run_kernel(const LoadedKernel& code, const loop::Kernel& k,
                        const std::vector<void*>& buffers, const std::vector<int64_t>& sizes) {
  int64_t iterations = 1;
  for (const loop::Node& n : k.body)
    if (const auto* f = std::get_if<loop::For>(&n.v); f && f->kind == loop::LoopKind::Parallel)
      iterations = (f->end - f->begin).eval([&](std::string_view name) -> std::optional<int64_t> {
        for (size_t i = 0; i < k.sizes.size(); ++i)
          if (k.sizes[i] == name) return sizes[i];
        return std::nullopt;
      });
  int32_t status = 0;
  const int64_t third = (iterations + 2) / 3;
  for (int64_t begin = 0; begin < iterations; begin += third) {
    const KernelArgs args{buffers.data(), sizes.data(), begin, std::min(iterations, begin + third),
                          &status};
    code.function()(&args);
  }
  return static_cast<loop::Status>(status);
}

std::vector<Memory> random_memory(const loop::Kernel& k, const std::vector<int64_t>& sizes,
                                  Fill fill, std::mt19937& random) {
  std::vector<Memory> memory;
  for (const loop::Buffer& b : k.buffers) {
    memory.emplace_back(b.dtype, b.size.eval([&](std::string_view name) -> std::optional<int64_t> {
      for (size_t i = 0; i < k.sizes.size(); ++i)
        if (k.sizes[i] == name) return sizes[i];
      return std::nullopt;
    }));
    memory.back().fill(fill, random);
  }
  return memory;
}

void expect_same(const CpuCase& cpu, const LoadedKernel& code, const loop::Kernel& k,
                 const std::vector<Memory>& memory, const std::vector<int64_t>& sizes,
                 Tolerance t) {
  std::vector<Memory> got = memory, want = memory;
  std::vector<void*> got_pointers, want_pointers;
  for (Memory& m : got) got_pointers.push_back(m.data());
  for (Memory& m : want) want_pointers.push_back(m.data());
  const loop::Status want_status = loop::interpret(k, want_pointers, sizes);
  const loop::Status got_status = run_kernel(code, k, got_pointers, sizes);
  if (t.any_error)
    EXPECT_EQ(got_status != loop::Status::Ok, want_status != loop::Status::Ok) << cpu.label;
  else
    EXPECT_EQ(static_cast<int>(got_status), static_cast<int>(want_status)) << cpu.label;
  for (size_t b = 0; b < got.size(); ++b) {
    EXPECT_TRUE(got[b].guards_intact()) << cpu.label << ": wrote outside of " << k.buffers[b].name;
    for (int64_t i = 0; i < got[b].size(); ++i) {
      const double x = got[b].number(i), y = want[b].number(i);
      if (same(x, y, t)) continue;
      std::string size_text;
      for (const int64_t s : sizes) size_text += " " + std::to_string(s);
      ADD_FAILURE() << cpu.label << " @" << k.name << " sizes" << size_text << ": "
                    << k.buffers[b].name << "[" << i << "] is " << x << ", the interpreter says "
                    << y << "\n"
                    << loop::print(k);
      return;
    }
  }
}

void expect_kernel(std::string_view text, const std::vector<std::vector<int64_t>>& sizes, Fill fill,
                   Tolerance t) {
  for (const CpuCase& cpu : cpu_cases()) {
    const std::string lanes = std::to_string(cpu.host.target.vector_bits / 32);
    const loop::Kernel k = loop::parse_kernel(replaced(std::string(text), "W", lanes));
    loop::verify(k);
    const auto code = backend_for(cpu).compile(k);
    std::mt19937 random(7);
    for (const std::vector<int64_t>& s : sizes)
      expect_same(cpu, *code, k, random_memory(k, s, fill, random), s, t);
  }
}

}  // namespace ourjit::testing
