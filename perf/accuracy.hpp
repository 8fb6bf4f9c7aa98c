// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace fastconv::perf {

// Errors against sums in double for C = 16 to 2048: of a strict layer beside its bound, and of
// every algorithm over the largest output. True if the bound held.
bool print_accuracy(const Options& options);

}  // namespace fastconv::perf
