// What the tools need of the disk cache.
#pragma once

#include <pybind11/pybind11.h>

namespace ourjit {

/// Adds cache_default_folder, cache_list, cache_read, cache_save, cache_prune, cache_clear and
/// cache_differences, which _C.pyi describes.
void add_cache_functions(pybind11::module_& module);

}  // namespace ourjit
