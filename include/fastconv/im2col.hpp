// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fastconv/descriptor.hpp>
#include <fastconv/status.hpp>
#include <fastconv/view.hpp>

namespace fastconv {

// The windows of x as a view without a copy: shape (N, C, OH, OW, R, S), as
// torch.as_strided makes it. Refuses padding, which no view can hold.
Status window_view(const ConstTensorView& x, const Window& window,
                   View<const float, 6>& windows) noexcept;

// The im2col matrix of x: shape (N, C*R*S, OH*OW), any strides; row (c*R + r)*S + s, column
// i*OW + j. These two exist as correctness baselines: convolving does not need the matrix, and
// `Layer` never makes it unless asked to by the name of such an algorithm.
//
// One loop for each of n, c, r, s, i and j.
Status im2col(const ConstTensorView& x, const Window& window,
              const View<float, 3>& matrix) noexcept;

// Gathered row by row from the 6-D window view transposed to (N, C, R, S, OH, OW).
Status strided_im2col(const ConstTensorView& x, const Window& window,
                      const View<float, 3>& matrix) noexcept;

}  // namespace fastconv
