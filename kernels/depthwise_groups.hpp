// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "depthwise_tiles.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Groups of more than one channel: each input channel of a group is spread over the group's output
// lanes, by the permutation spread[c], before it is multiplied.
//
// Taps could share what is spread, but at any time that leaves as many sums to add to as the filter
// is wide, each waiting for the last addition to it: 55 % of the peak for 3x3 filters of groups of
// 8 with AVX-512, where seven sums at a time reach 62 %, and 44 instead of 58 % at stride 2.
template <class Arch, int Pixels>
void grouped_tile(const DepthwiseArguments& d, const typename Vector<Arch>::Lanes* spread,
                  const float* const* pixels, int channel, int lanes, std::int64_t row,
                  std::int64_t pixel) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width, NR = kMaxVectors * W;
  V sum[Pixels][1];
  FASTCONV_UNROLL
  for (int p = 0; p < Pixels; ++p) sum[p][0] = V::zero();
  const int first = channel / d.group_out * d.group_in;
  const int inputs = lanes / d.group_out * d.group_in;
  const float* weight =
      d.weights + channel / NR * d.kernel_h * d.kernel_w * d.group_in * NR + channel % NR;
  for (std::int64_t r = 0; r < d.kernel_h; ++r, pixels += d.row_step) {
    for (std::int64_t s = 0; s < d.kernel_w; ++s) {
      V x[Pixels];
      FASTCONV_UNROLL
      for (int p = 0; p < Pixels; ++p) {
        const float* in = pixels[p * d.stride_w + s * d.dilation_w] + d.shift + first;
        x[p] = inputs == W ? V::load(in) : V::load_first(in, inputs);
      }
      for (int c = 0; c < d.group_in; ++c, weight += NR) {
        const V tap = V::load(weight);
        FASTCONV_UNROLL
        for (int p = 0; p < Pixels; ++p) {
          sum[p][0] = V::fma(V::permute(x[p], spread[c]), tap, sum[p][0]);
        }
      }
    }
  }
  finish_pixels<Arch>(d, channel, lanes, row, pixel,
                      d.y + row * d.y_row_stride + pixel * d.y_pixel_stride + channel,
                      d.y_pixel_stride, sum);
}

template <class Arch>
void grouped_rows(const DepthwiseArguments& d) noexcept {
  using V = Vector<Arch>;
  typename V::Lanes spread[V::width];
  for (int c = 0; c < d.group_in; ++c) {
    int lane[V::width];
    for (int i = 0; i < V::width; ++i) lane[i] = i / d.group_out * d.group_in + c;
    spread[c] = V::lanes(lane);
  }
  for (std::int64_t row = 0; row < d.rows; ++row) {
    cover_row<7, (V::width > 4)>(d.pixels, [&](auto count, std::int64_t pixel) {
      constexpr int P = decltype(count)::value;
      const float* const* pixels = d.inputs + row * d.stride_h * d.row_step + pixel * d.stride_w;
      for (int channel = 0; channel < d.channels; channel += V::width) {
        const int left = d.channels - channel, lanes = left < V::width ? left : V::width;
        grouped_tile<Arch, P>(d, spread, pixels, channel, lanes, row, pixel);
      }
    });
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
