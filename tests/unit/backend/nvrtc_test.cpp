#include "backend/nvrtc.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "backend/nvrtc_check.h"
#include "base/error.h"

namespace ourjit {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTwice = R"(
extern "C" __global__ void twice(const float* a, float* b) {
  b[blockIdx.x] = a[blockIdx.x] * 2;
})";

constexpr const char* kBroken = R"(
extern "C" __global__ void broken() { no_such_function(); })";

std::string message_of(const Nvrtc& nvrtc, const std::string& folder) {
  try {
    nvrtc.compile(kBroken, "sm_90", "broken", folder);
  } catch (const BackendError& e) {
    return e.what();
  }
  return "compiled";
}

TEST(Nvrtc, MakesCubinsForEachArchitecture) {
  OURJIT_NEEDS_NVRTC(nvrtc);
  for (const char* architecture : {"sm_80", "sm_90", "sm_100"}) {
    const GpuCode code = nvrtc.compile(kTwice, architecture, "twice", "");
    EXPECT_FALSE(code.is_ptx) << architecture;
    EXPECT_EQ(code.image.substr(1, 3), "ELF") << architecture;
    EXPECT_NE(code.image.find("twice"), std::string::npos) << architecture;
  }
}

TEST(Nvrtc, MakesPtxForArchitecturesThatItDoesNotKnow) {
  OURJIT_NEEDS_NVRTC(nvrtc);
  const GpuCode code = nvrtc.compile(kTwice, "sm_199", "twice", "");
  EXPECT_TRUE(code.is_ptx);
  EXPECT_NE(code.image.find(".target sm_1"), std::string::npos) << code.image;
  EXPECT_EQ(nvrtc.ptx(kTwice, "sm_80", "twice", "").find("\0", 0, 1), std::string::npos);
}

TEST(Nvrtc, ErrorsCarryTheLogAndTheSavedSource) {
  OURJIT_NEEDS_NVRTC(nvrtc);
  const fs::path folder = fs::path(::testing::TempDir()) / "nvrtc_test";
  fs::remove_all(folder);
  const std::string message = message_of(nvrtc, folder.string());
  EXPECT_NE(message.find("NVRTC failed on broken for sm_90"), std::string::npos) << message;
  EXPECT_NE(message.find("\"no_such_function\" is undefined"), std::string::npos) << message;
  ASSERT_FALSE(fs::is_empty(folder));
  const fs::path file = fs::directory_iterator(folder)->path();
  EXPECT_NE(message.find(file.string()), std::string::npos) << message;
  std::ifstream in(file);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), kBroken);
}

TEST(Nvrtc, SourcesNeedNotBeSaved) {
  OURJIT_NEEDS_NVRTC(nvrtc);
  const std::string message = message_of(nvrtc, "/dev/null/folder");
  EXPECT_NE(message.find("\"no_such_function\" is undefined"), std::string::npos) << message;
  EXPECT_NE(message.find("could not be saved in /dev/null/folder"), std::string::npos) << message;
}

TEST(Nvrtc, MissingLibrariesSayWhatToInstall) {
  try {
    Nvrtc nvrtc("/no/such/libnvrtc.so");
    FAIL() << "opened";
  } catch (const BackendError& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("cannot open /no/such/libnvrtc.so"), std::string::npos) << message;
    EXPECT_NE(message.find("pip install nvidia-cuda-nvrtc"), std::string::npos) << message;
  }
}

TEST(Nvrtc, LibrariesWithoutItsFunctionsAreRefused) {
  try {
    Nvrtc nvrtc("libm.so.6");
    FAIL() << "opened";
  } catch (const BackendError& e) {
    EXPECT_NE(std::string(e.what()).find("has no function nvrtcVersion"), std::string::npos);
  }
}

}  // namespace
}  // namespace ourjit
