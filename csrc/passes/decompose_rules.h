// The families of decomposition rules; decompose.cpp joins them into one table.
#pragma once

#include <vector>

#include "passes/aten_args.h"

namespace ourjit {

/// All of them.
const AtenRules& decompose_rules();

std::vector<AtenRule> activation_rules();
std::vector<AtenRule> activation_backward_rules();
std::vector<AtenRule> softmax_rules();
std::vector<AtenRule> row_norm_rules();
std::vector<AtenRule> batch_norm_rules();
std::vector<AtenRule> elementwise_loss_rules();
std::vector<AtenRule> nll_loss_rules();
std::vector<AtenRule> matmul_rules();
std::vector<AtenRule> pooling_rules();
std::vector<AtenRule> pooling_backward_rules();
std::vector<AtenRule> interpolation_rules();
std::vector<AtenRule> special_rules();
std::vector<AtenRule> bessel_rules();
std::vector<AtenRule> zeta_rules();

}  // namespace ourjit
