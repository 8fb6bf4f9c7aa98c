// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "epilogue.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

template <class Arch, int Pixels>
FASTCONV_INLINE void finish_pixels(const DepthwiseArguments& d, int channel, int lanes,
                                   std::int64_t pixel, Vector<Arch> (&sum)[Pixels][1]) noexcept {
  using V = Vector<Arch>;
  if (d.bias != nullptr) {
    const V bias = V::load(d.bias + channel);
    FASTCONV_UNROLL
    for (int p = 0; p < Pixels; ++p) sum[p][0] = sum[p][0] + bias;
  }
  finish_tile<Arch>(
      *d.epilogue, d.residual,
      [&](int p) { return (pixel + p) * d.residual_pixel_stride + channel; }, d.y,
      [&](int p) { return (pixel + p) * d.y_pixel_stride + channel; }, lanes, sum);
}

// Depthwise convolution with adjacent channels, which lie along the vectors of x, weights and y.
// Input pixels are reached through pointers, so that padding costs nothing but a pointer to zeros.
//
// Taps > 0 is the width of a dense filter moved by Stride: a loaded pixel then serves all the
// outputs over it, about Stride / Taps loads an FMA; a sum still takes its taps in the order (r,
// s).
template <class Arch, int Pixels, int Taps, int Stride, bool Partial>
void depthwise_tile(const DepthwiseArguments& d, const float* const* pixels, int channel, int lanes,
                    std::int64_t pixel) noexcept {
  using V = Vector<Arch>;
  constexpr int NR = kMaxVectors * V::width;
  V sum[Pixels][1];
  FASTCONV_UNROLL
  for (int p = 0; p < Pixels; ++p) sum[p][0] = V::zero();
  const auto load = [&](const float* in) __attribute__((always_inline)) {
    return Partial ? V::load_first(in + channel, lanes) : V::load(in + channel);
  };
  const float* weight = d.weights + channel / NR * d.kernel_h * d.kernel_w * NR + channel % NR;
  for (std::int64_t r = 0; r < d.kernel_h; ++r, pixels += d.row_step) {
    if constexpr (Taps > 0) {
      V taps[Taps];
      FASTCONV_UNROLL
      for (int s = 0; s < Taps; ++s) taps[s] = V::load(weight + s * NR);
      FASTCONV_UNROLL
      for (int j = 0; j < (Pixels - 1) * Stride + Taps; ++j) {
        const V x = load(pixels[j]);
        FASTCONV_UNROLL
        for (int s = 0; s < Taps; ++s) {
          const int p = (j - s) / Stride;
          if (j < s || (j - s) % Stride != 0 || p >= Pixels) continue;
          sum[p][0] = V::fma(x, taps[s], sum[p][0]);
        }
      }
      weight += Taps * NR;
    } else {
      for (std::int64_t s = 0; s < d.kernel_w; ++s, weight += NR) {
        const V tap = V::load(weight);
        FASTCONV_UNROLL
        for (int p = 0; p < Pixels; ++p) {
          const V x = load(pixels[p * d.stride_w + s * d.dilation_w]);
          sum[p][0] = V::fma(x, tap, sum[p][0]);
        }
      }
    }
  }
  finish_pixels<Arch>(d, channel, lanes, pixel, sum);
}

// The same for groups of more than one channel: each input channel of a group is spread over the
// group's output lanes, by the permutation spread[c], before it is multiplied.
//
// Taps could share what is spread, but at any time that leaves as many sums to add to as the filter
// is wide, each waiting for the last addition to it: 55 % of the peak for 3x3 filters of groups of
// 8 with AVX-512, where seven sums at a time reach 62 %, and 44 instead of 58 % at stride 2.
template <class Arch, int Pixels>
void grouped_tile(const DepthwiseArguments& d, const typename Vector<Arch>::Lanes* spread,
                  const float* const* pixels, int channel, int lanes, std::int64_t pixel) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  constexpr int NR = kMaxVectors * W;
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
        const float* in = pixels[p * d.stride_w + s * d.dilation_w] + first;
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
  finish_pixels<Arch>(d, channel, lanes, pixel, sum);
}

// Calls tile(pixels of a tile, pixel) for the pixels of a row.
template <class Tile>
FASTCONV_INLINE void cover_row(std::int64_t pixels, Tile tile) noexcept {
  std::int64_t pixel = 0;
  const auto tiles = [&](auto count) __attribute__((always_inline)) {
    constexpr int P = decltype(count)::value;
    for (; pixel + P <= pixels; pixel += P) tile(count, pixel);
  };
  tiles(Constant<7>{});  // image sizes like 7, 14, 28, 56 are multiples of it
  tiles(Constant<3>{});
  tiles(Constant<1>{});
}

// All channels of Pixels pixels.
template <class Arch, int Pixels, int Taps, int Stride>
void depthwise_pixels(const DepthwiseArguments& d, const float* const* pixels,
                      std::int64_t pixel) noexcept {
  constexpr int W = Vector<Arch>::width;
  for (int channel = 0; channel < d.channels; channel += W) {
    const int lanes = d.channels - channel;
    if (lanes >= W) {
      depthwise_tile<Arch, Pixels, Taps, Stride, false>(d, pixels, channel, W, pixel);
    } else {
      depthwise_tile<Arch, Pixels, Taps, Stride, true>(d, pixels, channel, lanes, pixel);
    }
  }
}

template <class Arch, int Taps, int Stride>
void depthwise_row(const DepthwiseArguments& d) noexcept {
  cover_row(d.pixels, [&](auto count, std::int64_t pixel) {
    constexpr int P = decltype(count)::value;
    depthwise_pixels<Arch, P, Taps, Stride>(d, d.inputs + pixel * d.stride_w, pixel);
  });
}

template <class Arch>
void grouped_row(const DepthwiseArguments& d) noexcept {
  using V = Vector<Arch>;
  typename V::Lanes spread[V::width];
  for (int c = 0; c < d.group_in; ++c) {
    int lane[V::width];
    for (int i = 0; i < V::width; ++i) lane[i] = i / d.group_out * d.group_in + c;
    spread[c] = V::lanes(lane);
  }
  cover_row(d.pixels, [&](auto count, std::int64_t pixel) {
    constexpr int P = decltype(count)::value;
    for (int channel = 0; channel < d.channels; channel += V::width) {
      const int left = d.channels - channel;
      grouped_tile<Arch, P>(d, spread, d.inputs + pixel * d.stride_w, channel,
                            left < V::width ? left : V::width, pixel);
    }
  });
}

template <class Arch>
void depthwise(const DepthwiseArguments& d) {
  const auto row = [&](auto taps) {
    constexpr int T = decltype(taps)::value;
    d.stride_w == 1 ? depthwise_row<Arch, T, 1>(d) : depthwise_row<Arch, T, 2>(d);
  };
  const bool shares = d.dilation_w == 1 && d.stride_w <= 2;
  if (d.group_out > 1) {
    grouped_row<Arch>(d);
  } else if (shares && d.kernel_w == 3) {
    row(Constant<3>{});
  } else if (shares && d.kernel_w == 5) {
    row(Constant<5>{});
  } else if (shares && d.kernel_w == 7) {
    row(Constant<7>{});
  } else {
    depthwise_row<Arch, 0, 0>(d);
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
