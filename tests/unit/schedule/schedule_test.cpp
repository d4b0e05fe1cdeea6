#include "schedule/schedule.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/scalar_eval.h"
#include "loop/interpret.h"
#include "loop/text.h"
#include "loop/verify.h"
#include "loop/visit.h"

namespace ourjit::loop {
namespace {

using Rng = std::mt19937;

int64_t pick(Rng& rng, std::initializer_list<int64_t> xs) {
  return *(xs.begin() + std::uniform_int_distribution<size_t>(0, xs.size() - 1)(rng));
}

/// Memory for every buffer of a kernel. Floats hold small integers, so that sums are exact in any
/// order.
struct Memory {
  std::vector<std::vector<std::byte>> data;

  Memory(const Kernel& k, const std::vector<int64_t>& sizes, Rng rng) {
    for (const Buffer& b : k.buffers) {
      const int64_t n = b.size.eval([&](std::string_view name) -> std::optional<int64_t> {
        for (size_t i = 0; i < k.sizes.size(); ++i)
          if (k.sizes[i] == name) return sizes[i];
        return std::nullopt;
      });
      data.emplace_back(static_cast<size_t>(n * dtype_bytes(b.dtype)));
      for (int64_t i = 0; i < n; ++i)
        store_scalar(data.back().data() + i * dtype_bytes(b.dtype),
                     Scalar::integer(b.dtype, pick(rng, {0, 1, 2, 3})));
    }
  }

