// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "depthwise_groups.hpp"
#include "depthwise_tiles.hpp"
#include "rolling_rows.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Depthwise convolution with adjacent channels, which lie along the vectors of x, weights and y.
// Input pixels are reached through pointers, so that padding costs nothing but a pointer to zeros.
//
// Taps > 0 is the width of a dense filter moved by Stride: a loaded pixel then serves all the
// outputs over it, about Stride / Taps loads an FMA; a sum still takes its taps in the order (r,
// s). Of a wider filter a row is taken in stretches of kMostTaps, and what is left tap by tap.
inline constexpr int kMostTaps = 7;

// Do the registers hold the pixels under a tap beside the sums? Then those of a dense filter of any
// width and stride 1 stay there for the next tap.
template <class Arch, int Vectors>
inline constexpr bool slides = Vector<Arch>::fuses &&
                               (Vectors == 1 || Vector<Arch>::registers == 32);

template <class Arch, int Pixels, int Vectors, int Taps, int Stride, bool Partial>
void depthwise_tile(const DepthwiseArguments& d, const float* const* pixels, int channel, int lanes,
                    std::int64_t row, std::int64_t pixel) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width, NR = kMaxVectors * W;
  static_assert(Vectors == 1 || (Vectors == kMaxVectors && !Partial));
  V sum[Pixels][Vectors];
  FASTCONV_UNROLL
  for (int p = 0; p < Pixels; ++p) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[p][v] = V::zero();
  }
  const std::int64_t at = d.shift + channel;
  const auto load = [&](const float* in, int v) __attribute__((always_inline)) {
    return Partial ? V::load_first(held(in) + at, lanes) : V::load(in + at + v * W);
  };
  const float* weights = d.weights + channel / NR * d.all_taps * NR + channel % NR;
  TapRows rows{0, d.kernel_h};
  // A tile of three by three is soon done: to find out takes as long as it saves.
  if (Taps != 3 || (V::fuses && d.kernel_h > 3)) {
    rows = tap_rows(d, row);
    pixels += rows.begin * d.row_step;
  }
  // Nor are columns beside the image, up to half a filter on either side.
  constexpr bool skips = Taps > 3;
  [[maybe_unused]] const std::int64_t first = d.first_column - pixel * Stride;
  [[maybe_unused]] const std::int64_t end = d.end_column - pixel * Stride;
  for (std::int64_t r = rows.begin; r < rows.end; ++r, pixels += d.row_step) {
    const float* weight = weights + r * d.row_taps * NR;
    std::int64_t column = 0;
    if constexpr (Taps > 0) {
      do {
        V taps[Taps][Vectors];
        FASTCONV_UNROLL
        for (int s = 0; s < Taps; ++s) {
          FASTCONV_UNROLL
          for (int v = 0; v < Vectors; ++v) taps[s][v] = V::load(weight + s * NR + v * W);
        }
        constexpr int columns = (Pixels - 1) * Stride + Taps;
        FASTCONV_UNROLL
        for (int j = 0; j < columns; ++j) {
          if (skips && j < Taps / 2 && column + j < first) continue;
          if (skips && j >= columns - Taps / 2 && column + j >= end) continue;
          FASTCONV_UNROLL
          for (int v = 0; v < Vectors; ++v) {
            const V x = load(pixels[column + j], v);
            FASTCONV_UNROLL
            for (int s = 0; s < Taps; ++s) {
              const int p = (j - s) / Stride;
              if (j < s || (j - s) % Stride != 0 || p >= Pixels) continue;
              sum[p][v] = V::fma(x, taps[s][v], sum[p][v]);
            }
          }
        }
        weight += Taps * NR;
        column += Taps;
      } while (Taps == kMostTaps && column + Taps <= d.kernel_w);
    }
    if constexpr (Taps == 0 || Taps == kMostTaps) {
      const std::int64_t stride = Taps > 0 ? Stride : d.stride_w;
      const std::int64_t dilation = Taps > 0 ? 1 : d.dilation_w;
      if constexpr (Taps == 0 && Pixels > 1 && slides<Arch, Vectors>) {
        if (stride == 1 && dilation == 1) {
          // The pixels under a tap move on by one to the next.
          V x[Pixels][Vectors];
          FASTCONV_UNROLL
          for (int p = 0; p + 1 < Pixels; ++p) {
            FASTCONV_UNROLL
            for (int v = 0; v < Vectors; ++v) x[p + 1][v] = load(pixels[p], v);
          }
          for (; column < d.kernel_w; ++column, weight += NR) {
            FASTCONV_UNROLL
            for (int v = 0; v < Vectors; ++v) {
              const V tap = V::load(weight + v * W);
              FASTCONV_UNROLL
              for (int p = 0; p < Pixels; ++p) {
                x[p][v] = p + 1 < Pixels ? x[p + 1][v] : load(pixels[column + p], v);
                sum[p][v] = V::fma(x[p][v], tap, sum[p][v]);
              }
            }
          }
          continue;
        }
      }
      // Registers are few, but addresses have scales of two, four and eight.
      const std::int64_t three = Taps > 0 ? 3 * stride : held(3 * stride);
      const std::int64_t five = Taps > 0 ? 5 * stride : held(5 * stride);
      const float* const* in = pixels + column * dilation;
      for (; column < d.kernel_w; ++column, weight += NR, in += dilation) {
        V tap[Vectors];
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) tap[v] = V::load(weight + v * W);
        FASTCONV_UNROLL
        for (int p = 0; p < Pixels; ++p) {
          const float* x = held(in[p == 5 ? five : p % 3 == 0 ? p / 3 * three : p * stride]);
          FASTCONV_UNROLL
          for (int v = 0; v < Vectors; ++v) sum[p][v] = V::fma(load(x, v), tap[v], sum[p][v]);
        }
      }
    }
  }
  finish_pixels<Arch>(d, channel, Partial ? lanes : W, row, pixel,
                      d.y + row * d.y_row_stride + pixel * d.y_pixel_stride + channel,
                      d.y_pixel_stride, sum);
}

