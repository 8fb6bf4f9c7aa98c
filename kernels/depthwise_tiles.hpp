// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "epilogue.hpp"
#include "simd.hpp"
#include "table.hpp"

// What kernels with channels along the vectors cover outputs by, the taps that they leave out, and
// what they finish outputs with.

namespace fastconv::FASTCONV_LEVEL {
namespace {

// The rows of taps of an output row that are to be multiplied; `end` may be below `begin` for none.
struct TapRows {
  std::int64_t begin, end;
};
FASTCONV_INLINE TapRows tap_rows(const DepthwiseArguments& d, std::int64_t row) noexcept {
  const std::int64_t begin = d.first_row - row * d.stride_h, end = d.end_row - row * d.stride_h;
  return {begin > 0 ? begin : 0, end < d.kernel_h ? end : d.kernel_h};
}

// A pointer or an index, in a register. GCC would add to the former what is added as it loads it,
// which takes a unit of the FMAs, where the address of a masked load could.
template <class T>
FASTCONV_INLINE T held(T value) noexcept {
  asm("" : "+r"(value));
  return value;
}

// Only `lanes` of a pixel's last vector are outputs, and only `count` of the pixels.
template <class Arch, int Pixels, int Vectors>
FASTCONV_INLINE void finish_pixels(const DepthwiseArguments& d, int channel, int lanes,
                                   std::int64_t row, std::int64_t pixel, float* y,
                                   std::int64_t y_pixel_stride,
                                   Vector<Arch> (&sum)[Pixels][Vectors],
                                   int count = Pixels) noexcept {
  using V = Vector<Arch>;
  if (d.bias != nullptr) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const V bias = V::load(d.bias + channel + v * V::width);
      FASTCONV_UNROLL
      for (int p = 0; p < Pixels; ++p) sum[p][v] = sum[p][v] + bias;
    }
  }
  const float* residual = d.residual;
  if (residual != nullptr) {
    residual += row * d.residual_row_stride + pixel * d.residual_pixel_stride + channel;
  }
  finish_tile<Arch>(
      *d.epilogue, residual, [&](int p) { return p * d.residual_pixel_stride; }, y,
      [&](int p) { return p * y_pixel_stride; }, lanes, sum, count);
}

// Calls tile(pixels of a tile, pixel) for the pixels of a row. `Fours` has tiles of four, too, and
// rather two of them than seven and one, or three of three than seven and two unless `Alone` says
// that tiles of one are fast; `Even` has those of five, and leaves no fewer than four for another
// tile, if it can: they would wait for their sums.
template <int Most, bool Fours = false, bool Even = false, bool Alone = false, class Tile>
FASTCONV_INLINE void cover_row(std::int64_t pixels, Tile tile) noexcept {
  std::int64_t pixel = 0;
  const auto tiles = [&](auto count, std::int64_t end) __attribute__((always_inline)) {
    constexpr int P = decltype(count)::value;
    for (; pixel + P <= end; pixel += P) {
      const std::int64_t left = end - pixel - P;
      if (Even && P > 3 && left > 0 && (left < 4 || left == 6)) break;
      if (Fours && P > 4 && (left == 1 || left == 5 || (!Alone && left == 2))) break;
      if (Fours && P == 4 && (left == 2 || (!Alone && left == 5))) break;
      tile(count, pixel);
    }
  };
  // Image sizes like 7, 14, 28, 56 are multiples of 7, or fours and a few threes.
  const std::int64_t threes = Most == 4 && pixels >= 6 ? (4 - pixels % 4) % 4 : 0;
  tiles(Constant<Most>{}, pixels - 3 * threes);
  if constexpr (Even) tiles(Constant<5>{}, pixels);
  if constexpr (Fours || Even) tiles(Constant<4>{}, pixels);
  tiles(Constant<3>{}, pixels);
  tiles(Constant<1>{}, pixels);
}

// Calls tile(whether partial, channel, lanes) for the vectors of channels [channel, channels);
// where masks cost nothing all are partial.
template <class Arch, class Tile>
FASTCONV_INLINE void cover_channels(int channel, int channels, Tile tile) noexcept {
  constexpr int W = Vector<Arch>::width;
  if constexpr (!Vector<Arch>::free_masks) {
    for (; channel + W <= channels; channel += W) tile(Constant<0>{}, channel, W);
  }
  for (; channel < channels; channel += W) {
    tile(Constant<1>{}, channel, channel + W <= channels ? W : channels - channel);
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