  std::vector<void*> pointers() {
    std::vector<void*> out;
    for (auto& d : data) out.push_back(d.data());
    return out;
  }
};

Kernel schedule(const Kernel& k, int vector_bits = 512) {
  Target target;
  target.vector_bits = vector_bits;
  Kernel s = schedule_cpu(k, target);
  verify(s);
  return s;
}

Kernel schedule_for_gpu(const Kernel& k, int multiprocessors) {
  GpuTarget target;
  target.multiprocessors = multiprocessors;
  Kernel s = schedule_gpu(k, target);
  verify(s);
  return s;
}

/// The kernel computes the same before and after, at every width and for small and large GPUs
/// (whose blocks take more or fewer rows).
void expect_same(const std::string& text, const std::vector<int64_t>& sizes = {}) {
  SCOPED_TRACE(text);
  const Kernel k = parse_kernel(text);
  Memory before(k, sizes, Rng(7));
  const Status status = interpret(k, before.pointers(), sizes);
  std::vector<Kernel> scheduled;
  for (const int bits : {512, 256, 128}) scheduled.push_back(schedule(k, bits));
  for (const int multiprocessors : {1, 132})
    scheduled.push_back(schedule_for_gpu(k, multiprocessors));
  for (const Kernel& s : scheduled) {
    Memory after(s, sizes, Rng(7));
    SCOPED_TRACE(print(s));
    ASSERT_NO_THROW(EXPECT_EQ(interpret(s, after.pointers(), sizes), status));
    for (size_t i = 0; i < k.buffers.size(); ++i)
      EXPECT_EQ(before.data[i], after.data[i]) << k.buffers[i].name;
  }
}

int vector_loops(const std::string& text) {
  int n = 0;
  const Kernel k = schedule(parse_kernel(text));
  for_each_node(k.body, [&](const Node& node) {
    const For* f = std::get_if<For>(&node.v);
    n += f && f->kind == LoopKind::Vector;
  });
  return n;
}

std::string str(int64_t x) { return std::to_string(x); }

TEST(Schedule, PointwiseNestsOfAnyStrides) {
  Rng rng(1);
  for (int round = 0; round < 40; ++round) {
    const int64_t n[3] = {pick(rng, {1, 2, 5}), pick(rng, {1, 3, 16, 33}),
                          pick(rng, {1, 4, 17, 64})};
    const auto index = [&] {
      // Any order of the dims in memory, some of them broadcast.
      int order[3] = {0, 1, 2};
      std::shuffle(order, order + 3, rng);
      std::string s;
      int64_t stride = 1;
      for (const int d : order) {
        if (pick(rng, {0, 0, 0, 1})) continue;
        s += "i" + str(d) + "*" + str(stride) + " + ";
        stride *= n[d];
      }
      return s + "0";
    };
    const int64_t total = n[0] * n[1] * n[2];
    const std::string size = str(total);
    expect_same("kernel @k(b0: in f32[" + size + "], b1: in f32[" + size + "], b2: out f32[" +
                size + "]) {\n parallel i0 in 0.." + str(n[0]) + " {\n for i1 in 0.." + str(n[1]) +
                " {\n for i2 in 0.." + str(n[2]) + " {\n %0: f32 = load b0[" + index() +
                "]\n %1: f32 = load b1[" + index() + "]\n %2: f32 = add %0, %1\n store b2[i0*" +
                str(n[1] * n[2]) +
                (pick(rng, {0, 1}) ? " + i1*" + str(n[2]) + " + i2" : " + i1 + i2*" + str(n[1])) +
                "], %2\n }\n }\n }\n}\n");
  }
}

TEST(Schedule, RowProgramsWithLocals) {
  for (const int64_t c : {1, 3, 16, 40, 128})
    for (const int64_t rows : {0, 1, 5})
      expect_same(
          "kernel @k(b0: in f32[s0*" + str(c) + "], b1: out f32[s0*" + str(c) +
              "], b2: out i64[s0], s0: index) {\n local l0: f32[" + str(c) +
              "]\n parallel r in 0..s0 {\n %0, %1 = for c in 0.." + str(c) +
              " reduce max f32, argmax f32 {\n %2: f32 = load b0[r*" + str(c) +
              " + c]\n yield %2, %2\n }\n store b2[r], %1\n %3 = for d in 0.." + str(c) +
              " reduce sum f32 {\n %4: f32 = load b0[r*" + str(c) +
              " + d]\n %5: f32 = sub %4, %0\n store l0[d], %5\n yield %5\n }\n for e in 0.." +
              str(c) + " {\n %6: f32 = load l0[e]\n %7: f32 = mul %6, %3\n store b1[r*" + str(c) +
              " + e], %7\n }\n }\n}\n",
          {rows});
}

TEST(Schedule, ReductionsThroughTwoLoops) {
  for (const int64_t n : {1, 3, 20})
    for (const int64_t m : {1, 9, 49})
      expect_same("kernel @k(b0: in f32[" + str(4 * n * m) +
                  "], b1: out f32[4]) {\n parallel c in 0..4 {" + "\n %0 = for n in 0.." + str(n) +
                  " reduce sum f32 {\n %1 = for h in 0.." + str(m) +
                  " reduce sum f32 {\n %2: f32 = load b0[n*" + str(4 * m) + " + c*" + str(m) +
                  " + h]\n yield %2\n }\n yield %1\n }\n store b1[c], %0\n }\n}\n");
}

TEST(Schedule, ColumnSumsInBlocksOfRows) {
  for (const int64_t rows : {1, 31, 32, 70})
    expect_same(R"(kernel @k(b0: in f32[s0*20], b1: out f32[20*floordiv(s0 + 31, 32)], s0: index) {
  parallel p in 0..floordiv(s0 + 31, 32) {
    %0: f32 = const 0.0
    for z in 0..20 {
      store b1[p*20 + z], %0
    }
    for r in p*32..min(s0, p*32 + 32) {
      for c in 0..20 {
        %1: f32 = load b0[r*20 + c]
        %2: f32 = load b1[p*20 + c]
        %3: f32 = add %1, %2
        store b1[p*20 + c], %3
      }
    }
  }
})",
                {rows});
}

