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
// The last of several vectors ends where the columns do and overlaps the one before it, so that
// only a row of less than a vector needs masks.
//
// Every output is one chain of fma in the order (r, s, c), as in micro_gemm, with the same bits.
template <class Arch, int Channels, int Rows, int Vectors, bool Shared>
void direct_tile(const DirectArguments& d, const float* x, const float* weights,
                 std::int64_t channel, std::int64_t y_offset, std::int64_t residual_offset,
                 int lanes) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  V sum[Channels * Rows * Vectors][1];  // of channel, row and vector
  FASTCONV_UNROLL
  for (int i = 0; i < Channels * Rows * Vectors; ++i) sum[i][0] = V::zero();
  const int last = Vectors > 1 ? lanes - W : 0;
  const auto column = [&](int v) __attribute__((always_inline)) {
    return v == Vectors - 1 ? last : v * W;
  };
  const auto load = [&](const float* p, int v) __attribute__((always_inline)) {
    if constexpr (Vectors == 1) {
      if (V::free_masks || lanes < W) return V::load_first(p, lanes);
    }
    return Channels > 1 || Shared ? V::load_once(p + column(v)) : V::load(p + column(v));
  };
  if constexpr (Shared) {
    // Adds image row h to the output rows from first to last.
    const auto add_row = [&](std::int64_t h, int first, int last_row)
        __attribute__((always_inline)) {
      const std::int64_t row_weights = d.row_depth * d.weight_step;
      const float* w = weights + (h - last_row) * row_weights;
      const float* image_row = x + h * d.row_stride;
      for (std::int64_t k = 0; k < d.row_depth; ++k, w += d.weight_step) {
        const float* in = image_row + d.offsets[k];
        V pixels[Vectors];
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) pixels[v] = load(in, v);
        FASTCONV_UNROLL
        for (int row = 0; row < Rows; ++row) {
          if (row < first || row > last_row) continue;
          FASTCONV_UNROLL
          for (int c = 0; c < Channels; ++c) {
            const V weight = V::broadcast(w[(last_row - row) * row_weights + c]);
            FASTCONV_UNROLL
            for (int v = 0; v < Vectors; ++v) {
              V& out = sum[(c * Rows + row) * Vectors + v][0];
              out = V::fma(weight, pixels[v], out);
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
    for (std::int64_t k = 0; k < d.depth; ++k, w += d.weight_step) {
      const float* in = x + d.offsets[k];
      const auto pixels = [&](int i) __attribute__((always_inline)) {
        return load(in + i / Vectors * d.row_step, i % Vectors);
      };
      constexpr int count = Rows * Vectors;
      // What there is less of, weights or pixels, stays in registers.
      if constexpr (Channels < count) {
        V weight[Channels];
        FASTCONV_UNROLL
        for (int c = 0; c < Channels; ++c) weight[c] = V::broadcast(w[c]);
        FASTCONV_UNROLL
        for (int i = 0; i < count; ++i) {
          const V pixel = pixels(i);
          FASTCONV_UNROLL
          for (int c = 0; c < Channels; ++c) {
            V& out = sum[c * count + i][0];
            out = V::fma(weight[c], pixel, out);
          }
        }
      } else {
        V pixel[count];
        FASTCONV_UNROLL
        for (int i = 0; i < count; ++i) pixel[i] = pixels(i);
        FASTCONV_UNROLL
        for (int c = 0; c < Channels; ++c) {
          const V weight = V::broadcast(w[c]);
          FASTCONV_UNROLL
          for (int i = 0; i < count; ++i) {
            V& out = sum[c * count + i][0];
            out = V::fma(weight, pixel[i], out);
          }
        }
      }
    }
  }

  FASTCONV_UNROLL
  for (int c = 0; c < Channels; ++c) {
    if (d.bias == nullptr) break;
    const V bias = V::broadcast(d.bias[channel + c]);
    FASTCONV_UNROLL
    for (int i = 0; i < Rows * Vectors; ++i) {
      V& out = sum[c * Rows * Vectors + i][0];
      out = out + bias;
    }
  }
  const auto at = [&](int i, std::int64_t channel_stride, std::int64_t row_stride)
      __attribute__((always_inline)) {
    return i / Vectors / Rows * channel_stride + i / Vectors % Rows * row_stride +
           column(i % Vectors);
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
      lanes < W ? lanes : W, sum);
}

inline constexpr int kSharedRows = 4;  // of a tile of one channel, whether or not they do share

// Tiles of several channels are one row of up to Widest vectors: far memory then sees rows in the
// order of their addresses. (Two rows side by side, 256 bytes at a time, are read and written at
// half the speed from DRAM on Zen 4.) Where a whole row takes few vectors several rows fill the
// registers.
template <int Channels, int Widest>
constexpr int tile_rows(int vectors) noexcept {
  if (Channels == 1) return kSharedRows;
  return Widest / vectors >= 4 ? 4 : Widest / vectors >= 2 ? 2 : 1;
}

using DirectTile = void (*)(const DirectArguments&, const float*, const float*, std::int64_t,
                            std::int64_t, std::int64_t, int) noexcept;

template <int Count>
using UpTo = std::make_integer_sequence<int, Count>;

// Tiles of one group of Channels output channels over a block of rows and columns, of I + 1
// vectors.
template <class Arch, int Channels, int... I>
void direct_channels(const DirectArguments& d, const float* weights, std::int64_t channel,
                     std::integer_sequence<int, I...>) noexcept {
  constexpr int W = Vector<Arch>::width;
  constexpr int widest = sizeof...(I);
  static constexpr DirectTile flat[] = {direct_tile<Arch, Channels, 1, I + 1, false>...};
  static constexpr DirectTile tall[] = {
      direct_tile<Arch, Channels, tile_rows<Channels, widest>(I + 1), I + 1, false>...};
  constexpr bool shares = Channels == 1;
  static constexpr DirectTile shared[] = {
      direct_tile<Arch, Channels, (shares ? kSharedRows : 1), I + 1, shares>...};
  if (Channels == 1 && d.rows == 1 && d.columns >= kSharedRows * widest * W) {
    // Parts of the row take the places of the tile's rows.
    DirectArguments parts = d;
    parts.columns = widest * W;
    parts.rows = d.columns / parts.columns;
    parts.row_step = parts.y_row_stride = parts.residual_row_stride = parts.columns;
    parts.dense_rows = false;
    constexpr std::integer_sequence<int, I...> all;
    direct_channels<Arch, Channels>(parts, weights, channel, all);
    const std::int64_t done = parts.rows * parts.columns;
    parts.x += done;
    parts.y += done;
    if (d.residual != nullptr) parts.residual += done;
    parts.rows = 1;
    parts.columns = d.columns - done;
    if (parts.columns > 0) direct_channels<Arch, Channels>(parts, weights, channel, all);
    return;
  }
  const bool share = shares && d.dense_rows && d.kernel_h >= kSharedRows - 1;
  const int vectors = static_cast<int>((d.columns + W - 1) / W);
  const int per_row = (vectors + widest - 1) / widest;
  const int tall_rows = Channels > 1 && per_row > 1
                            ? 1
                            : tile_rows<Channels, widest>(vectors < widest ? vectors : widest);
  for (std::int64_t row = 0; row < d.rows;) {
    const bool is_tall = d.rows - row >= tall_rows;
    const int height = is_tall ? tall_rows : 1;
    const DirectTile* const tiles = !is_tall ? flat : share ? shared : tall_rows > 1 ? tall : flat;
    const float* x = d.x + row * d.row_step;
    const std::int64_t y = channel * d.y_channel_stride + row * d.y_row_stride;
    const std::int64_t residual = channel * d.residual_channel_stride + row * d.residual_row_stride;
    std::int64_t column = 0;
    for (int tile = 0; tile < per_row; ++tile) {
      // These add up to all vectors; a division is felt on tiny images.
      const int wide = per_row == 1 ? vectors : (vectors + tile) / per_row;
      const std::int64_t left = d.columns - column;
      const int lanes = left < wide * W ? static_cast<int>(left) : wide * W;
      if (d.fetch) {
        const float* next = x + column + (per_row > 1 ? lanes : height * d.row_step);
        for (std::int64_t k = 0; k < d.depth * height; ++k) {
          const float* in = next + d.offsets[k / height] + k % height * d.row_step;
          for (int i = 0; i < lanes; i += kLine) __builtin_prefetch(in + i, 0, 2);
        }
      }
      tiles[wide - 1](d, x + column, weights, channel, y + column, residual + column, lanes);
      column += lanes;
    }
    row += height;
  }
}

// Accumulators fill the registers of the level: 32 or 16.
template <class Arch>
void direct(const DirectArguments& d) {
  constexpr bool many = Vector<Arch>::registers == 32;
  for (std::int64_t channel = 0; channel < d.out_channels;) {
    const std::int64_t lane = d.first_lane + channel;
    const float* weights =
        d.weights + lane / d.weight_step * d.depth * d.weight_step + lane % d.weight_step;
    const std::int64_t in_panel = d.weight_step - lane % d.weight_step;
    std::int64_t left = d.out_channels - channel;
    if (left > in_panel) left = in_panel;
    if (left >= 4) {
      direct_channels<Arch, 4>(d, weights, channel, UpTo<(many ? 6 : 3)>());
      channel += 4;
    } else if (left == 3) {
      direct_channels<Arch, 3>(d, weights, channel, UpTo<(many ? 7 : 4)>());
      channel += 3;
    } else if (left == 2) {
      direct_channels<Arch, 2>(d, weights, channel, UpTo<(many ? 8 : 6)>());
      channel += 2;
    } else {
      direct_channels<Arch, 1>(d, weights, channel, UpTo<(many ? 4 : 3)>());
      channel += 1;
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
