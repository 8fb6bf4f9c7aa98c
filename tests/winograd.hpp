// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fastconv/fastconv.hpp>
#include <vector>

#include "../lib/winograd.hpp"

namespace fastconv::testing {

// Bounds of the error of F(m x m, 3 x 3) for every output in the order N, C, H, W: gamma times
// |A^T| [sum of (|G| |g| |G|^T) * (|B^T| |d| |B|)] |A|, as every rounding is relative to a term of
// it. `x` is the padded image.
std::vector<double> winograd_error_bounds(const Conv2d& unpadded, const ConstTensorView& x,
                                          const ConstTensorView& weights, int m);

}  // namespace fastconv::testing