/// The kept dim is contiguous, rows lie across it, and a row's values are kept in a local.
std::string across(int64_t rows, int64_t columns) {
  const std::string k = str(columns), n = str(rows * columns);
  return "kernel @k(b0: in f32[" + n + "], b1: out f32[" + n + "]) {\n local l0: f32[" + str(rows) +
         "]\n parallel p in 0.." + str((columns + 63) / 64) + " {\n for q in p*64..min(" + k +
         ", p*64 + 64) {\n %0 = for c in 0.." + str(rows) +
         " reduce sum f32 {\n %1: f32 = load b0[c*" + k +
         " + q]\n store l0[c], %1\n yield %1\n }\n for d in 0.." + str(rows) +
         " {\n %2: f32 = load l0[d]\n %3: f32 = sub %2, %0\n store b1[d*" + k +
         " + q], %3\n }\n }\n }\n}\n";
}

TEST(Schedule, ReductionsAcrossContiguousColumns) {
  for (const int64_t rows : {1, 2, 7, 30})
    for (const int64_t columns : {1, 15, 16, 64, 100, 129}) expect_same(across(rows, columns));
  // Lanes are columns, and each has its own copy of the local.
  EXPECT_EQ(vector_loops(across(7, 100)), 1);
  EXPECT_EQ(schedule(parse_kernel(across(7, 100))).locals[0].size, 7 * 16);
}

/// Rows of two or three elements: the rows are lanes.
std::string short_rows(const std::string& rows, int64_t columns, bool keep) {
  const std::string c = str(columns), n = rows + "*" + c;
  std::string text = "kernel @k(b0: in f32[" + n + "], b1: out f32[" + n + "], b2: out f32[" +
                     rows + "], s0: index) {\n local l0: f32[" + c + "]\n parallel p in 0.." +
                     rows + " {\n %0 = for c in 0.." + c +
                     " reduce sum f32 {\n %1: f32 = load b0[p*" + c + " + c]\n" +
                     (keep ? " store l0[c], %1\n" : "") + " yield %1\n }\n store b2[p], %0\n";
  if (keep)
    text += " for d in 0.." + c + " {\n %2: f32 = load l0[d]\n %3: f32 = lgamma %2\n store b1[p*" +
            c + " + d], %3\n }\n";
  return text + " }\n}\n";
}

TEST(Schedule, ShortRowsAreLanes) {
  for (const bool keep : {false, true}) {
    for (const int64_t columns : {2, 3})
      for (const int64_t rows : {0, 1, 16, 17, 100, 300})
        expect_same(short_rows("s0", columns, keep), {rows});
    const Kernel k = schedule(parse_kernel(short_rows("s0", 2, keep)));
    EXPECT_EQ(vector_loops(short_rows("s0", 2, keep)), 1) << print(k);
    EXPECT_NE(parallel_extent(k, size_symbols(k)), Sym::symbol("s0"));
    EXPECT_TRUE(parallel_extent(k, {Sym::symbol("n")}).mentions("n"));
  }
}

TEST(Schedule, Transposes) {
  for (const int64_t n : {3, 16, 40, 130})
    for (const int64_t m : {5, 16, 33})
      for (const bool store_across : {false, true}) {
        const std::string total = str(2 * n * m);
        const std::string along = "p*" + str(n * m) + " + i*" + str(m) + " + j",
                          over = "p*" + str(n * m) + " + i + j*" + str(n);
        expect_same("kernel @k(b0: in f32[" + total + "], b1: out f32[" + total +
                    "], b2: in f32[130]) {\n parallel p in 0..2 {\n for i in 0.." + str(n) +
                    " {\n %2: f32 = load b2[i]\n for j in 0.." + str(m) +
                    " {\n %0: f32 = load b0[" + (store_across ? along : over) +
                    "]\n %1: f32 = add %0, %2\n store b1[" + (store_across ? over : along) +
                    "], %1\n }\n }\n }\n}\n");
      }
}

