// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/problem.hpp"

namespace fastconv {

// Rows or columns of a filter's taps, [begin, end), that lie in the image for an output row or
// column; `end` may be below `begin` for none. They are the same for those that follow, to `until`.
struct TapRange {
  std::int64_t begin, end, until;
};
TapRange tap_rows_inside(const Problem& problem, std::int64_t output_row) noexcept;
TapRange tap_columns_inside(const Problem& problem, std::int64_t output_column) noexcept;

// Output rows or columns, [begin, end), that find a row or column of a filter's taps in the image.
struct Range {
  std::int64_t begin, end;
};
Range output_rows_inside(const Problem& problem, std::int64_t tap_row) noexcept;
Range output_columns_inside(const Problem& problem, std::int64_t tap_column) noexcept;

// Rows of the image, [begin, end), from the first to the last that windows of output rows read.
Range image_rows_read(const Problem& problem, const Range& output_rows) noexcept;

// The share of taps inside over all outputs, if so many of them share what one of them finds.
double share_of_rows_inside(const Problem& problem, std::int64_t together = 1) noexcept;
double share_of_columns_inside(const Problem& problem, std::int64_t together = 1) noexcept;

// Pixels of a row that a tile has at least if it passes over columns of taps in the padding, which
// none of its pixels finds in the image: where these are many output columns apart, tiles end where
// one enters or leaves it.
std::int64_t column_cut(const Problem& problem, int mr) noexcept;

// Is that worth it?
bool cuts_columns(const Problem& problem, int mr) noexcept;

// The padded image under a block of output rows and columns, in steps that leave out what no
// window reads.
struct Patch {
  Patch(const Problem& problem, std::int64_t output_rows, std::int64_t output_columns) noexcept;

  Pair step;
  std::int64_t rows, columns;
};

// Outputs whose windows lie in the image, [begin, end) along each axis.
struct Inside {
  explicit Inside(const Problem& problem) noexcept;

  Pair begin, end;

  std::int64_t pixels() const noexcept {
    return begin.h < end.h && begin.w < end.w ? (end.h - begin.h) * (end.w - begin.w) : 0;
  }
};

// Does every window lie in the image?
inline bool windows_inside(const Problem& p) noexcept {
  const Inside inside(p);
  return inside.begin.h == 0 && inside.begin.w == 0 && inside.end.h == p.oh && inside.end.w == p.ow;
}

}  // namespace fastconv
