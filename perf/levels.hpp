// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace fastconv::perf {

// Times every problem at every level that this CPU has, in NCHW and in NHWC, and prints them side
// by side with the geometric means at the end. False if something failed.
bool print_levels(const Options& options);

}  // namespace fastconv::perf