TEST(Schedule, SymbolicShapes) {
  const std::string transpose =
      R"(kernel @t(b0: in f32[s0*s1*3], b1: out f32[s0*s1*3], s0: index, s1: index) {
  parallel p in 0..3 {
    for a in 0..s0 {
      for b in 0..s1 {
        %0: f32 = load b0[p*s0*s1 + b*s0 + a]
        store b1[p*s0*s1 + a*s1 + b], %0
      }
    }
  }
})";
  const std::string columns =
      R"(kernel @c(b0: in f32[s0*s1], b1: out f32[s0*s1], s0: index, s1: index) {
  parallel p in 0..floordiv(s1 + 63, 64) {
    for q in p*64..min(s1, p*64 + 64) {
      %0 = for c in 0..s0 reduce sum f32 {
        %1: f32 = load b0[c*s1 + q]
        yield %1
      }
      for d in 0..s0 {
        %2: f32 = load b0[d*s1 + q]
        %3: f32 = mul %2, %0
        store b1[d*s1 + q], %3
      }
    }
  }
})";
  for (const std::string& text : {transpose, columns}) {
    for (const int64_t n : {0, 1, 5, 16, 33})
      for (const int64_t m : {1, 7, 32, 70}) expect_same(text, {n, m});
    EXPECT_EQ(vector_loops(text), 1);
  }
  EXPECT_NE(print(schedule(parse_kernel(transpose))).find("b_b"), std::string::npos);
}

TEST(Schedule, GathersAndScatters) {
  for (const int64_t d : {1, 5, 16, 48})
    for (const int64_t rows : {0, 3, 20})
      expect_same(
          "kernel @k(b0: in i64[s0], b1: in f32[" + str(4 * d) + "], b2: out f32[s0*" + str(d) +
              "], b3: inout f32[" + str(4 * d) +
              "], s0: index) {\n for t in 0..s0 {\n %0: i64 = load b0[t]\n bind i = %0 in 0..4 "
              "wrap\n for c in 0.." +
              str(d) + " {\n %1: f32 = load b1[i*" + str(d) + " + c]\n store b2[t*" + str(d) +
              " + c], %1\n store accumulate b3[i*" + str(d) + " + c], %1\n }\n }\n}\n",
          {rows});
  // Bad indices are reported as before.
  expect_same(R"(kernel @k(b0: in i64[8], b1: in f32[2], b2: out f32[8]) {
  for t in 0..8 {
    %0: i64 = load b0[t]
    bind i = %0 in 0..2
    %1: f32 = load b1[i]
    store b2[t], %1
  }
})");
}

TEST(Schedule, DividedVariables) {
  for (const int64_t part : {4, 16, 49}) {
    const std::string n = str(6 * part), m = str(part);
    expect_same("kernel @k(b0: in f32[" + n + "], b1: in f32[6], b2: out f32[" + n +
                "]) {\n for c in 0.." + n +
                " {\n %0: f32 = load b0[c]\n %1: f32 = load b1[floordiv(c, " + m +
                ")]\n %2: f32 = add %0, %1\n store b2[mod(c, " + m + ")*6 + floordiv(c, " + m +
                ")], %2\n }\n}\n");
  }
}

/// Concat of two inputs along the inner dim at column `cut`, as selects; stored along or across
/// rows.
std::string concat(int64_t cut, int64_t columns, bool across, bool le) {
  const int64_t rows = 20, rest = columns - cut;
  const auto n = [](int64_t x) { return str(std::max<int64_t>(x, 1)); };
  const std::string total = str(rows * columns);
  const std::string compare = le ? "le" : "lt";
  return "kernel @k(b0: in f32[" + n(rows * cut) + "], b1: in f32[" + n(rows * rest) +
         "], b2: out f32[" + total + "]) {\n %0: i64 = const " + str(le ? cut - 1 : cut) +
         "\n for t in 0.." + str(rows) + " {\n for c in 0.." + str(columns) +
         " {\n %1: i64 = index c\n %2: bool = " + compare +
         " %1, %0\n %3: bool = bitwise_not %2\n %4: f32 = load b0[t*" + str(cut) +
         " + c] mask %2\n %5: f32 = load b1[t*" + str(rest) + " + c - " + str(cut) +
         "] mask %3\n %6: f32 = where %2, %4, %5\n store b2[" +
         (across ? "c*" + str(rows) + " + t" : "t*" + str(columns) + " + c") + "], %6\n }\n }\n}\n";
}

