// Our own declarations of the CUDA driver and of NVRTC: what is used of them, as CUDA 13 defines
// it. Both are opened at run time, so no CUDA header or library is needed to build.
//
// X(name, result, parameters); the names are those of the exported symbols.
#pragma once

#include <cstddef>

#define OURJIT_CUDA_FUNCTIONS(X)                                                                  \
  X(cuInit, CUresult, (unsigned int flags))                                                       \
  X(cuDriverGetVersion, CUresult, (int* version))                                                 \
  X(cuDeviceGetCount, CUresult, (int* count))                                                     \
  X(cuDeviceGet, CUresult, (CUdevice * device, int ordinal))                                      \
  X(cuDeviceGetAttribute, CUresult, (int* value, CUdevice_attribute attribute, CUdevice device))  \
  X(cuDeviceGetName, CUresult, (char* name, int length, CUdevice device))                         \
  X(cuDevicePrimaryCtxRetain, CUresult, (CUcontext * context, CUdevice device))                   \
  X(cuDevicePrimaryCtxRelease_v2, CUresult, (CUdevice device))                                    \
  X(cuCtxGetCurrent, CUresult, (CUcontext * context))                                             \
  X(cuCtxSetCurrent, CUresult, (CUcontext context))                                               \
  X(cuLibraryLoadData, CUresult,                                                                  \
    (CUlibrary * library, const void* code, CUjit_option* jit_options, void** jit_values,         \
     unsigned int jit_count, CUlibraryOption* options, void** values, unsigned int count))        \
  X(cuLibraryUnload, CUresult, (CUlibrary library))                                               \
  X(cuLibraryGetKernel, CUresult, (CUkernel * kernel, CUlibrary library, const char* name))       \
  X(cuKernelGetAttribute, CUresult,                                                               \
    (int* value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device))               \
  X(cuLaunchKernel, CUresult,                                                                     \
    (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,          \
     unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared_bytes, \
     CUstream stream, void** parameters, void** extra))                                           \
  X(cuMemHostAlloc, CUresult, (void** memory, size_t bytes, unsigned int flags))                  \
  X(cuMemFreeHost, CUresult, (void* memory))                                                      \
  X(cuMemAlloc_v2, CUresult, (CUdeviceptr * memory, size_t bytes))                                \
  X(cuMemFree_v2, CUresult, (CUdeviceptr memory))                                                 \
  X(cuMemsetD32_v2, CUresult, (CUdeviceptr memory, unsigned int word, size_t words))              \
  X(cuStreamGetId, CUresult, (CUstream stream, unsigned long long* id))                           \
  X(cuStreamGetCaptureInfo_v2, CUresult,                                                          \
    (CUstream stream, CUstreamCaptureStatus * status, unsigned long long* id, CUgraph* graph,     \
     const CUgraphNode** dependencies, size_t* count))                                            \
  X(cuStreamSynchronize, CUresult, (CUstream stream))                                             \
  X(cuGetErrorName, CUresult, (CUresult error, const char** name))                                \
  X(cuGetErrorString, CUresult, (CUresult error, const char** text))

#define OURJIT_NVRTC_FUNCTIONS(X)                                                    \
  X(nvrtcVersion, nvrtcResult, (int* major, int* minor))                             \
  X(nvrtcCreateProgram, nvrtcResult,                                                 \
    (nvrtcProgram * program, const char* source, const char* name, int header_count, \
     const char* const* headers, const char* const* include_names))                  \
  X(nvrtcCompileProgram, nvrtcResult,                                                \
    (nvrtcProgram program, int option_count, const char* const* options))            \
  X(nvrtcGetCUBINSize, nvrtcResult, (nvrtcProgram program, size_t* bytes))           \
  X(nvrtcGetCUBIN, nvrtcResult, (nvrtcProgram program, char* cubin))                 \
  X(nvrtcGetPTXSize, nvrtcResult, (nvrtcProgram program, size_t* bytes))             \
  X(nvrtcGetPTX, nvrtcResult, (nvrtcProgram program, char* ptx))                     \
  X(nvrtcGetProgramLogSize, nvrtcResult, (nvrtcProgram program, size_t* bytes))      \
  X(nvrtcGetProgramLog, nvrtcResult, (nvrtcProgram program, char* log))              \
  X(nvrtcDestroyProgram, nvrtcResult, (nvrtcProgram * program))                      \
  X(nvrtcGetErrorString, const char*, (nvrtcResult result))

namespace ourjit::cuda {

using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st*;
using CUlibrary = struct CUlib_st*;
using CUkernel = struct CUkern_st*;
using CUfunction = struct CUfunc_st*;  // cuLaunchKernel takes a CUkernel cast to it as well
using CUstream = struct CUstream_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphNode = struct CUgraphNode_st*;
using nvrtcProgram = struct _nvrtcProgram*;

enum CUresult : int {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
};

enum CUdevice_attribute : int {
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK = 8,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
};

enum CUfunction_attribute : int {
  CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0,
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
  CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3,
  CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
};

enum CUstreamCaptureStatus : int {
  CU_STREAM_CAPTURE_STATUS_NONE = 0,
  CU_STREAM_CAPTURE_STATUS_ACTIVE = 1,
  CU_STREAM_CAPTURE_STATUS_INVALIDATED = 2,
};

enum CUjit_option : int {};
enum CUlibraryOption : int {};

inline constexpr unsigned int CU_MEMHOSTALLOC_PORTABLE = 1;   // for all contexts
inline constexpr unsigned int CU_MEMHOSTALLOC_DEVICEMAP = 2;  // kernels may use its address

enum nvrtcResult : int {
  NVRTC_SUCCESS = 0,
  NVRTC_ERROR_OUT_OF_MEMORY = 1,
  NVRTC_ERROR_PROGRAM_CREATION_FAILURE = 2,
  NVRTC_ERROR_INVALID_INPUT = 3,
  NVRTC_ERROR_INVALID_PROGRAM = 4,
  NVRTC_ERROR_INVALID_OPTION = 5,
  NVRTC_ERROR_COMPILATION = 6,
  NVRTC_ERROR_BUILTIN_OPERATION_FAILURE = 7,
};

/// The driver's functions by name.
struct DriverTable {
#define X(name, result, parameters) result(*name) parameters = nullptr;
  OURJIT_CUDA_FUNCTIONS(X)
#undef X
};

struct NvrtcTable {
#define X(name, result, parameters) result(*name) parameters = nullptr;
  OURJIT_NVRTC_FUNCTIONS(X)
#undef X
};

}  // namespace ourjit::cuda
