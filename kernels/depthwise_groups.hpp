// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "depthwise_tiles.hpp"
#include "rolling_rows.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// The input channels under a vector of outputs of narrow groups. Whole groups fill one; others
// straddle the vectors of outputs, and their inputs are up to two vectors. Groups that fill half a
// vector of AVX2's have their inputs in it, for permutations across halves take longer: beside an
// FMA two cycles rather than 0.7 (Zen 3).
template <class Arch>
struct GroupInputs {
  using V = Vector<Arch>;
  static constexpr bool may_straddle = V::width == kMaxWidth;
  static constexpr bool halved = V::width == 8;
  static constexpr int kMost = V::width / 2;  // channels of a group
  using Spread = typename V::Lanes[kMost * kMost];

  int first, count;
  const typename V::Lanes* spread;  // of each input channel over its groups' lanes
  int half = 0;                     // inputs under half a vector
  typename V::Mask second;          // and those of its second one

  GroupInputs(const DepthwiseArguments& d, const Spread& all, int channel, int lanes) noexcept {
    const int group = channel / d.group_out;
    first = group * d.group_in;
    count = (channel + lanes + d.group_out - 1) / d.group_out * d.group_in - first;
    spread = all + (channel - group * d.group_out) * d.group_in;
    if constexpr (halved) {
      half = kMost / d.group_out * d.group_in;
      second = V::mask(kMost, kMost + (count > half ? count - half : 0));
    }
  }
  // For vectors that begin with any channel of a group that one begins with.
  static void set(const DepthwiseArguments& d, Spread& all) noexcept {
    int begin = 0;
    do {
      int lane[V::width];
      for (int i = 0, input = 0, out = begin; i < V::width; ++i) {
        if (halved && i == kMost) input = 0;
        lane[i] = input;
        if (++out < d.group_out) continue;
        out = 0;
        input += d.group_in;
      }
      for (int c = 0; c < d.group_in; ++c) {
        all[begin * d.group_in + c] = V::lanes(lane);
        for (int& of_input : lane) ++of_input;
      }
      begin = (begin + V::width) % d.group_out;
    } while (begin > 0);
  }
  FASTCONV_INLINE bool straddles() const noexcept { return may_straddle && count > V::width; }
  FASTCONV_INLINE V low(const float* in) const noexcept {
    if constexpr (halved) {
      if (half < kMost) {
        const V low = V::load_first(in, half < count ? half : count);
        return V::load_lanes(in + half - kMost, second, low);
      }
    }
    return count >= V::width ? V::load(in) : V::load_first(in, count);
  }
  FASTCONV_INLINE V high(const float* in, V low) const noexcept {
    return straddles() ? V::load_first(in + V::width, count - V::width) : low;
  }
  FASTCONV_INLINE V permute(V x, int c) const noexcept {
    if constexpr (halved) {
      return V::permute_halves(x, spread[c]);
    } else {
      return V::permute(x, spread[c]);
    }
  }
};

// Groups of more than one channel: each input channel of a group is spread over the group's output
// lanes, by a permutation, before it is multiplied.
//
// Taps of a row could share what is spread, but at any time that leaves as many sums to add to as
// the filter is wide, each waiting for the last addition to it: 55 % of the peak for 3x3 filters of
// groups of 8 with AVX-512, where seven sums at a time reach 62 %, and 44 instead of 58 % at
// stride 2.
template <class Arch, int Pixels>
void grouped_tile(const DepthwiseArguments& d, const GroupInputs<Arch>& inputs, const TapRows& taps,
                  const float* const* pixels, int channel, int lanes, std::int64_t row,
                  std::int64_t pixel) noexcept {
  using V = Vector<Arch>;
  constexpr int NR = kMaxVectors * V::width;
  V sum[Pixels][1];
  FASTCONV_UNROLL
  for (int p = 0; p < Pixels; ++p) sum[p][0] = V::zero();
  const std::int64_t tap_row = d.kernel_w * d.group_in * NR;
  const float* weight =
      d.weights + (channel / NR * d.kernel_h + taps.begin) * tap_row + channel % NR;
  const std::int64_t at = d.shift + inputs.first, stride = d.stride_w;
  for (std::int64_t r = taps.begin; r < taps.end; ++r, pixels += d.row_step) {
    for (std::int64_t s = 0; s < d.kernel_w; ++s) {
      // Of an address of its own for each pixel most would wait in vector registers.
      const auto each_pixel = [&](auto load) __attribute__((always_inline)) {
        const float* const* in = pixels + s * d.dilation_w;
        FASTCONV_UNROLL
        for (int p = 0; p < Pixels; ++p, in = held(in + stride)) load(p, held(*in) + at);
      };
      const auto add = [&](auto spread) __attribute__((always_inline)) {
        for (int c = 0; c < d.group_in; ++c, weight += NR) {
          const V tap = V::load(weight);
          FASTCONV_UNROLL
          for (int p = 0; p < Pixels; ++p) sum[p][0] = V::fma(spread(p, c), tap, sum[p][0]);
        }
      };
      V x[Pixels];
      if constexpr (GroupInputs<Arch>::may_straddle) {
        // So few sums are waited for either way.
        if (Pixels <= 3 || inputs.straddles()) {
          V high[Pixels];
          each_pixel([&](int p, const float* pixel_in) __attribute__((always_inline)) {
            x[p] = inputs.low(pixel_in);
            high[p] = inputs.high(pixel_in, x[p]);
          });
          add([&](int p, int c) __attribute__((always_inline)) {
            return V::permute(x[p], high[p], inputs.spread[c]);
          });
          continue;
        }
      }
      each_pixel([&](int p, const float* pixel_in)
                     __attribute__((always_inline)) { x[p] = inputs.low(pixel_in); });
      add([&](int p, int c) __attribute__((always_inline)) { return inputs.permute(x[p], c); });
    }
  }
  finish_pixels<Arch>(d, channel, lanes, row, pixel,
                      d.y + row * d.y_row_stride + pixel * d.y_pixel_stride + channel,
                      d.y_pixel_stride, sum);
}

