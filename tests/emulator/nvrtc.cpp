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
EXPORT nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t* bytes) {
  FAIL_IF_ASKED(nvrtcResult);
  *bytes = reinterpret_cast<Program*>(program)->binary.size();
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* cubin) {
  FAIL_IF_ASKED(nvrtcResult);
  const std::string& b = reinterpret_cast<Program*>(program)->binary;
  std::memcpy(cubin, b.data(), b.size());
  return NVRTC_SUCCESS;
}
/// The text itself stands for PTX.
EXPORT nvrtcResult nvrtcGetPTXSize(nvrtcProgram program, size_t* bytes) {
  FAIL_IF_ASKED(nvrtcResult);
  *bytes = reinterpret_cast<Program*>(program)->text.size() + 1;
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcGetPTX(nvrtcProgram program, char* ptx) {
  FAIL_IF_ASKED(nvrtcResult);
  const std::string& t = reinterpret_cast<Program*>(program)->text;
  std::memcpy(ptx, t.c_str(), t.size() + 1);
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, size_t* bytes) {
  FAIL_IF_ASKED(nvrtcResult);
  *bytes = reinterpret_cast<Program*>(program)->log.size() + 1;
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char* log) {
  FAIL_IF_ASKED(nvrtcResult);
  const std::string& l = reinterpret_cast<Program*>(program)->log;
  std::memcpy(log, l.c_str(), l.size() + 1);
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
  FAIL_IF_ASKED(nvrtcResult);
  delete reinterpret_cast<Program*>(*program);
  *program = nullptr;
  return NVRTC_SUCCESS;
}
EXPORT const char* nvrtcGetErrorString(nvrtcResult result) {
  return result == NVRTC_ERROR_COMPILATION ? "NVRTC_ERROR_COMPILATION" : "an error of the emulator";
}
