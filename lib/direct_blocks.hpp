// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "direct.hpp"
#include "integers.hpp"

// What blocks of direct are cut by and run on.

namespace fastconv {

// Floats that the offsets of all steps of the depth and the taps' phases take at the start of the
// workspace.
inline std::int64_t table_elements(const Problem& p) noexcept {
  return round_up(2 * (p.c_per_group() * p.taps() + p.window.kernel_size.w), 16);
}

// Floats from one channel of the staged result to the next: an odd number of lines, as from row to
// row of planes.
inline std::int64_t staged_plane(std::int64_t rows, std::int64_t columns) noexcept {
  return (rows * round_up(columns, 16)) | 16;
}

// Rows of planes that a block leaves to the one below it.
inline std::int64_t rows_kept(const Problem& p, const DirectBlocking& b) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return !b.in_place && stride.h == 1 && b.row_step == 1 ? (kernel.h - 1) * dilation.h : 0;
}

}  // namespace fastconv
