#include "backend/llvm_loader.h"

#include <gtest/gtest.h>

#include "backend/cpu_backend.h"
#include "base/error.h"
#include "codegen/kernel_check.h"
#include "loop/text.h"

namespace ourjit {
namespace {

std::string object_of(const char* text) {
  return std::string(make_cpu_backend(detect_host())->compile(loop::parse_kernel(text))->object());
}

// 512 KB of locals: code that calls for scratch memory.
constexpr const char* kScratch = R"(
kernel @scratch(b: out f32[1]) {
  local l: f32[131072]
  for i in 0..131072 vector(8, 1) {
    %0: f32 = const 1.0
    store l[i], %0
  }
  %1: f32 = load l[131071]
  store b[0], %1
})";

void expect_error(const std::string& object, const char* entry, const char* message) {
  try {
    load_object(object, entry);
    ADD_FAILURE() << "loaded, without '" << message << "'";
  } catch (const BackendError& e) {
    EXPECT_NE(std::string(e.what()).find(message), std::string::npos) << e.what();
  }
}

TEST(Loader, LoadsObjectsAgain) {
  const std::string object = object_of(kScratch);
  const auto code = load_object(object, "scratch");
  float b = 0;
  void* buffers[] = {&b};
  int32_t status = 0;
  const KernelArgs args{buffers, nullptr, 0, 1, &status};
  reinterpret_cast<KernelFunction>(code->entry())(&args);
  EXPECT_EQ(b, 1.0F);
}

TEST(Loader, ResolvesKnownSymbolsOnly) {
  const std::string object = object_of(kScratch);
  // getenv exists in the process, and must not be found. (The name has the length of the one
  // replaced.)
  const std::string bad = testing::replaced(object, "ourjit_scratch_free",
                                            std::string("getenv") + std::string(13, '_'));
  expect_error(bad, "scratch", "which kernels must not use");
}

TEST(Loader, NamesTheMissingEntry) {
  expect_error(object_of(kScratch), "other", "does not define other");
}

TEST(Loader, RejectsRubbish) {
  expect_error("", "scratch", "bad object");
  expect_error(std::string(1000, 'x'), "scratch", "bad object");
  const std::string object = object_of(kScratch);
  for (const size_t size : {size_t{10}, size_t{64}, object.size() / 2})
    EXPECT_THROW(load_object(object.substr(0, size), "scratch"), BackendError) << size;
}

}  // namespace
}  // namespace ourjit
