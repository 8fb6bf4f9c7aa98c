// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/descriptor.hpp>
#include <fastconv/view.hpp>

#include "inline.hpp"

namespace fastconv {

// One convolution, validated: every size is positive (n may be 0) and every product that a kernel
// forms of them fits 64 bits.
struct Problem {
  Window window;
  std::int64_t groups = 1;
  std::int64_t n = 0, c = 0, h = 0, w = 0;
  std::int64_t k = 0, oh = 0, ow = 0;
  Dims<4> x_strides{}, y_strides{};

  // Mostly of one group, and a division is felt on tiny images: 1 to 1 channel 1x1 on one pixel
  // 115 -> 95 ns (Xeon). Kernels, too, ask; -Os would leave a copy that they share.
  FASTCONV_INLINE std::int64_t c_per_group() const noexcept { return groups == 1 ? c : c / groups; }
  FASTCONV_INLINE std::int64_t k_per_group() const noexcept { return groups == 1 ? k : k / groups; }
  std::int64_t taps() const noexcept { return window.kernel_size.h * window.kernel_size.w; }
  // Of x and of y, of one image.
  std::int64_t image_elements() const noexcept { return c * h * w + k * oh * ow; }
};

}  // namespace fastconv
