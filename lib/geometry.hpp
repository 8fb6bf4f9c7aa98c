// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/descriptor.hpp>
#include <fastconv/view.hpp>

#include "../kernels/problem.hpp"

namespace fastconv {

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

// Whether the padding, if any, has no values of x.
bool pads_with_zeros(const Window& window) noexcept;

// Windows read one in so many of the rows and of the columns of x; axes.hpp leaves the others out.
Pair window_steps(const Window& window) noexcept;

// Sizes of the descriptor alone; nothing that depends on an image.
Status check_descriptor(const Conv2d& descriptor) noexcept;

// Shapes of x and y against the descriptor and each other; fills `problem`.
Status make_problem(const Conv2d& descriptor, const ConstTensorView& x, const TensorView& y,
                    Problem& problem) noexcept;

}  // namespace fastconv