TEST(Schedule, ConcatsBecomePieces) {
  for (const bool across : {false, true})
    for (const bool le : {false, true})
      for (const int64_t columns : {9, 16, 33, 64})
        for (const int64_t cut : {0, 1, 8, 9, 16, 40})
          if (cut <= columns) expect_same(concat(cut, columns, across, le));
  const std::string text = print(schedule(parse_kernel(concat(16, 64, false, false))));
  for (const char* gone : {"where", "mask", "lt"})
    EXPECT_EQ(text.find(gone), std::string::npos) << text;
}

TEST(Schedule, MaskedBindsKeepTheirErrors) {
  // Positions beyond 16 index out of range, but only where the mask holds.
  for (const std::string bound : {"16", "32"})
    expect_same(R"(kernel @k(b0: in i64[64], b1: in f32[16], b2: out f32[64]) {
  %0: i64 = const )" +
                bound + R"(
  for c in 0..64 {
    %1: i64 = index c
    %2: bool = lt %1, %0
    bind i = %1 in 0..16 mask %2
    %3: f32 = load b1[i] mask %2
    store b2[c], %3
  }
})");
}

TEST(Schedule, DependentIterationsAreNoLanes) {
  const auto body = [](const std::string& statements) {
    return "kernel @k(b0: inout f32[200], b1: in i64[64]) {\n for c in 0..64 {\n" + statements +
           "\n }\n}\n";
  };
  for (const char* statements :
       {"%0: f32 = load b0[c]\n store b0[c + 1], %0",           // carried from lane to lane
        "%0: f32 = load b0[c + 1]\n store b0[c], %0",           // reads what a later one writes
        "%0: f32 = load b0[c]\n store b0[floordiv(c, 2)], %0",  // two lanes, one place
        "%0: f32 = load b0[c]\n store accumulate b0[100], %0",  // all lanes, one place
        "%0: i64 = load b1[c]\n bind i = %0 in 0..8\n %1: f32 = load b0[c + 64]\n"
        " store accumulate b0[i], %1"}) {  // lanes may collide
    EXPECT_EQ(vector_loops(body(statements)), 0) << statements;
    expect_same(body(statements));
  }
  EXPECT_EQ(vector_loops(body("%0: f32 = load b0[c]\n store b0[c], %0")), 1);
  EXPECT_EQ(
      vector_loops(body("%0: f32 = load b0[c + 64]\n store b0[c], %0\n store b0[c + 128], %0")), 1);
  EXPECT_EQ(vector_loops(body("%0: f32 = load b0[c]\n store accumulate b0[c], %0")), 1);
}

