// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "operands.hpp"

namespace fastconv {

// Output pixels of some channels, in one image or all of several.
struct DepthwisePart {
  std::int64_t n, channel, oh, ow, images, channels, rows, pixels;
};

inline std::int64_t offset(const DepthwisePart& part, const Dims<4>& s) noexcept {
  return part.n * s[0] + part.channel * s[1] + part.oh * s[2] + part.ow * s[3];
}

// What a kernel adds to a part: the residual, or y, where it was copied to from other strides than
// the kernel can read.
struct Addend {
  const float* data;
  const Dims<4>& strides;
};
inline Addend addend(const Operands& t, const DepthwisePart& part, bool readable,
                     std::int64_t apart = 1) noexcept {
  const Dims<4>& rs = t.residual_strides;
  const Dims<4>& ys = t.problem.y_strides;
  if (readable) return {t.residual, rs};
  for (DepthwisePart image = part; image.n < part.n + part.images; ++image.n) {
    t.table.copy_planes({{part.channels, part.rows, part.pixels},
                         t.residual + offset(image, rs),
                         {rs[1], apart * rs[2], rs[3]},
                         t.y + offset(image, ys),
                         {ys[1], apart * ys[2], ys[3]}});
  }
  return {t.y, ys};
}

}  // namespace fastconv