// A row of a tile's outputs, from `late` to y.
template <class Arch, int Pixels, bool Partial>
FASTCONV_INLINE void store_late(const DepthwiseArguments& d, const float* late, int channel,
                                int lanes, std::int64_t row, std::int64_t pixel) noexcept {
  using V = Vector<Arch>;
  float* out = d.y + row * d.y_row_stride + pixel * d.y_pixel_stride + channel;
  const float* in = late + row * Pixels * V::width;
  FASTCONV_UNROLL
  for (int p = 0; p < Pixels; ++p, in += V::width, out += d.y_pixel_stride) {
    Partial ? V::load(in).store_first(out, lanes) : V::load(in).store(out);
  }
}

// The same for a dense 3x3 filter and several output rows: each image row is loaded once, for all
// output rows that it is under, whose sums stay in registers from one image row to the next.
//
// A load waits for a store before it that agrees in the address bits below a page. Where x and y
// lie so that most would, outputs go to `late` and from there to y a vector of channels later: up
// to 1.7 times as fast then, a sixth slower else.
template <class Arch, int Pixels, int Stride, bool Partial>
void rolling_tile(const DepthwiseArguments& d, const float* const* pixels, int channel, int lanes,
                  std::int64_t pixel, float* late) noexcept {
  using V = Vector<Arch>;
  constexpr int NR = kMaxVectors * V::width;
  const std::int64_t at = d.shift + channel;
  const float* weight = d.weights + channel / NR * d.all_taps * NR + channel % NR;
  V taps[9];
  FASTCONV_UNROLL
  for (int r = 0; r < 3; ++r, weight += d.row_taps * NR) {
    FASTCONV_UNROLL
    for (int s = 0; s < 3; ++s) taps[r * 3 + s] = V::load(weight + s * NR);
  }
  const auto add_row = [&](auto& sum, auto first, auto last) __attribute__((always_inline)) {
    constexpr int First = decltype(first)::value;
    constexpr int Last = decltype(last)::value;
    FASTCONV_UNROLL
    for (int j = 0; j < (Pixels - 1) * Stride + 3; ++j) {
      const float* in = held(pixels[j]) + at;
      const V x = Partial ? V::load_first(in, lanes) : V::load(in);
      FASTCONV_UNROLL
      for (int r = First; r <= Last; r += Stride) {
        FASTCONV_UNROLL
        for (int s = 0; s < 3; ++s) {
          const int p = (j - s) / Stride;
          if (j < s || (j - s) % Stride != 0 || p >= Pixels) continue;
          V& to = sum[(2 - r) / Stride][p][0];
          to = V::fma(x, taps[r * 3 + s], to);
        }
      }
    }
  };
  const auto advance = [&]() __attribute__((always_inline)) { pixels += d.row_step; };
  float* y = d.y + pixel * d.y_pixel_stride + channel;
  const auto finish = [&](std::int64_t row, auto& sum) __attribute__((always_inline)) {
    if (d.y_aliases && channel > 0) {
      store_late<Arch, Pixels, false>(d, late, channel - V::width, V::width, row, pixel);
    }
    float* out = d.y_aliases ? late + row * Pixels * V::width : y + row * d.y_row_stride;
    finish_pixels<Arch>(d, channel, lanes, row, pixel, out,
                        d.y_aliases ? V::width : d.y_pixel_stride, sum);
  };
  roll_rows<V, Stride, Pixels, 1>(d.rows, d.first_row == 0, d.end_row > (d.rows - 1) * Stride + 2,
                                  add_row, advance, finish);
}

