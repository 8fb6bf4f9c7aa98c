// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace fastconv::perf {

// Times every algorithm that takes a problem beside the library's own choice, turn and turn about,
// and prints what that choice costs over the best of them: the judge of the cost model. True if
// nothing went wrong.
bool print_regret(const Options& options);

}  // namespace fastconv::perf