template <class Body, int... Values>
FASTCONV_INLINE void each_constant(Body body, std::integer_sequence<int, Values...>) noexcept {
  body(Constant<Values>{}...);
}

// The same for a dense 3x3 filter of stride 1 and several output rows, where registers hold the
// sums of all rows that an image row is under: what is spread once serves nine of them. Where a
// core does two FMA of long vectors a cycle, a permutation takes the turn of one: groups of 8,
// NHWC, at 14x14 96 -> 63 us, at 28x28 372 -> 285 (Xeon, AVX-512). roll_rows would have a copy of
// the columns for each of five kinds of rows, 14 KB in all.
template <class Arch, int Pixels>
void grouped_rolling_tile(const DepthwiseArguments& d, const GroupInputs<Arch>& inputs,
                          const float* const* pixels, int channel, int lanes,
                          std::int64_t pixel) noexcept {
  using V = Vector<Arch>;
  constexpr int NR = kMaxVectors * V::width;
  const std::int64_t tap = d.group_in * NR;
  const float* const weights = d.weights + channel / NR * 9 * tap + channel % NR;
  V sum[3][Pixels][1];
  FASTCONV_UNROLL
  for (auto& of_row : sum) {
    FASTCONV_UNROLL
    for (int p = 0; p < Pixels; ++p) of_row[p][0] = V::zero();
  }
  // An image row under output rows `row`, row + 1 and row + 2, of which there may be fewer.
  const auto add_row = [&](std::int64_t row) __attribute__((always_inline)) {
    const bool has[] = {row + 2 < d.rows, row >= -1 && row + 1 < d.rows, row >= 0};
    const auto add_column = [&](auto column) __attribute__((always_inline)) {
      constexpr int J = decltype(column)::value;
      const float* in = pixels[J] + d.shift + inputs.first;
      __builtin_prefetch(in + inputs.count, 0, 2);  // of the next vector, rows further on
      const V low = inputs.low(in);
      [[maybe_unused]] const V high = inputs.high(in, low);
      const auto spread = [&](int c) __attribute__((always_inline)) {
        if constexpr (GroupInputs<Arch>::may_straddle) {
          return V::permute(low, high, inputs.spread[c]);
        } else {
          return inputs.permute(low, c);
        }
      };
      const float* weight = weights;
      for (int c = 0; c < d.group_in; ++c, weight += NR) {
        const V x = spread(c);
        FASTCONV_UNROLL
        for (int r = 0; r < 3; ++r) {
          if (!has[r]) continue;
          FASTCONV_UNROLL
          for (int s = 0; s < 3; ++s) {
            if (J < s || J - s >= Pixels) continue;
            V& to = sum[2 - r][J - s][0];
            to = V::fma(x, V::load(weight + (r * 3 + s) * tap), to);
          }
        }
      }
    };
    const auto add_columns = [&](auto... columns) __attribute__((always_inline)) {
      (add_column(columns), ...);
    };
    each_constant(add_columns, std::make_integer_sequence<int, Pixels + 2>{});
  };
  for (std::int64_t row = -2; row < d.rows; ++row, pixels += d.row_step) {
    const bool padding = row == -2 ? d.first_row > 0 : row + 1 == d.rows && d.end_row <= d.rows + 1;
    if (!padding) add_row(row);
    if (row >= 0) {
      finish_pixels<Arch>(d, channel, lanes, row, pixel,
                          d.y + row * d.y_row_stride + pixel * d.y_pixel_stride + channel,
                          d.y_pixel_stride, sum[0]);
    }
    FASTCONV_UNROLL
    for (int p = 0; p < Pixels; ++p) {
      sum[0][p][0] = sum[1][p][0];
      sum[1][p][0] = sum[2][p][0];
      sum[2][p][0] = V::zero();
    }
  }
}