// Asks for what a tile of `count` pixels two further on reads and writes: a CPU does not foresee
// what lies under so many pixels. Of image rows only the last are new; columns are not strided.
__attribute__((noinline)) inline void fetch_ahead(const DepthwiseArguments& d,
                                                  const float* const* pixels, int count,
                                                  int channel, std::int64_t row,
                                                  std::int64_t pixel) noexcept {
  pixels += (d.kernel_h - 1) * d.row_step;
  for (std::int64_t r = 0; r < d.stride_h && r < d.kernel_h; ++r, pixels -= d.row_step) {
    const float* x = *pixels + d.shift + channel + (2 * count + d.kernel_w - 1) * d.fetch;
    for (int j = 0; j < count; ++j, x += d.fetch) __builtin_prefetch(x);
  }
  const float* y = d.y + row * d.y_row_stride + (pixel + 2 * count) * d.y_pixel_stride + channel;
  for (int p = 0; p < count; ++p, y += d.y_pixel_stride) __builtin_prefetch(y, 1);
  // GCC drops calls of a function that does nothing but fetch.
  asm volatile("");
}

template <class Arch, int Taps, int Stride>
void depthwise_rows(const DepthwiseArguments& d) noexcept {
  // Two vectors of 8 lanes are a cache line: where pixels share a few sets of L1, its second half
  // would not be there any more. Two of 16 are two lines, in other sets; all halve the calls.
  constexpr bool few = Vector<Arch>::registers == 16, wide = Taps >= 5;
  // Taps that share no loads have tiles of four and five pixels, too: a row of five was three tiles
  // (5x5 by 3 on 14x14, 672 channels, 21.9 -> 13.9 us, Xeon, AVX-512).
  constexpr bool any = Taps == 0 && Vector<Arch>::width > 4 && !few;
  constexpr bool pairs = Taps == 0 || (Taps == 3 && (few || Stride == 2)) || (wide && !few);
  // Kernels for few pixels, which wait for their sums, are worth their size where vectors are long
  // and filters wide: 8 channels and more of 4x4, 5x5, ...
  constexpr bool single = Vector<Arch>::width > 4 && wide;
  constexpr bool fours = single || (Vector<Arch>::width > 4 && Taps == 3 && !few);
  const std::int64_t row_stride = d.stride_h * d.row_step;
  // What is under a tile stays in L1 for the next row's, or a vector's rows follow each other.
  const std::int64_t together = wide && d.down ? d.rows : 1, next = together * row_stride;
  int done = 0;  // channels that pairs of vectors cover
  std::int64_t covered = d.pixels;
  if constexpr (pairs) {
    constexpr int Two = kMaxVectors * Vector<Arch>::width;
    // Tiles of one vector, which load less, are worth as many calls again.
    const bool slide = Taps == 0 && few && slides<Arch, 1> && d.stride_w == 1 &&
                       d.dilation_w == 1 && d.kernel_w >= 4 && d.kernel_h >= 4 && !d.x_crowds;
    done = slide ? 0 : d.channels / Two * Two;
    const auto tiles = [&](auto count, std::int64_t pixel) {
      constexpr int P = decltype(count)::value, own = P > 1 ? 1 : 0;
      const float* const* top = d.inputs + pixel * d.stride_w;
      for (std::int64_t first = 0; first < d.rows; first += together, top += next) {
        for (int channel = 0; channel < done; channel += Two) {
          const float* const* in = top;
          for (std::int64_t row = first; row < first + together; ++row, in += row_stride) {
            if (d.fetch != 0) fetch_ahead(d, in, P, channel, row, pixel);
            depthwise_tile<Arch, P, kMaxVectors, own * Taps, own * Stride, false>(
                d, in, channel, Vector<Arch>::width, row, pixel);
          }
        }
      }
    };
    if constexpr (wide) {
      // Seven sums wait where a core does two FMAs at once, 14 do not. There are kernels for seven
      // alone, and one vector's for what is left over, no fewer than four.
      const std::int64_t left = d.pixels % 7;
      covered = d.pixels - left;
      if (covered > 0 && left > 0 && left < 4) covered -= 7;
      for (std::int64_t pixel = 0; pixel < covered; pixel += 7) tiles(Constant<7>{}, pixel);
    } else {
      cover_row<Taps == 3 && few ? 4 : 7, fours, any>(done > 0 ? d.pixels : 0, tiles);
    }
  }
  constexpr bool even = wide && Stride == 1 && !few;
  // Tiles of one vector, of pixels from `begin` on and channels [from, to).
  const auto rest = [&](std::int64_t begin, int from, int to) {
    const std::int64_t pixels = from < to ? d.pixels - begin : 0;
    cover_row<7, fours && !even, even, single>(pixels, [&](auto count, std::int64_t pixel) {
      constexpr int P = decltype(count)::value;
      pixel += begin;
      const float* const* top = d.inputs + pixel * d.stride_w;
      for (std::int64_t first = 0; first < d.rows; first += together, top += next) {
        cover_channels<Arch>(from, to, [&](auto partial, int channel, int lanes) {
          constexpr bool Partial = decltype(partial)::value != 0;
          // Where masks take time a part of a vector has kernels of its own for three taps alone.
          constexpr bool whole = !Partial || Vector<Arch>::free_masks || Taps == 3;
          constexpr int own = whole && (P > 1 || single) ? 1 : 0;
          constexpr int T = own * Taps, S = own * Stride;
          const float* const* in = top;
          for (std::int64_t row = first; row < first + together; ++row, in += row_stride) {
            if (d.fetch != 0) fetch_ahead(d, in, P, channel, row, pixel);
            depthwise_tile<Arch, P, 1, T, S, Partial>(d, in, channel, lanes, row, pixel);
          }
        });
      }
    });
  };
  // Pixels that pairs leave of their channels, then the other channels: called from one place, or
  // its tiles would be there twice.
  for (bool paired = wide && !few;; paired = false) {
    rest(paired ? covered : 0, paired ? 0 : done, paired ? done : d.channels);
    if (!paired) break;
  }
}

