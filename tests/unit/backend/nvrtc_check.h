// NVRTC for tests: the one that OURJIT_NVRTC names, of the checkout's environment, or installed.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "backend/nvrtc.h"

namespace ourjit::testing {

/// The path to open it by; empty: by its name.
std::string nvrtc_path();
/// Null if there is none.
const Nvrtc* find_nvrtc();

}  // namespace ourjit::testing

/// Defines `name` as a const Nvrtc&, or skips the test.
#define OURJIT_NEEDS_NVRTC(name)                                                   \
  const Nvrtc* name##_found = ::ourjit::testing::find_nvrtc();                     \
  if (!name##_found) GTEST_SKIP() << "NVRTC is not installed (nvidia-cuda-nvrtc)"; \
  const Nvrtc& name = *name##_found