// The pixels of a tile under a tap, evenly spaced but for the first and the last one, which may be
// padding. There are not as many registers as pointers to 14: half a tile on is another index.
template <int Pixels, int Stride>
struct TapPixels {
  static constexpr int kHalf = Pixels > 8 ? Pixels / 2 : Pixels;
  const float* in[kHalf];
  const float* middle;
  const float* last;
  std::int64_t half;  // floats from a pixel to the one half a tile on

  FASTCONV_INLINE TapPixels(const float* const* pixels, std::int64_t shift) noexcept {
    FASTCONV_UNROLL
    for (int p = 0; p < kHalf; ++p) in[p] = pixels[p * Stride] + shift;
    if constexpr (Pixels > kHalf) {
      middle = pixels[kHalf * Stride] + shift;
      last = pixels[(Pixels - 1) * Stride] + shift;
      half = pixels[(kHalf + 1) * Stride] - pixels[Stride];
    }
  }
  FASTCONV_INLINE const float* at(int p, std::int64_t c, std::int64_t far) const noexcept {
    if (p < kHalf) return in[p] + c;
    if (p == kHalf) return middle + c;
    return p + 1 == Pixels ? last + c : in[p - kHalf] + far;
  }
};

// A vector of outputs of one group, under a dense 3x3 filter: nothing is spread, for every input of
// a pixel is broadcast. Three loaded weights serve the sums of three output rows, so that a step
// takes ten loads for 21 FMAs, where a tile of a product, which takes 15 for 14, waits for them
// (32 groups of 16, NHWC, at 14x14 196 -> 174 us, batch 8 1730 -> 1480, Xeon, AVX-512). The next
// image row is fetched meanwhile (18 of 16 at 56x56 by 2 503 -> 461, also by tiles of 14 pixels).
template <class Arch, int Pixels, int Stride>
void broadcast_tile(const DepthwiseArguments& d, int channel, int lanes, std::int64_t pixel,
                    int count) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width, NR = kMaxVectors * W, Columns = (Pixels - 1) * Stride + 3;
  const std::int64_t tap = std::int64_t{d.group_in} * NR;
  const float* const weights = d.weights + channel / NR * 9 * tap + channel % NR;
  const float* const* const top = d.inputs + pixel * Stride;
  const float* const* pixels = top;
  const float* const* const bottom = top + ((d.rows - 1) * Stride + 2) * d.row_step;
  const auto add_row = [&](auto& sum, auto first, auto last) __attribute__((always_inline)) {
    constexpr int First = decltype(first)::value;
    constexpr int Last = decltype(last)::value;
    // The next row is asked for, or the next group's first, a third under each column of taps.
    const bool more = pixels < bottom;
    const float* const* next = more ? pixels + d.row_step : top;
    const std::int64_t ahead = d.shift + (more ? 0 : d.group_in);
    const float* weight = weights;
    for (int s = 0; s < 3; ++s, weight += tap) {
      for (int c = 0; c < d.group_in; c += kLine) {
        FASTCONV_UNROLL
        for (int j = 0; j < Columns / 3; ++j) __builtin_prefetch(next[j * 3 + s] + ahead + c);
      }
      const TapPixels<Pixels, Stride> in(pixels + s, d.shift);
      const float* step = weight;
      for (std::int64_t c = 0; c < d.group_in; ++c, step += NR) {
        std::int64_t far = 0;
        if constexpr (in.kHalf < Pixels) {
          far = in.half + c;
        }
        V taps[3];
        FASTCONV_UNROLL
        for (int r = First; r <= Last; r += Stride) taps[r] = V::load_once(step + r * 3 * tap);
        FASTCONV_UNROLL
        for (int p = 0; p < Pixels; ++p) {
          const V x = V::broadcast_once(in.at(p, c, far));
          FASTCONV_UNROLL
          for (int r = First; r <= Last; r += Stride) {
            V& to = sum[(2 - r) / Stride][p][0];
            to = V::fma(x, taps[r], to);
          }
        }
      }
    }
  };
  const auto advance = [&]() __attribute__((always_inline)) { pixels += d.row_step; };
  const auto finish = [&](std::int64_t row, auto& sum) __attribute__((always_inline)) {
    finish_pixels<Arch>(d, channel, lanes, row, pixel,
                        d.y + row * d.y_row_stride + pixel * d.y_pixel_stride + channel,
                        d.y_pixel_stride, sum, count);
  };
  roll_rows<V, Stride, Pixels, 1>(d.rows, d.first_row == 0, d.end_row > (d.rows - 1) * Stride + 2,
                                  add_row, advance, finish);
}

