// Calls of ATen's operators on the CPU that kernels of our own make in its place.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

namespace ourjit {

/// Arguments in schema order and one tensor for each result, of the size, dtype and strides that
/// its reader expects; undefined where nobody wants the result. False, with nothing written, leaves
/// the call to ATen.
using NativeCall = bool (*)(const std::vector<c10::IValue>& arguments,
                            const std::vector<at::Tensor>& results);

/// Null if only ATen has kernels for `target`.
NativeCall find_native_call(const std::string& target);

}  // namespace ourjit
