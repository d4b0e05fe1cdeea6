// The families of canonicalization rules; canonicalize.cpp joins them into one table.
#pragma once

#include <vector>

#include "passes/aten_args.h"

namespace ourjit {

/// All of them.
const AtenRules& canonicalize_rules();

std::vector<AtenRule> unary_rules();
std::vector<AtenRule> binary_rules();
std::vector<AtenRule> ternary_rules();
std::vector<AtenRule> view_rules();
std::vector<AtenRule> storage_rules();
std::vector<AtenRule> reshaping_copy_rules();
std::vector<AtenRule> creation_rules();
std::vector<AtenRule> reduction_rules();
std::vector<AtenRule> moment_rules();
std::vector<AtenRule> indexing_rules();
std::vector<AtenRule> scatter_rules();

}  // namespace ourjit
