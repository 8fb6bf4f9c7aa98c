// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "../kernels/problem.hpp"

namespace fastconv {

// The axes of x and y, by number, that stand for N, C, H and W.
using Axes = std::array<std::uint8_t, 4>;

// Axes under which kernels have the most pixels to an image. An axis of one element along which no
// window slides may change places with the batch: a batch of rows is one image of many rows, a
// batch of single pixels one row, and an image of one column is a row. Where a filter of one row
// finds much padding beside the image, it becomes one of one column, for rows are passed over.
Axes useful_axes(const Problem& problem) noexcept;

// The same convolution with its axes renamed, and strides of x or y likewise. Where a filter's
// stride and dilation have a divisor in common, x is one of every so many of its rows or columns,
// from `first_visited` on: 64 channels 3x3, both by 2, at 28x28 are dense ones at 14x14.
Problem permuted(const Problem& problem, const Axes& axes) noexcept;
std::int64_t first_visited(const Problem& problem, const Axes& axes) noexcept;  // float of x
Dims<4> permuted(const Dims<4>& strides, const Axes& axes) noexcept;

}  // namespace fastconv