// A pixel of every row. Sums that roll would wait for each other, so its column is a row's pixels:
// 64 channels 3x3 at 25x5, NHWC, 2.5 -> 1.7 us (Xeon, AVX-512).
template <class Arch>
void single_column(DepthwiseArguments d, std::int64_t pixel) noexcept {
  d.inputs += pixel * d.stride_w;
  d.stride_w = d.stride_h * d.row_step;
  d.pixels = d.rows;
  d.rows = 1;
  d.first_row = 0;
  d.end_row = d.kernel_h;
  d.fetch = 0;
  d.y += pixel * d.y_pixel_stride;
  d.y_pixel_stride = d.y_row_stride;
  if (d.residual != nullptr) d.residual += pixel * d.residual_pixel_stride;
  d.residual_pixel_stride = d.residual_row_stride;
  depthwise_rows<Arch, 0, 0>(d);
}

template <class Arch, int Stride>
void rolling_rows(const DepthwiseArguments& d) noexcept {
  cover_row<7, true>(d.pixels, [&](auto count, std::int64_t pixel) {
    constexpr int P = decltype(count)::value;
    if constexpr (P == 1) {
      single_column<Arch>(d, pixel);
    } else {
      const float* const* pixels = d.inputs + pixel * d.stride_w;
      alignas(64) float late[kMaxDepthwiseRows * P * Vector<Arch>::width];
      cover_channels<Arch>(0, d.channels, [&](auto partial, int channel, int lanes) {
        constexpr bool Partial = decltype(partial)::value != 0;
        rolling_tile<Arch, P, Stride, Partial>(d, pixels, channel, lanes, pixel, late);
        for (std::int64_t row = 0; d.y_aliases && channel + lanes == d.channels && row < d.rows;
             ++row) {
          store_late<Arch, P, Partial>(d, late, channel, lanes, row, pixel);
        }
      });
    }
  });
}

