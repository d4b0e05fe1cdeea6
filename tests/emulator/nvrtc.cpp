// The functions of NVRTC that ourjit uses, over the host's compiler.
#include <cstring>
#include <string>

#include "backend/cuda_api.h"
#include "driver.h"
#include "unit.h"

using namespace ourjit::cuda;      // NOLINT: the API's own names
using namespace ourjit::emulator;  // NOLINT

namespace {

struct Program {
  std::string text, log, binary;
};

}  // namespace

EXPORT nvrtcResult nvrtcVersion(int* major, int* minor) {
  FAIL_IF_ASKED(nvrtcResult);
  *major = 13;
  *minor = 0;
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char*,
                                      int headers, const char* const*, const char* const*) {
  FAIL_IF_ASKED(nvrtcResult);
  if (headers != 0) return NVRTC_ERROR_INVALID_INPUT;
  *program = reinterpret_cast<nvrtcProgram>(new Program{source, "", ""});
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int, const char* const*) {
  FAIL_IF_ASKED(nvrtcResult);
  auto* p = reinterpret_cast<Program*>(program);
  p->binary = compile_unit(p->text, p->log);
  return p->binary.empty() ? NVRTC_ERROR_COMPILATION : NVRTC_SUCCESS;
}
// What a program hands out is asked for its size first; texts end with a zero. The text itself
// stands for PTX.
#define HAND_OUT(name, member, zeros)                                            \
  EXPORT nvrtcResult nvrtcGet##name##Size(nvrtcProgram program, size_t* bytes) { \
    FAIL_IF_ASKED(nvrtcResult);                                                  \
    *bytes = reinterpret_cast<Program*>(program)->member.size() + (zeros);       \
    return NVRTC_SUCCESS;                                                        \
  }                                                                              \
  EXPORT nvrtcResult nvrtcGet##name(nvrtcProgram program, char* to) {            \
    FAIL_IF_ASKED(nvrtcResult);                                                  \
    const std::string& from = reinterpret_cast<Program*>(program)->member;       \
    std::memcpy(to, from.c_str(), from.size() + (zeros));                        \
    return NVRTC_SUCCESS;                                                        \
  }
HAND_OUT(CUBIN, binary, 0)
HAND_OUT(PTX, text, 1)
HAND_OUT(ProgramLog, log, 1)
#undef HAND_OUT

EXPORT nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
  FAIL_IF_ASKED(nvrtcResult);
  delete reinterpret_cast<Program*>(*program);
  *program = nullptr;
  return NVRTC_SUCCESS;
}
EXPORT const char* nvrtcGetErrorString(nvrtcResult result) {
  return result == NVRTC_ERROR_COMPILATION ? "NVRTC_ERROR_COMPILATION" : "an error of the emulator";
}
