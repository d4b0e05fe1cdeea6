// Where a kernel as CUDA C++ begins and ends: parameters, memory, epilogue.
#include <algorithm>

#include "codegen/cuda_index.h"
#include "codegen/cuda_kernel.h"
#include "codegen/cuda_ops.h"
#include "loop/visit.h"

namespace ourjit::cuda {
namespace {

// Threads of a multiprocessor that registers must be left for, at 65,536 in all: kernels of few
// operators do with 64 for each; larger ones would spill.
constexpr size_t kFewOperators = 16;
constexpr int kThreadsOfSmall = 1024, kThreadsOfLarge = 512;

struct Parameter {
  std::string type, name;
};

std::vector<Parameter> list_parameters(const loop::Kernel& k) {
  std::vector<Parameter> list;
  for (const loop::Buffer& b : k.buffers)
    list.push_back(
        {std::string(b.access == loop::Access::In ? "const " : "") + c_type(b.dtype) + "*",
         b.name});
  for (const std::string& s : k.sizes) list.push_back({"oj_i64", s});
  return list;
}

}  // namespace

void KernelEmitter::parameters() {
  const std::vector<Parameter> list = list_parameters(k_);
  const std::string ticket = k_.epilogue.empty() ? "" : "unsigned* oj_ticket, ";
  const int threads = k_.threads_x * k_.threads_y;
  const int wanted = k_.provenance.size() <= kFewOperators ? kThreadsOfSmall : kThreadsOfLarge;
  const std::string head = "extern \"C\" __global__ void __launch_bounds__(" +
                           std::to_string(threads) + ", " +
                           std::to_string(std::max(1, wanted / threads)) + ")";
  if (!k_.table_rows) {
    std::string text;
    for (const auto& [type, name] : list) text += type + " " + name + ", ";
    out_.line(head);
    out_.line(k_.name + "(" + text + ticket + "int* oj_status) {");
    return;
  }
  // The layout is that of codegen/cuda_table.h.
  const std::string rows = std::to_string(k_.table_rows), row = k_.name + "_row";
  out_.line("struct " + row + " {");
  for (const auto& [type, name] : list) out_.line("  " + type + " " + name + ";");
  out_.line("};");
  out_.line(head);
  out_.line(k_.name + "(const __grid_constant__ oj_table<" + row + ", " + rows +
            "> OJ_BY_VALUE oj_rows, " + ticket + "int* oj_status) {");
  out_.indent();
  out_.line("const int oj_row = oj_find_row(oj_rows, (int)blockIdx.x);");
  out_.line("const int oj_block = (int)blockIdx.x - oj_rows.first[oj_row];");
  for (const auto& [type, name] : list)
    out_.line(type + " const " + name + " = oj_rows.row[oj_row]." + name + ";");
  out_.dedent();
}

void KernelEmitter::locals() {
  out_.line(std::string("using oj_index = ") + (fits_int(k_) ? "int;" : "oj_i64;"));
  for (const loop::Buffer& b : k_.buffers)
    out_.line("OJ_BUFFER(" + b.name + ", " + index(b.size) + ");");
  for (const loop::Local& l : k_.locals) {
    const std::string size = std::to_string(std::max<int64_t>(l.size, 1));
    if (l.space == loop::Space::Task)
      out_.line("OJ_SHARED(" + c_type(l.dtype) + ", " + l.name + ", " + size + ");");
    else
      out_.line(c_type(l.dtype) + " " + l.name + "[" + size + "];");
  }
  if (scratch_bytes_ > 0)
    out_.line("OJ_SHARED(double, oj_scratch, " + std::to_string((scratch_bytes_ + 7) / 8) + ");");
}

/// The threads of the block that ends last run it, each for rows of its own.
void KernelEmitter::epilogue() {
  if (k_.epilogue.empty()) return;
  const bool table = k_.table_rows > 0;
  const std::string blocks = table ? "oj_rows.first[oj_rows.rows]" : "(int)gridDim.x";
  const std::string thread =
      k_.threads_y == 1 ? "(int)threadIdx.x"
                        : "(int)(threadIdx.y * " + std::to_string(k_.threads_x) + " + threadIdx.x)";
  out_.line("if (oj_is_last_block(oj_ticket, " + blocks + ")) {");
  out_.indent();
  if (table) {
    out_.line("for (int oj_end = oj_rows.silent + " + thread +
              "; oj_end < oj_rows.rows; oj_end += " + std::to_string(k_.threads_x * k_.threads_y) +
              ") {");
    out_.indent();
    const loop::Touched touched(k_.epilogue);
    const auto is_size = [&](const std::string& name) {
      return std::find(k_.sizes.begin(), k_.sizes.end(), name) != k_.sizes.end();
    };
    for (const auto& [type, name] : list_parameters(k_))
      if (touched.has(name) || is_size(name))
        out_.line(type + " const " + name + " = oj_rows.row[oj_end]." + name + ";");
    for (const loop::Buffer& b : k_.buffers)
      if (touched.has(b.name)) out_.line("OJ_BUFFER(" + b.name + ", " + index(b.size) + ");");
  } else {
    out_.line("if (" + thread + " == 0) {");
    out_.indent();
  }
  in_x_ = in_y_ = true;
  block(k_.epilogue);
  in_x_ = in_y_ = false;
  for (int i = 0; i < 2; ++i) {
    out_.dedent();
    out_.line("}");
  }
}

}  // namespace ourjit::cuda
