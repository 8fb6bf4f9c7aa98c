// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace fastconv::perf {

// Error against a sum in double for C = 16 to 2048, in units of 2^-24 * sum |x||w|, beside its
// bound. True if the bound held.
bool print_accuracy(const Options& options);

}  // namespace fastconv::perf
