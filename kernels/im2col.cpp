// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "baselines.hpp"
#include "padding.hpp"

namespace fastconv {

std::int64_t im2col_bytes(const Problem& p) noexcept {
  return p.c * p.taps() * p.oh * p.ow * static_cast<std::int64_t>(sizeof(float));
}

void im2col_loops(const Problem& p, const float* image, float* matrix, std::int64_t row_stride,
                  std::int64_t column_stride) noexcept {
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  const Dims<4>& xs = p.x_strides;
  for (std::int64_t c = 0; c < p.c; ++c) {
    for (std::int64_t oh = 0; oh < p.oh; ++oh) {
      for (std::int64_t ow = 0; ow < p.ow; ++ow) {
        for (std::int64_t r = 0; r < kernel.h; ++r) {
          const std::int64_t h =
              source_index(oh * stride.h + r * dilation.h - padding.top, p.h, mode);
          for (std::int64_t s = 0; s < kernel.w; ++s) {
            const std::int64_t w =
                source_index(ow * stride.w + s * dilation.w - padding.left, p.w, mode);
            const std::int64_t row = (c * kernel.h + r) * kernel.w + s;
            const std::int64_t column = oh * p.ow + ow;
            matrix[row * row_stride + column * column_stride] =
                h < 0 || w < 0 ? 0.0F : image[c * xs[1] + h * xs[2] + w * xs[3]];
          }
        }
      }
    }
  }
}

void im2col_gather(const Problem& p, const float* image, float* matrix, std::int64_t row_stride,
                   std::int64_t column_stride) noexcept {
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  const Dims<4>& xs = p.x_strides;
  // The window view (C, OH, OW, R, S) transposed to (C, R, S, OH, OW): along OW it advances by
  // step in the image and by column_stride in the matrix.
  const std::int64_t step = stride.w * xs[3];
  for (std::int64_t c = 0; c < p.c; ++c) {
    for (std::int64_t r = 0; r < kernel.h; ++r) {
      for (std::int64_t s = 0; s < kernel.w; ++s) {
        float* row = matrix + ((c * kernel.h + r) * kernel.w + s) * row_stride;
        const std::int64_t left = s * dilation.w - padding.left;
        // Outputs whose tap lies inside the image: 0 <= left + ow * stride < w.
        const std::int64_t begin =
            std::min(p.ow, left >= 0 ? 0 : (-left + stride.w - 1) / stride.w);
        const std::int64_t end =
            std::max(begin, std::min(p.ow, left < p.w ? (p.w - 1 - left) / stride.w + 1 : 0));
        for (std::int64_t oh = 0; oh < p.oh; ++oh) {
          const std::int64_t h =
              source_index(oh * stride.h + r * dilation.h - padding.top, p.h, mode);
          float* out = row + oh * p.ow * column_stride;
          const auto border = [&](std::int64_t ow) {
            // C++17 lets no lambda capture a structured binding, hence the long names.
            const std::int64_t w =
                source_index(left + ow * p.window.stride.w, p.w, p.window.padding_mode);
            out[ow * column_stride] =
                h < 0 || w < 0 ? 0.0F : image[c * xs[1] + h * xs[2] + w * xs[3]];
          };
          for (std::int64_t ow = 0; ow < begin; ++ow) border(ow);
          if (h < 0) {
            for (std::int64_t ow = begin; ow < end; ++ow) out[ow * column_stride] = 0.0F;
          } else {
            const std::int64_t origin = c * xs[1] + h * xs[2] + left * xs[3];
            if (step == 1 && column_stride == 1) {
              std::copy(image + origin + begin, image + origin + end, out + begin);
            } else {
              for (std::int64_t ow = begin; ow < end; ++ow) {
                out[ow * column_stride] = image[origin + ow * step];
              }
            }
          }
          for (std::int64_t ow = end; ow < p.ow; ++ow) border(ow);
        }
      }
    }
  }
}

void im2col_matmul(const BaselineArguments& arguments, Im2colFunction im2col,
                   float* matrix) noexcept {
  constexpr std::int64_t kColumns = 512;  // sums kept at a time
  const Problem& p = arguments.problem;
  const std::int64_t pixels = p.oh * p.ow;
  const std::int64_t depth = p.c_per_group() * p.taps();
  for (std::int64_t n = 0; n < p.n; ++n) {
    im2col(p, arguments.x + n * p.x_strides[0], matrix, pixels, 1);
    for (std::int64_t k = 0; k < p.k; ++k) {
      const float* weights = arguments.weights + k * depth;
      const float* rows = matrix + k / p.k_per_group() * depth * pixels;
      for (std::int64_t first = 0; first < pixels; first += kColumns) {
        const std::int64_t count = std::min(kColumns, pixels - first);
        double sums[kColumns];
        std::fill(sums, sums + count, 0.0);
        for (std::int64_t i = 0; i < depth; ++i) {
          const float* row = rows + i * pixels + first;
          const auto weight = static_cast<double>(weights[i]);
          for (std::int64_t j = 0; j < count; ++j) sums[j] += weight * static_cast<double>(row[j]);
        }
        for (std::int64_t j = 0; j < count; ++j) {
          finish(arguments, sums[j], n, k, (first + j) / p.ow, (first + j) % p.ow);
        }
      }
    }
  }
}

}  // namespace fastconv