// What lies together in memory under a filter of one tap: a pixel's channels, or a row's pixels.
struct Stretch {
  std::int64_t floats;
  const float* weights;  // again from the first after `period`
  const float* bias;     // likewise, or null
  std::int64_t period;
};
inline constexpr int kStretch = 8;  // vectors of one at a time

// Stretches of a row, which begin with its first pixels. Loads and stores ascend, which prefetchers
// ask for: 256 channels of 14x14 9.0 -> 6.7 us (Xeon, AVX2).
template <class Arch>
__attribute__((noinline)) void scale(const DepthwiseArguments& d, const Stretch& s,
                                     std::int64_t row, std::int64_t count) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  const float* const* inputs = d.inputs + row * d.stride_h * d.row_step;
  for (std::int64_t pixel = 0; pixel < count; ++pixel, inputs += d.stride_w) {
    const float* x = *inputs + d.shift;
    float* y = d.y + row * d.y_row_stride + pixel * d.y_pixel_stride;
    const float* residual = d.residual;
    if (residual != nullptr) {
      residual += row * d.residual_row_stride + pixel * d.residual_pixel_stride;
    }
    std::int64_t left = s.floats, at = 0;
    const auto tiles = [&](auto vectors) __attribute__((always_inline)) {
      constexpr int Vectors = decltype(vectors)::value, whole = (Vectors - 1) * W;
      for (; left > whole; left -= Vectors * W) {
        const int lanes = left < whole + W ? static_cast<int>(left - whole) : W;
        V sum[1][Vectors];
        const float* weights = s.weights + at;
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v, x += W) {
          const V value = v < Vectors - 1 ? V::load(x) : V::load_first(x, lanes);
          sum[0][v] = V::fma(value, V::load(weights + v * W), V::zero());
        }
        if (s.bias != nullptr) {
          const float* bias = s.bias + at;
          FASTCONV_UNROLL
          for (int v = 0; v < Vectors; ++v) sum[0][v] = sum[0][v] + V::load(bias + v * W);
        }
        const auto offset = [](int) { return 0; };
        finish_tile<Arch>(*d.epilogue, residual, offset, y, offset, lanes, sum);
        y += Vectors * W;
        if (residual != nullptr) residual += Vectors * W;
        at += Vectors * W;
        if (at >= s.period) at -= s.period;
      }
    };
    tiles(Constant<kStretch>{});
    tiles(Constant<2>{});
    tiles(Constant<1>{});
  }
}

// `count` floats again and again.
template <class V>
void repeat(const float* in, int count, int floats, float* out) noexcept {
  constexpr int W = V::width;
  const int whole = (W + count - 1) / count * count;
  for (int i = 0; i < count; i += W) V::load(in + i).store(out + i);
  for (int i = count; i < whole; i += count) V::load(in).store(out + i);
  for (int i = whole; i < floats; i += W) V::load(out + i - whole).store(out + i);
}

