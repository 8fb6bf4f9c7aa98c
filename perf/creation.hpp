// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace fastconv::perf {

// Times what is done once for a layer instead of running it, and prints a table: the weights packed
// and the whole layer created in memory touched before, pages touched for the first time, the layer
// created as it comes and oneDNN's primitive with its weights reordered, turn and turn about.
// False if something failed.
bool print_creation(const Options& options);

}  // namespace fastconv::perf
