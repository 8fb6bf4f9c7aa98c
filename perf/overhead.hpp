// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace fastconv::perf {

// What Layer::run takes beyond its arithmetic where that is next to nothing, with plan and
// workspace ready. True if nothing went wrong.
bool print_overhead(const Options& options);

}  // namespace fastconv::perf
