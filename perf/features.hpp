// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace fastconv::perf {

// What costs nothing extra, or what it costs: geometry, epilogues and views, each beside a plain
// layer of the same FLOP in NCHW and in NHWC, turn and turn about. True if nothing went wrong.
bool print_features(const Options& options);

}  // namespace fastconv::perf