/// Loops over few memories with indices of all kinds: whatever depends on what, the result stays.
TEST(Schedule, RandomNests) {
  for (int seed = 0; seed < 200; ++seed) {
    Rng rng(static_cast<uint32_t>(seed));
    const int depth = static_cast<int>(pick(rng, {1, 2, 3}));
    std::vector<int64_t> n;
    for (int d = 0; d < depth; ++d) n.push_back(pick(rng, {1, 3, 16, 17, 24}));
    int next = 0;
    const auto index = [&](int loops, int64_t limit) {
      std::string s = "mod(" + str(pick(rng, {0, 0, 1, 16}));
      for (int d = 0; d < loops; ++d) {
        const std::string v = "i" + str(d);
        switch (pick(rng, {0, 1, 1, 2, 3, 4})) {
          case 0:
            break;
          case 1:
            s += " + " + v + (d + 1 < depth ? "*" + str(n.back()) : "");
            break;
          case 2:
            s += " + " + v;
            break;
          case 3:
            s += " + floordiv(" + v + ", 8)";
            break;
          case 4:
            s += " + mod(" + v + ", 8)*3";
            break;
        }
      }
      // Without wrapping where the index surely fits.
      return pick(rng, {0, 3}) ? s.substr(4) : s + ", " + str(limit) + ")";
    };
    std::string text =
        "kernel @k(b0: inout f32[2000], b1: inout f32[2000], b2: in f32[2000]) {\n"
        " local l0: f32[2000]\n for z in 0..2000 {\n %0: f32 = load b2[z]\n"
        " store l0[z], %0\n }\n";
    next = 1;
    const std::function<void(int)> statements = [&](int loops) {
      const int64_t count = pick(rng, {1, 2});
      for (int64_t i = 0; i < count; ++i) {
        const std::string v = "%" + str(next++), memory = str(pick(rng, {0, 1}));
        text += v + ": f32 = load " + (pick(rng, {0, 1}) ? "b" + memory : std::string("b2")) + "[" +
                index(loops, 2000) + "]\n";
        if (pick(rng, {0, 1, 1}))
          text += std::string("store ") + (pick(rng, {0, 0, 1}) ? "accumulate " : "") +
                  (pick(rng, {0, 0, 1}) ? std::string("l0") : "b" + memory) + "[" +
                  index(loops, 2000) + "], " + v + "\n";
      }
    };
    const std::function<void(int)> nest = [&](int d) {
      text += "for i" + str(d) + " in 0.." + str(n[static_cast<size_t>(d)]) + " {\n";
      if (pick(rng, {0, 0, 1})) statements(d + 1);
      if (d + 1 < depth) nest(d + 1);
      if (d + 1 == depth || pick(rng, {0, 0, 1})) statements(d + 1);
      text += "}\n";
    };
    nest(0);
    text += "for y in 0..2000 {\n %" + str(next) + ": f32 = load l0[y]\n store b1[y], %" +
            str(next) + "\n }\n}\n";
    expect_same(text);
    if (HasFailure()) {
      ADD_FAILURE() << "seed " << seed;
      return;
    }
  }
}

TEST(Schedule, LongReductionsGetSeveralAccumulators) {
  const auto unroll = [](const std::string& extent, const std::string& op) {
    const Kernel k = schedule(
        parse_kernel("kernel @k(b0: in f32[100000], b1: out f32[1]) {\n %0 = for c in 0.." +
                     extent + " reduce sum f32 {\n %1: f32 = load b0[c]\n %2: f32 = " + op +
                     "\n yield %2\n }\n store b1[0], %0\n}\n"));
    return std::get<For>(k.body[0].v).unroll;
  };
  EXPECT_EQ(unroll("4096", "neg %1"), 4);
  EXPECT_EQ(unroll("32", "neg %1"), 2);
  EXPECT_EQ(unroll("16", "neg %1"), 1);
  EXPECT_EQ(unroll("4096", "pow %1, %1"), 1);  // the latency hides behind pow
}

// Functions that are chains of dependent steps are computed for several vectors at a time, but not
// where loads would be gathers, where the loop is short, or where doubles take twice the registers.
TEST(Schedule, FunctionsAreInterleaved) {
  const auto unroll = [](const std::string& dtype, const std::string& extent,
                         const std::string& index, const std::string& op) {
    const Kernel k = schedule(
        parse_kernel("kernel @k(b0: in " + dtype + "[100000], b1: out " + dtype +
                     "[100000]) {\n for c in 0.." + extent + " {\n %1: " + dtype + " = load b0[" +
                     index + "]\n %2: " + dtype + " = " + op + " %1\n store b1[c], %2\n }\n}\n"));
    return std::get<For>(k.body[0].v).unroll;
  };
  EXPECT_EQ(unroll("f32", "4096", "c", "exp"), 4);
  EXPECT_EQ(unroll("f32", "4096", "c", "neg"), 1);
  EXPECT_EQ(unroll("f32", "4096", "3*c", "exp"), 1);
  EXPECT_EQ(unroll("f32", "32", "c", "exp"), 1);
  EXPECT_EQ(unroll("f64", "4096", "c", "exp"), 1);
}

}  // namespace
}  // namespace ourjit::loop
