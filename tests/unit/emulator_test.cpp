// The emulated device catches what a GPU would not say.
#include <gtest/gtest.h>

#include "codegen/cuda_prelude.h"
#include "machine.h"
#include "unit.h"

namespace ourjit::emulator {
namespace {

/// Launches kernel `k` of `body` (its parameters are float* b0 of 64 elements and int* oj_status)
/// with `blocks` blocks of `x` by `y` threads. The text of a fault, or none.
std::string run(const std::string& body, unsigned blocks, unsigned x, unsigned y = 1,
                Counters* counters = nullptr, Owns owns = nullptr, uint64_t seed = 0) {
  const std::string text = std::string(cuda_prelude()) +
                           "extern \"C\" __global__ void __launch_bounds__(256)\n"
                           "k(float* b0, int* oj_status) {\n OJ_BUFFER(b0, 64);\n" +
                           body + "}\n";
  std::string log;
  const std::string binary = compile_unit(text, log);
  EXPECT_FALSE(binary.empty()) << log;
  const auto unit = Unit::load(binary.data());
  EXPECT_TRUE(unit);
  const Unit::Kernel kernel = unit->kernel("k");
  EXPECT_EQ(kernel.parameters, 2u);
  alignas(16) float memory[64] = {};
  int status = 0;
  Counters own;
  return launch(unit->context(), kernel.code,
                {reinterpret_cast<uintptr_t>(memory), reinterpret_cast<uintptr_t>(&status)},
                {blocks}, {x, y}, counters ? *counters : own, owns, seed);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Emulator, CountsBytesAndUnits) {
  Counters c;
  EXPECT_EQ(run("float v[4]; oj_load_vector(v, b0, threadIdx.x * 4);\n"
                "oj_store(b0, threadIdx.x * 4, v[0]);\n",
                1, 8, 1, &c),
            "");
  EXPECT_EQ(c.loaded, 8 * 16);
  EXPECT_EQ(c.in_units_of_16, 8 * 16);
  EXPECT_EQ(c.stored, 8 * 4);
}

TEST(Emulator, UnalignedVectorsAreTakenApart) {
  Counters c;
  EXPECT_EQ(run("float v[4]; oj_load_anywhere(v, b0, 1 + threadIdx.x * 4, 4);\n", 1, 8, 1, &c), "");
  EXPECT_EQ(c.loaded, 8 * 16);
  EXPECT_EQ(c.in_units_of_16, 0);
}

TEST(Emulator, FindsAccessesOutsideOfBuffers) {
  const std::string wrong = run("oj_store(b0, threadIdx.x + blockIdx.x * 32, 1.0f);\n", 3, 32);
  EXPECT_TRUE(contains(wrong, "block 2, thread (0, 0) writes outside of all buffers")) << wrong;
  EXPECT_TRUE(contains(run("oj_load((const float*)b0, -1);\n", 1, 1), "reads outside"));
}

TEST(Emulator, FindsBuffersThatAreNoMemoryOfTheDevice) {
  const std::string body = "oj_store(b0, threadIdx.x, 1.0f);\n";
  const auto owns = [](const void*, uint64_t bytes) { return bytes == 64 * sizeof(float); };
  EXPECT_EQ(run(body, 1, 8, 1, nullptr, owns), "");
  const auto owns_none = [](const void*, uint64_t) { return false; };
  EXPECT_TRUE(contains(run(body, 1, 8, 1, nullptr, owns_none),
                       "has buffer b0, which is no memory of the device"));
}

TEST(Emulator, FindsAccessesOutsideOfSharedMemory) {
  const std::string wrong =
      run("OJ_SHARED(float, l0, 8);\n oj_shared_store(l0, threadIdx.x, 1.0f);\n", 1, 9);
  EXPECT_TRUE(contains(wrong, "thread (8, 0) writes outside of all shared memory")) << wrong;
}

constexpr const char* kExchange =
    "OJ_SHARED(float, l0, 64);\n oj_shared_store(l0, threadIdx.x, (float)threadIdx.x);\n%s"
    "oj_store(b0, threadIdx.x, oj_shared_load(l0, 63 - (int)threadIdx.x));\n";

std::string exchange(const std::string& barrier) {
  std::string text = kExchange;
  return text.replace(text.find("%s"), 2, barrier);
}

TEST(Emulator, FindsMissingBarriers) {
  EXPECT_EQ(run(exchange("oj_barrier();\n"), 2, 64), "");
  EXPECT_TRUE(contains(run(exchange(""), 1, 64), "without a barrier between"));
  // A barrier of each warp does not keep two of them in order.
  EXPECT_TRUE(contains(run(exchange("oj_warp_barrier();\n"), 1, 64), "without a barrier between"));
}

TEST(Emulator, FindsDivergentBarriers) {
  const std::string wrong = run("if (threadIdx.x < 16) oj_barrier();\n", 1, 32);
  EXPECT_TRUE(contains(wrong, "threads take different ways")) << wrong;
  EXPECT_TRUE(contains(run("if (threadIdx.x > 3) oj_shuffle(1.0f, 1);\n", 1, 32),
                       "threads take different ways"));
}

TEST(Emulator, BlocksRunInTheOrderOfASeed) {
  const std::string in_order =
      "if (oj_load((const float*)b0, 0) != blockIdx.x) oj_load(b0, -1);\n"
      "oj_store(b0, 0, blockIdx.x + 1.0f);\n";
  EXPECT_EQ(run(in_order, 20, 1), "");
  for (const uint64_t seed : {1, 2, 3})
    EXPECT_TRUE(contains(run(in_order, 20, 1, 1, nullptr, nullptr, seed), "reads outside"));
  // Each of them still runs once.
  EXPECT_EQ(run("oj_accumulate(b0, blockIdx.x, 1.0f);\n"
                "if (oj_load((const float*)b0, blockIdx.x) != 1) oj_load(b0, -1);\n",
                20, 1, 1, nullptr, nullptr, 4),
            "");
}

TEST(Emulator, TheLastBlockIsTheOneThatFindsAllOthersDone) {
  // Element b of b0: block b was there. The ticket lies at element 40.
  const std::string body =
      "unsigned* ticket = (unsigned*)(b0 + 40);\n if (threadIdx.x == 7) oj_store(b0, blockIdx.x, "
      "1.0f);\n"
      "const bool last = oj_is_last_block(ticket, 20);\n float done = 0;\n"
      "for (int b = 0; b < 20; ++b) done += oj_load((const float*)b0, b);\n"
      "if (last != (done == 20) || (last && *ticket != 0)) oj_load((const float*)b0, -1);\n";
  for (const uint64_t seed : {0, 1, 2, 3})
    EXPECT_EQ(run(body, 20, 32, 1, nullptr, nullptr, seed), "");
}

TEST(Emulator, RunsAgainAfterAFault) {
  EXPECT_NE(run("if (threadIdx.x < 16) oj_barrier();\n", 1, 32), "");
  EXPECT_EQ(run(exchange("oj_barrier();\n"), 1, 64), "");
}

TEST(Emulator, SeveralUnitsAtOnce) {
  const auto unit = [](const std::string& name) {
    std::string log;
    return Unit::load(compile_unit(std::string(cuda_prelude()) + "extern \"C\" __global__ void " +
                                       "__launch_bounds__(1)\n" + name + "(int* oj_status) {}\n",
                                   log)
                          .data());
  };
  const auto one = unit("one"), two = unit("two");
  EXPECT_EQ(one->kernel("one").name, "one");
  EXPECT_EQ(two->kernel("two").name, "two");
  EXPECT_EQ(two->kernel("one").name, "");
}

TEST(Emulator, AnyByteButZeroIsTrue) {
  // Bytes 0 to 3 of b0, viewed as bool, alone and as a vector.
  EXPECT_EQ(run("unsigned char* bytes = (unsigned char*)b0;\n bytes[0] = 0; bytes[1] = 1;\n"
                "bytes[2] = 2; bytes[3] = 255;\n bool v[4];\n"
                "oj_load_vector(v, (const bool*)b0, 0);\n"
                "const int all = v[0] + 2 * v[1] + 4 * v[2] + 8 * v[3];\n"
                "const bool alone = oj_load((const bool*)b0, 3);\n"
                "if (all != 14 || (int)alone != 1) oj_load((const float*)b0, -1);\n",
                1, 1),
            "");
}

TEST(Emulator, SinesAreWithinTwoUlpAndTangentsThree) {
  EXPECT_EQ(
      run("for (unsigned bits = threadIdx.x; bits < 0x7f800000u; bits += 32 * 997) {\n"
          "  const float x = oj_from_bits(bits);\n"
          "  const double sine = sin((double)x), cosine = cos((double)x);\n"
          "  const double tangent = sine / cosine;\n"
          "  const bool good = fabs(oj_sin(-x) + sine) <= 0x1p-22 * fabs(sine) &&\n"
          "                    fabs(oj_cos(x) - cosine) <= 0x1p-22 * fabs(cosine) &&\n"
          "                    fabs(oj_tan(x) - tangent) <= 0x3p-23 * fabs(tangent);\n"
          "  if (!good) oj_load((const float*)b0, -1);\n"
          "}\n"
          "if (oj_bits(oj_sin(-0.0f)) != 0x80000000u) oj_load((const float*)b0, -1);\n"
          "const float none = oj_sin(oj_infinity<float>()), other = oj_tan(oj_nan<float>());\n"
          "if (none == none || other == other) oj_load((const float*)b0, -1);\n",
          1, 32),
      "");
}

TEST(Emulator, QuotientsOfAllKindsOfNumbers) {
  // Pairs of bits in steps that no exponent has a period of; zeros, subnormals, the largest number,
  // infinity and NaN with each other.
  EXPECT_EQ(
      run("const unsigned rare[] = {0, 1, 0x7fffff, 0x800000, 0x3f7fffff, 0x3f800000, 0x7f7fffff,\n"
          "                         0x7f800000, 0x7fc00000, 0x80000000, 0xff800000, 0x9f800001};\n"
          "for (unsigned i = threadIdx.x; i < 2000000; i += 32) {\n"
          "  const bool both_rare = i < 144;\n"
          "  const float a = oj_from_bits(both_rare ? rare[i / 12] : i * 2654435761u);\n"
          "  const float b = oj_from_bits(both_rare ? rare[i % 12] : i * 2246822519u + i / 7);\n"
          "  const float q = oj_div(a, b), right = a / b;\n"
          "  const unsigned limit = fabsf(a) < 0x1p-120f ? 3 : 1;\n"
          "  const unsigned off = oj_bits(q) - oj_bits(right) + limit;\n"
          "  const bool good = right != right ? q != q : off <= 2 * limit;\n"
          "  if (!good) oj_load((const float*)b0, -1);\n"
          "}\n"
          "for (int n = 1 + threadIdx.x; n < 100000; n += 32)\n"
          "  if (oj_div((float)(n * 7), (float)n) != 7.0f) oj_load((const float*)b0, -1);\n",
          1, 32),
      "");
}

TEST(Emulator, SigmoidsAreWithinTwoUlp) {
  EXPECT_EQ(
      run("for (unsigned bits = threadIdx.x; bits < 0x7f800000u; bits += 32 * 997) {\n"
          "  const float x = oj_from_bits(bits);\n"
          "  const double right = 1 / (1 + exp(-(double)x)), other = 1 / (1 + exp((double)x));\n"
          "  const bool good = fabs(oj_sigmoid(x) - right) <= 0x1p-22 * right &&\n"
          "                    fabs(oj_sigmoid(-x) - other) <= 0x1p-22 * other + 0x1p-148;\n"
          "  if (!good) oj_load((const float*)b0, -1);\n"
          "}\n"
          "if (oj_sigmoid(-oj_infinity<float>()) != 0) oj_load((const float*)b0, -1);\n"
          "if (oj_sigmoid(oj_infinity<float>()) != 1) oj_load((const float*)b0, -1);\n",
          1, 32),
      "");
}

TEST(Emulator, AccumulatingWraps) {
  EXPECT_EQ(run("signed char* c = (signed char*)b0;\n c[0] = 127;\n"
                "oj_accumulate(c, 0, (signed char)1);\n"
                "if (c[0] != -128) oj_load((const float*)b0, -1);\n",
                1, 1),
            "");
}

TEST(Emulator, GivesTheCompilersMessage) {
  std::string log;
  EXPECT_EQ(compile_unit("this is no C++", log), "");
  EXPECT_TRUE(contains(log, "error")) << log;
}

}  // namespace
}  // namespace ourjit::emulator
