// SPDX-License-Identifier: Apache-2.0
#include "baselines.hpp"
#include "padding.hpp"

namespace fastconv {

void naive(const BaselineArguments& arguments) noexcept {
  const Problem& p = arguments.problem;
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  const Dims<4>& xs = p.x_strides;
  for (std::int64_t n = 0; n < p.n; ++n) {
    for (std::int64_t k = 0; k < p.k; ++k) {
      const std::int64_t first_channel = k / p.k_per_group() * p.c_per_group();
      for (std::int64_t oh = 0; oh < p.oh; ++oh) {
        for (std::int64_t ow = 0; ow < p.ow; ++ow) {
          double sum = 0.0;
          for (std::int64_t c = 0; c < p.c_per_group(); ++c) {
            for (std::int64_t r = 0; r < kernel.h; ++r) {
              const std::int64_t h =
                  source_index(oh * stride.h + r * dilation.h - padding.top, p.h, mode);
              for (std::int64_t s = 0; s < kernel.w; ++s) {
                const std::int64_t w =
                    source_index(ow * stride.w + s * dilation.w - padding.left, p.w, mode);
                const float x =
                    h < 0 || w < 0
                        ? 0.0F
                        : arguments
                              .x[n * xs[0] + (first_channel + c) * xs[1] + h * xs[2] + w * xs[3]];
                const float weight =
                    arguments.weights[((k * p.c_per_group() + c) * kernel.h + r) * kernel.w + s];
                sum += static_cast<double>(x) * static_cast<double>(weight);
              }
            }
          }
          finish(arguments, sum, n, k, oh, ow);
        }
      }
    }
  }
}

}  // namespace fastconv