// Filters of one tap: a call for each tile would take longer than what it does. Many channels are
// taken pixel by pixel, as they follow each other in memory, and so are a row's pixels of few where
// they do, too (49 channels of 24x24 7.0 -> 3.8 us, 64 of 56x56 37 -> 30; Xeon, AVX-512).
template <class Arch>
void scale_rows(const DepthwiseArguments& d) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width, kFew = 256, kTile = kStretch * W;
  const int channels = d.channels, period = (kTile + channels - 1) / channels * channels;
  const std::int64_t stride = d.stride_w, shift = d.shift, last = d.pixels - 1;
  const bool follow = channels < kFew && last > 1 && stride == 1 && d.y_pixel_stride == channels &&
                      (d.residual == nullptr || d.residual_pixel_stride == channels);
  float weights[kFew + 2 * kTile + W], bias[kFew + 2 * kTile + W];
  if (follow) {
    repeat<V>(d.weights, channels, period + kTile, weights);
    if (d.bias != nullptr) repeat<V>(d.bias, channels, period + kTile, bias);
  }
  for (std::int64_t row = 0; row < d.rows; ++row) {
    const float* const* const inputs = d.inputs + row * d.stride_h * d.row_step;
    const auto input = [&](std::int64_t pixel) { return inputs[pixel * stride] + shift; };
    // Pointers to the padding, which are all one, there may be two and more of at either end.
    if (follow && input(1) - input(0) == channels && input(last) - input(last - 1) == channels &&
        input(last) - input(0) == last * channels) {
      scale<Arch>(d, {d.pixels * channels, weights, d.bias != nullptr ? bias : nullptr, period},
                  row, 1);
    } else if (channels >= kTile) {
      scale<Arch>(d, {channels, d.weights, d.bias, channels + kTile}, row, d.pixels);
    } else {
      cover_row<7>(d.pixels, [&](auto count, std::int64_t pixel) {
        constexpr int P = decltype(count)::value;
        for (int channel = 0; channel < channels; channel += W) {
          const int left = channels - channel, lanes = left < W ? left : W;
          const V weight = V::load(d.weights + channel);
          V sum[P][1];
          FASTCONV_UNROLL
          for (int p = 0; p < P; ++p) {
            const V x = V::load_first(input(pixel + p) + channel, lanes);
            sum[p][0] = V::fma(x, weight, V::zero());
          }
          finish_pixels<Arch>(d, channel, lanes, row, pixel,
                              d.y + row * d.y_row_stride + pixel * d.y_pixel_stride + channel,
                              d.y_pixel_stride, sum);
        }
      });
    }
  }
}

template <class Arch>
void depthwise(const DepthwiseArguments& d) {
  const auto rows = [&](auto taps) {
    constexpr int T = decltype(taps)::value;
    d.stride_w == 1 ? depthwise_rows<Arch, T, 1>(d) : depthwise_rows<Arch, T, 2>(d);
  };
  if (d.group_out > 1) return grouped_rows<Arch>(d);
  if constexpr (Vector<Arch>::width > 4) {
    if (d.all_taps == 1) return scale_rows<Arch>(d);
  }
  const bool shares = d.dilation_w == 1 && d.stride_w <= 2;
  if (shares && d.kernel_w == 3) {
    if constexpr (Vector<Arch>::registers == 32) {
      // Image rows follow each other as filter rows do, output rows as output pixels.
      if (d.down && d.rows > 1 && d.kernel_h == 3 && d.stride_h == d.stride_w) {
        return d.stride_w == 1 ? rolling_rows<Arch, 1>(d) : rolling_rows<Arch, 2>(d);
      }
      // Of other heights two vectors' sums wait less than one's: 220 channels of 16x16, 9x3, 59.9
      // -> 44.4 us, 128 of 28x28, 1x3, 17.5 -> 13.5 (Xeon, AVX-512).
      if (d.kernel_h != 3 && d.stride_w == 1 && d.channels >= kMaxVectors * Vector<Arch>::width) {
        return depthwise_rows<Arch, 0, 0>(d);
      }
    }
    return rows(Constant<3>{});
  }
  // Where a multiply-add is two operations it takes longer than the load that outputs could share.
  if constexpr (Vector<Arch>::fuses) {
    if (shares && d.kernel_w == 5) return rows(Constant<5>{});
    if (shares && d.kernel_w >= kMostTaps) return rows(Constant<kMostTaps>{});
  }
  depthwise_rows<Arch, 0, 0>(d);
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
