// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "epilogue.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Channels x Rows x Vectors sums of neighbouring outputs: pixels lie along the vectors, weights are
// broadcast, and x is read at every tap's own offset without packing. Where output rows lie one
// image row apart a loaded row can serve all those over it (Shared, for filters of Rows - 1 rows
// and more): for a 3x3 filter and four rows half a load an FMA instead of one.
//
// Every output is one chain of fma in the order (r, s, c), as in micro_gemm, with the same bits.
template <class Arch, int Channels, int Rows, int Vectors, bool Shared, bool Partial>
void direct_tile(const DirectArguments& d, const float* x, const float* weights, int channel,
                 std::int64_t y_offset, std::int64_t residual_offset, int lanes) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  V sum[Channels * Rows][Vectors];
  FASTCONV_UNROLL
  for (int i = 0; i < Channels * Rows; ++i) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[i][v] = V::zero();
  }
  const auto load = [&](const float* p) __attribute__((always_inline)) {
    if constexpr (Partial) return V::load_first(p, lanes);
    // Without sharing 16 registers do not hold what has been loaded.
    constexpr bool once = Shared || (Channels > 1 && V::registers == 32);
    return once ? V::load_once(p) : V::load(p);
  };
  if constexpr (Shared) {
    const std::int64_t row_weights = d.kernel_w * d.channels * d.weight_step;
    // Adds image row h to the output rows from first to last.
    const auto add_row = [&](std::int64_t h, int first, int last) __attribute__((always_inline)) {
      const float* w = weights + (h - last) * row_weights;
      for (std::int64_t s = 0; s < d.kernel_w; ++s) {
        const float* in = x + h * d.row_stride + d.tap_column[s];
        for (std::int64_t c = 0; c < d.channels; ++c, in += d.channel_stride, w += d.weight_step) {
          V column[Vectors];
          FASTCONV_UNROLL
          for (int v = 0; v < Vectors; ++v) column[v] = load(in + v * W);
          FASTCONV_UNROLL
          for (int row = 0; row < Rows; ++row) {
            if (row < first || row > last) continue;
            FASTCONV_UNROLL
            for (int k = 0; k < Channels; ++k) {
              const V weight = V::broadcast(w[(last - row) * row_weights + k]);
              FASTCONV_UNROLL
              for (int v = 0; v < Vectors; ++v) {
                V& out = sum[k * Rows + row][v];
                out = V::fma(weight, column[v], out);
              }
            }
          }
        }
      }
    };
    FASTCONV_UNROLL
    for (int row = 0; row < Rows - 1; ++row) add_row(row, 0, row);
    for (std::int64_t h = Rows - 1; h < d.kernel_h; ++h) add_row(h, 0, Rows - 1);
    FASTCONV_UNROLL
    for (int row = 1; row < Rows; ++row) add_row(d.kernel_h - 1 + row, row, Rows - 1);
  } else {
    const float* w = weights;
    for (std::int64_t r = 0; r < d.kernel_h; ++r) {
      for (std::int64_t s = 0; s < d.kernel_w; ++s) {
        const float* in = x + r * d.dilation_h * d.row_stride + d.tap_column[s];
        for (std::int64_t c = 0; c < d.channels; ++c, in += d.channel_stride, w += d.weight_step) {
          FASTCONV_UNROLL
          for (int row = 0; row < Rows; ++row) {
            V column[Vectors];
            FASTCONV_UNROLL
            for (int v = 0; v < Vectors; ++v) {
              column[v] = load(in + row * d.stride_h * d.row_stride + v * W);
            }
            FASTCONV_UNROLL
            for (int k = 0; k < Channels; ++k) {
              const V weight = V::broadcast(w[k]);
              FASTCONV_UNROLL
              for (int v = 0; v < Vectors; ++v) {
                V& out = sum[k * Rows + row][v];
                out = V::fma(weight, column[v], out);
              }
            }
          }
        }
      }
    }
  }

  FASTCONV_UNROLL
  for (int k = 0; k < Channels; ++k) {
    if (d.bias == nullptr) break;
    const V bias = V::broadcast(d.bias[channel + k]);
    FASTCONV_UNROLL
    for (int row = 0; row < Rows; ++row) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[k * Rows + row][v] = sum[k * Rows + row][v] + bias;
    }
  }
  // Row i of the tile is output row i % Rows of channel i / Rows.
  const auto at = [](int i, std::int64_t channel_stride, std::int64_t row_stride)
      __attribute__((always_inline)) {
    return i / Rows * channel_stride + i % Rows * row_stride;
  };
  finish_tile<Arch>(
      *d.epilogue, d.residual,
      [&](int i) __attribute__((always_inline)) {
        return residual_offset + at(i, d.residual_channel_stride, d.residual_row_stride);
      },
      d.y,
      [&](int i) __attribute__((always_inline)) {
        return y_offset + at(i, d.y_channel_stride, d.y_row_stride);
      },
      lanes - (Vectors - 1) * W, sum);
}