// Groups that fill vectors, one after the other.
template <class Arch, int Pixels, int Stride>
void broadcast_groups(const DepthwiseArguments& d, std::int64_t pixel, int count) noexcept {
  constexpr int W = Vector<Arch>::width;
  DepthwiseArguments of_group = d;
  for (int done = 0; done < d.channels; done += d.group_out) {
    for (int channel = 0; channel < d.group_out; channel += W) {
      const int lanes = d.group_out - channel;
      broadcast_tile<Arch, Pixels, Stride>(of_group, channel, lanes < W ? lanes : W, pixel, count);
    }
    of_group.shift += d.group_in;
    of_group.weights += std::int64_t{d.group_lanes} * 9 * d.group_in;
    of_group.y += d.group_out;
    if (d.bias != nullptr) of_group.bias += d.group_lanes;
    if (d.residual != nullptr) of_group.residual += d.group_out;
  }
}

// Rows have a tile's pixels or more, and are taken from their ends: what the first tile has in
// common with the second it does not store.
template <class Arch, int Stride>
void broadcast_rows(const DepthwiseArguments& d) noexcept {
  constexpr int Pixels = kBroadcastPixels[Vector<Arch>::registers == 32];
  std::int64_t end = d.pixels;
  while (end > 0) {
    const auto tile = [&](auto pixels) {
      constexpr int P = decltype(pixels)::value;
      const int count = end < P ? static_cast<int>(end) : P;
      end -= count;
      broadcast_groups<Arch, P, Stride>(d, end, count);
    };
    // By 2 seven sums of a filter's middle row wait for each other. Where pixels lie in four sets
    // of L1, more would evict each other.
    if constexpr (Stride == 2) {
      if (end > Pixels && d.pixels >= 2 * Pixels && !d.x_crowds) {
        tile(Constant<2 * Pixels>{});
        continue;
      }
    }
    tile(Constant<Pixels>{});
  }
}

template <class Arch>
void grouped_rows(const DepthwiseArguments& d) noexcept {
  using V = Vector<Arch>;
  if constexpr (V::width >= kLeastBroadcast) {
    if (d.group_out >= V::width) {
      if (d.stride_w == 1) return broadcast_rows<Arch, 1>(d);
      if constexpr (V::width > kLeastBroadcast) return broadcast_rows<Arch, 2>(d);
    }
  }
  typename GroupInputs<Arch>::Spread spread;
  GroupInputs<Arch>::set(d, spread);
  // Whole ones like the last: a kernel for them would be twice as much text.
  const auto each_vector = [&](auto tile) {
    for (int channel = 0; channel < d.channels; channel += V::width) {
      const int left = d.channels - channel;
      const int lanes = left < V::width ? left : V::width;
      tile(GroupInputs<Arch>(d, spread, channel, lanes), channel, lanes);
    }
  };
  if constexpr (V::registers == 32) {
    const bool dense = d.kernel_h == 3 && d.kernel_w == 3 && d.dilation_w == 1;
    if (dense && d.stride_h == 1 && d.stride_w == 1 && d.rows > 1) {
      cover_row<7>(d.pixels, [&](auto count, std::int64_t pixel) {
        constexpr int P = decltype(count)::value;
        each_vector([&](const auto& inputs, int channel, int lanes) {
          grouped_rolling_tile<Arch, P>(d, inputs, d.inputs + pixel, channel, lanes, pixel);
        });
      });
      return;
    }
  }
  for (std::int64_t row = 0; row < d.rows; ++row) {
    const TapRows taps = tap_rows(d, row);
    const std::int64_t top = row * d.stride_h + taps.begin;
    cover_row<7, (V::width > 4)>(d.pixels, [&](auto count, std::int64_t pixel) {
      constexpr int P = decltype(count)::value;
      const float* const* pixels = d.inputs + top * d.row_step + pixel * d.stride_w;
      each_vector([&](const auto& inputs, int channel, int lanes) {
        grouped_tile<Arch, P>(d, inputs, taps, pixels, channel, lanes, row, pixel);
      });
    });
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
