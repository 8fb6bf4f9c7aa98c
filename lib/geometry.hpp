// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <fastconv/descriptor.hpp>
#include <fastconv/view.hpp>

namespace fastconv {

// One convolution, validated: every size is positive (n may be 0) and every product that a kernel
// forms of them fits 64 bits.
struct Problem {
  Window window;
  std::int64_t groups = 1;
  std::int64_t n = 0, c = 0, h = 0, w = 0;
  std::int64_t k = 0, oh = 0, ow = 0;
  Dims<4> x_strides{}, y_strides{};

  std::int64_t c_per_group() const noexcept { return c / groups; }
  std::int64_t k_per_group() const noexcept { return k / groups; }
  std::int64_t taps() const noexcept { return window.kernel_size.h * window.kernel_size.w; }
};

// Strides without those that no element needs: along an axis of one element a view may have any
// stride, and a huge one must not enter an address.
Dims<4> used_strides(const Dims<4>& shape, const Dims<4>& strides) noexcept;

// Fills what a window slid over x to `output` determines, so that every offset from x that is
// formed of it fits 64 bits, those of the padding included.
Status set_window(const Window& window, const ConstTensorView& x, Pair output,
                  Problem& problem) noexcept;

// Products that algorithms form of a problem whose window and channels are set, with room for their
// rounding.
Status check_products(const Problem& problem) noexcept;

// Sizes of the descriptor alone; nothing that depends on an image.
Status check_descriptor(const Conv2d& descriptor) noexcept;

// Shapes of x and y against the descriptor and each other; fills `problem`.
Status make_problem(const Conv2d& descriptor, const ConstTensorView& x, const TensorView& y,
                    Problem& problem) noexcept;

// The axes of x and y, by number, that stand for N, C, H and W.
using Axes = std::array<std::uint8_t, 4>;

// Axes under which kernels have the most pixels to an image. An axis of one element along which no
// window slides may change places with the batch: a batch of rows is one image of many rows, a
// batch of single pixels one row, and an image of one column is a row. Where a filter of one row
// finds much padding beside the image, it becomes one of one column, for rows are passed over.
Axes useful_axes(const Problem& problem) noexcept;

// The same convolution with its axes renamed, and strides of x or y likewise.
Problem permuted(const Problem& problem, const Axes& axes) noexcept;
Dims<4> permuted(const Dims<4>& strides, const Axes& axes) noexcept;

// Rows or columns of a filter's taps, [begin, end), that lie in the image for an output row or
// column; `end` may be below `begin` for none. They are the same for those that follow, to `until`.
struct TapRange {
  std::int64_t begin, end, until;
};
TapRange tap_rows_inside(const Problem& problem, std::int64_t output_row) noexcept;
TapRange tap_columns_inside(const Problem& problem, std::int64_t output_column) noexcept;

// The share of them over all outputs; of columns, if so many outputs share what one of them finds.
double share_of_rows_inside(const Problem& problem) noexcept;
double share_of_columns_inside(const Problem& problem, std::int64_t together = 1) noexcept;

// Outputs whose windows lie in the image, [begin, end) along each axis.
struct Inside {
  explicit Inside(const Problem& problem) noexcept;

  Pair begin, end;
};

// Does every window lie in the image?
inline bool windows_inside(const Problem& p) noexcept {
  const Inside inside(p);
  return inside.begin.h == 0 && inside.begin.w == 0 && inside.end.h == p.oh && inside.end.w == p.ow;
}

// False if the product exceeds 64 bits.
inline bool multiply(std::int64_t a, std::int64_t b, std::int64_t& product) noexcept {
  return !__builtin_mul_overflow(a, b, &product);
}

}  // namespace fastconv
