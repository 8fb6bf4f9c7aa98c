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

constexpr Algorithm kWinograd[] = {Algorithm::winograd_f2, Algorithm::winograd_f4,
                                   Algorithm::winograd_f6};

inline const Pair kWinogradKernels[] = {{3, 3}, {5, 5}, {1, 3}, {3, 1}, {1, 5}, {5, 1}};

// Of all but 3x3, one variant serves.
inline Algorithm only_algorithm(const Pair& kernel) {
  return kernel.h == 5 || kernel.w == 5 ? Algorithm::winograd_f2 : Algorithm::winograd_f4;
}

inline bool is_3x3(const Pair& kernel) { return kernel.h == 3 && kernel.w == 3; }

}  // namespace fastconv::testing
