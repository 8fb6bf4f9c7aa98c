// SPDX-License-Identifier: Apache-2.0
#include "baselines.hpp"
#include "padding.hpp"

namespace fastconv {
namespace {

enum Axis { N, K, OH, OW, C, R, S };

// Sum over the last three axes of the products of two 7-D views at one (n, k, oh, ow). Where the
// window lies inside the image, the strides alone say which elements meet.
double inner_product(const View<const float, 7>& x, const View<const float, 7>& w) noexcept {
  double sum = 0.0;
  for (std::int64_t c = 0; c < x.shape[C]; ++c) {
    for (std::int64_t r = 0; r < x.shape[R]; ++r) {
      const float* px = x.data + c * x.strides[C] + r * x.strides[R];
      const float* pw = w.data + c * w.strides[C] + r * w.strides[R];
      for (std::int64_t s = 0; s < x.shape[S]; ++s) {
        sum +=
            static_cast<double>(px[s * x.strides[S]]) * static_cast<double>(pw[s * w.strides[S]]);
      }
    }
  }
  return sum;
}

}  // namespace

void strided(const BaselineArguments& arguments) noexcept {
  const Problem& p = arguments.problem;
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  const Dims<4>& xs = p.x_strides;
  const Dims<7> shape{p.n, p.k, p.oh, p.ow, p.c_per_group(), kernel.h, kernel.w};
  // Offsets may be outside the image where there is padding, so no pointer is formed from them.
  const Dims<7> x7{
      xs[0], 0, stride.h * xs[2], stride.w * xs[3], xs[1], dilation.h * xs[2], dilation.w * xs[3]};
  const Dims<7> w7{0, shape[C] * shape[R] * shape[S], 0, 0, shape[R] * shape[S], shape[S], 1};

  for (std::int64_t n = 0; n < p.n; ++n) {
    for (std::int64_t k = 0; k < p.k; ++k) {
      const std::int64_t group = k / p.k_per_group() * p.c_per_group() * xs[1];
      const float* weights = arguments.weights + k * w7[K];
      for (std::int64_t oh = 0; oh < p.oh; ++oh) {
        const std::int64_t top = oh * stride.h - padding.top;
        const bool rows_inside = top >= 0 && top + (kernel.h - 1) * dilation.h < p.h;
        for (std::int64_t ow = 0; ow < p.ow; ++ow) {
          const std::int64_t left = ow * stride.w - padding.left;
          double sum = 0.0;
          if (rows_inside && left >= 0 && left + (kernel.w - 1) * dilation.w < p.w) {
            const std::int64_t origin = n * x7[N] + group + top * xs[2] + left * xs[3];
            sum = inner_product({arguments.x + origin, shape, x7, nullptr, -1},
                                {weights, shape, w7, nullptr, -1});
          } else {
            for (std::int64_t r = 0; r < kernel.h; ++r) {
              const std::int64_t h = source_index(top + r * dilation.h, p.h, mode);
              for (std::int64_t s = 0; s < kernel.w; ++s) {
                const std::int64_t w = source_index(left + s * dilation.w, p.w, mode);
                const bool zero = h < 0 || w < 0;
                const std::int64_t origin = n * x7[N] + group + h * xs[2] + w * xs[3];
                for (std::int64_t c = 0; c < shape[C]; ++c) {
                  const double x = zero ? 0.0 : arguments.x[origin + c * x7[C]];
                  sum += x * static_cast<double>(weights[c * w7[C] + r * w7[R] + s * w7[S]]);
                }
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
