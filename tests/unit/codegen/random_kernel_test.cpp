// Random kernels of one to three stages a row: every dtype, index form, mask, loop kind and
// reduction in combination. All their operations are exact, so that results must be equal.
#include <gtest/gtest.h>

#include <map>

#include "codegen/kernel_check.h"
#include "codegen/math.h"
#include "loop/text.h"
#include "loop/verify.h"
#include "schedule/schedule.h"

namespace ourjit::testing {
namespace {

constexpr DType kTypes[] = {DType::boolean, DType::u8,  DType::i8,   DType::i16, DType::i32,
                            DType::i64,     DType::f16, DType::bf16, DType::f32, DType::f64};

class KernelWriter {
 public:
  /// Without `vectors`, all loops in rows are serial.
  KernelWriter(uint32_t seed, bool vectors) : random_(seed), vectors_(vectors) {}

  std::string write() {
    columns_ = pick<std::string>({"5", "16", "37", "64", "n"});
    const int stages = 1 + below(3);
    for (int s = 0; s < stages; ++s) stage(s);
    std::string header;
    for (const std::string& b : buffers_) header += b + ", ";
    std::string locals;
    if (uses_local_) locals = "  local l: f32[64]\n";
    return "kernel @random(" + header + "n: index) {\n" + locals + "  parallel r in 0..6 {\n" +
           body_ + "  }\n}\n";
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  template <class T>
  T pick(const std::vector<T>& v) {
    return v[static_cast<size_t>(below(static_cast<int>(v.size())))];
  }
  static std::string name(DType t) { return std::string(dtype_name(t)); }

  /// Values of one dtype that the current statement may use.
  std::vector<int>& values(DType t) { return values_[t]; }

  void line(const std::string& text) { body_ += "      " + text + "\n"; }
  int define(DType t, const std::string& text) {
    const int id = next_++;
    line("%" + std::to_string(id) + ": " + name(t) + " = " + text);
    values(t).push_back(id);
    return id;
  }
  std::string value(DType t) {
    if (values(t).empty() || below(8) == 0) {
      const std::string number = is_bool(t) ? pick<std::string>({"true", "false"})
                                 : is_float(t)
                                     ? pick<std::string>({"0.0", "1.5", "-2.0", "inf", "nan"})
                                     : std::to_string(below(9));
      if (t != DType::f16 && t != DType::bf16)
        define(t, "const " + number);
      else
        define(t, "cast " + value(DType::f32));
    }
    return "%" + std::to_string(pick(values(t)));
  }
  std::string buffer(const char* access, DType t, const std::string& size) {
    const std::string b = "b" + std::to_string(buffers_.size());
    buffers_.push_back(b + ": " + access + " " + name(t) + "[" + size + "]");
    return b;
  }
  std::string mask() { return below(4) ? "" : " mask " + value(DType::boolean); }

  void load() {
    const DType t = kTypes[below(std::size(kTypes))];
    const std::string& c = columns_;
    // The buffer's size and an index within it.
    const auto [size, index] = pick<std::pair<std::string, std::string>>({
        {"6*" + c, "r*" + c + " + VAR"},
        {"6*" + c, "VAR*6 + r"},
        {c, "VAR"},
        {"6", "r"},
        {c, c + " - 1 - VAR"},
        {"3*" + c, "3*VAR + 1"},
        {"6*" + c, "r*" + c + " + floordiv(VAR, 3)"},
        {c + " + 6", "mod(VAR, 5) + r"},
        {c + " + 3", "max(VAR, 3) - 1"},
    });
    define(t, "load " + buffer("in", t, size) + "[" + replaced(index, "VAR", var_) + "]" + mask());
  }

  void gather() {
    const std::string idx = buffer("in", DType::i64, columns_);
    const int raw = define(DType::i64, "load " + idx + "[" + var_ + "]");
    const std::string m = mask();
    // The masked-off lanes read element 0.
    const std::string t = "t" + std::to_string(next_);
    line("bind " + t + " = %" + std::to_string(raw) + " in 0..9" + (below(2) ? " wrap" : "") + m);
    const DType dtype = kTypes[below(std::size(kTypes))];
    define(dtype, "load " + buffer("in", dtype, "2*8 + 6 + 1") + "[2*" + t + " + r]" + mask());
  }

  void compute() {
    const auto op = static_cast<ScalarOp>(below(num_scalar_ops()));
    const ScalarOpInfo& info = scalar_op_info(op);
    const DType t = kTypes[below(std::size(kTypes))];
    if (info.result == ScalarResult::Cast) {
      if (op == ScalarOp::cast) define(t, "cast " + value(kTypes[below(std::size(kTypes))]));
      return;
    }
    const bool half = t == DType::f16 || t == DType::bf16;
    const bool inexact = math_row(op).form == LlvmForm::Bitcode || op == ScalarOp::pow;
    // The sign of a NaN that an operation makes is not defined.
    const bool reads_sign = op == ScalarOp::signbit || op == ScalarOp::copysign;
    if (half || !accepts(op, t) || ((inexact || reads_sign) && is_float(t))) return;
    std::string text(info.name);
    const int first = op == ScalarOp::where ? 1 : 0;
    if (first) text += " " + value(DType::boolean);
    for (int i = first; i < info.arity; ++i) text += (i ? ", " : " ") + value(t);
    define(info.result == ScalarResult::Bool ? DType::boolean : t, text);
  }

  void store() {
    const DType t = kTypes[below(std::size(kTypes))];
    const std::string v = value(t);
    const auto [size, index] = pick<std::pair<std::string, std::string>>({
        {"6*" + columns_, "r*" + columns_ + " + VAR"},
        {"6*" + columns_, "VAR*6 + r"},
        {"12*" + columns_, "2*VAR*6 + r"},
        {"6*" + columns_, "r*" + columns_ + " + " + columns_ + " - 1 - VAR"},
    });
    const bool add = !is_bool(t) && t != DType::f16 && t != DType::bf16 && below(4) == 0;
    const std::string b = buffer(add ? "inout" : "out", t, size);
    line(std::string("store ") + (add ? "accumulate " : "") + b + "[" +
         replaced(index, "VAR", var_) + "], " + v + mask());
  }

  /// One loop over the row; its reductions are visible to later stages.
  void stage(int s) {
    const std::map<DType, std::vector<int>> outside = values_;
    var_ = "c" + std::to_string(s);
    const std::string before = std::move(body_);
    body_.clear();
    for (int i = 0; i < 3; ++i) load();
    if (below(3) == 0) gather();
    if (below(3) == 0) define(DType::i64, "index " + var_ + "*3 - r");
    for (int i = 0; i < 12; ++i) compute();
    for (int i = 0; i < 2; ++i) store();
    if (columns_ != "n" && below(3) == 0) {
      line("store l[" + var_ + "], " + value(DType::f32));
      uses_local_ = true;
    }
    std::string results, reduces, yields;
    std::vector<std::pair<DType, int>> reduced;
    for (int i = below(3); i > 0; --i) {
      const DType t =
          pick<DType>({DType::boolean, DType::u8, DType::i32, DType::i64, DType::f32, DType::f64});
      std::vector<std::string> ops = {"max", "min", "argmax", "argmin"};
      if (is_integer(t)) ops.insert(ops.end(), {"sum", "prod"});
      const std::string op = pick(ops), v = value(t);
      const int id = next_++;
      results += (results.empty() ? "%" : ", %") + std::to_string(id);
      reduces += (reduces.empty() ? " reduce " : ", ") + op + " " + name(t);
      yields += (yields.empty() ? "yield " : ", ") + v;
      reduced.emplace_back(op.starts_with("arg") ? DType::i64 : t, id);
    }
    const std::string lanes = std::to_string(2 << below(6)), copies = std::to_string(1 + below(4));
    const std::string kind = below(5) && vectors_ ? " vector(" + lanes + ", " + copies + ")" : "";
    std::string loop = "    " + results + (results.empty() ? "" : " = ") + "for " + var_ +
                       " in 0.." + columns_ + kind + reduces + " {\n" + body_;
    if (!yields.empty()) loop += "      " + yields + "\n";
    body_ = before + loop + "    }\n";
    values_ = outside;
    for (const auto& [t, id] : reduced) values(t).push_back(id);
  }

  std::mt19937 random_;
  std::string columns_, var_, body_;
  std::vector<std::string> buffers_;
  std::map<DType, std::vector<int>> values_;
  bool vectors_;
  int next_ = 0;
  bool uses_local_ = false;
};

class RandomKernels : public ::testing::TestWithParam<int> {};

TEST_P(RandomKernels, MatchInterpreter) {
  const auto seed = static_cast<uint32_t>(GetParam());
  const std::string text = KernelWriter(seed, true).write();
  SCOPED_TRACE(text);
  const loop::Kernel k = loop::parse_kernel(text);
  loop::verify(k);
  const CpuCase& cpu = cpu_cases()[seed % cpu_cases().size()];
  const auto code = backend_for(cpu).compile(k);
  std::mt19937 random(seed);
  for (const int64_t n : {1, 7, 40}) {
    const Fill fill = seed % 2 ? Fill::Any : Fill::Moderate;
    expect_same(cpu, *code, k, random_memory(k, {n}, fill, random), {n});
  }
}

// What the scheduler makes of serial kernels computes what they say.
TEST_P(RandomKernels, MatchInterpreterWhenScheduled) {
  const auto seed = static_cast<uint32_t>(GetParam());
  const std::string text = KernelWriter(seed, false).write();
  SCOPED_TRACE(text);
  const loop::Kernel k = loop::parse_kernel(text);
  loop::verify(k);
  const CpuCase& cpu = cpu_cases()[seed % cpu_cases().size()];
  const loop::Kernel scheduled = loop::schedule_cpu(k, cpu.host.target);
  loop::verify(scheduled);
  SCOPED_TRACE(loop::print(scheduled));
  const auto code = backend_for(cpu).compile(scheduled);
  std::mt19937 random(seed);
  for (const int64_t n : {1, 7, 40}) {
    const Fill fill = seed % 2 ? Fill::Any : Fill::Moderate;
    // Where there are several errors, another one may come first.
    expect_same(cpu, *code, k, random_memory(k, {n}, fill, random), {n}, {.any_error = true});
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomKernels, ::testing::Range(0, 100));

}  // namespace
}  // namespace ourjit::testing