// Tiles of one group of Channels output channels over a block of rows and columns.
template <class Arch, int Channels, int Rows, int Vectors>
void direct_channels(const DirectArguments& d, const float* weights, int channel) noexcept {
  constexpr int W = Vector<Arch>::width;
  using TileFunction = void (*)(const DirectArguments&, const float*, const float*, int,
                                std::int64_t, std::int64_t, int) noexcept;
  // By the rows that are left (all of Rows, or one) and the columns (all of Vectors, one vector, a
  // part of one).
  // Four channels have work enough for every load without sharing.
  constexpr bool can_share = Channels < 4;
  static constexpr TileFunction apart[3] = {
      direct_tile<Arch, Channels, Rows, Vectors, false, false>,
      direct_tile<Arch, Channels, Rows, 1, false, false>,
      direct_tile<Arch, Channels, Rows, 1, false, true>};
  static constexpr TileFunction shared[3] = {
      direct_tile<Arch, Channels, Rows, Vectors, can_share, false>,
      direct_tile<Arch, Channels, Rows, 1, can_share, false>,
      direct_tile<Arch, Channels, Rows, 1, can_share, true>};
  static constexpr TileFunction flat[3] = {direct_tile<Arch, Channels, 1, Vectors, false, false>,
                                           direct_tile<Arch, Channels, 1, 1, false, false>,
                                           direct_tile<Arch, Channels, 1, 1, false, true>};
  const bool share = d.stride_h == 1 && d.dilation_h == 1 && d.kernel_h >= Rows - 1;
  for (std::int64_t row = 0; row < d.rows;) {
    const bool is_tall = d.rows - row >= Rows;
    const TileFunction* tiles = !is_tall ? flat : share ? shared : apart;
    const float* x = d.x + row * d.stride_h * d.row_stride;
    const std::int64_t y = channel * d.y_channel_stride + row * d.y_row_stride;
    const std::int64_t residual = channel * d.residual_channel_stride + row * d.residual_row_stride;
    for (std::int64_t column = 0; column < d.columns;) {
      const std::int64_t left = d.columns - column;
      const bool wide = left >= Vectors * W;
      const int lanes = wide ? Vectors * W : left < W ? static_cast<int>(left) : W;
      // A patch may be read behind its last column, x may not.
      const int kind = wide ? 0 : lanes == W || d.padded ? 1 : 2;
      tiles[kind](d, x + column, weights, channel, y + column, residual + column, lanes);
      column += lanes;
    }
    row += is_tall ? Rows : 1;
  }
}

// Accumulators fill the registers of the level: 32 or 16.
template <class Arch>
void direct(const DirectArguments& d) {
  constexpr bool many = Vector<Arch>::registers == 32;
  for (int channel = 0; channel < d.out_channels;) {
    const std::int64_t lane = d.first_lane + channel;
    const float* weights =
        d.weights + lane / d.weight_step * d.depth * d.weight_step + lane % d.weight_step;
    const std::int64_t in_panel = d.weight_step - lane % d.weight_step;
    std::int64_t left = d.out_channels - channel;
    if (left > in_panel) left = in_panel;
    if (left >= 4) {
      direct_channels<Arch, 4, 2, many ? 3 : 1>(d, weights, channel);
      channel += 4;
    } else if (left == 3) {
      direct_channels<Arch, 3, 2, many ? 4 : 2>(d, weights, channel);
      channel += 3;
    } else if (left == 2) {
      direct_channels<Arch, 2, many ? 4 : 2, 3>(d, weights, channel);
      channel += 2;
    } else {
      direct_channels<Arch, 1, 4, many ? 4 : 3>(d, weights, channel);
      channel += 1;
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
