// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "depthwise_tiles.hpp"
#include "epilogue.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Depthwise convolution of few interleaved channels. A row is a line of floats to it, in which a
// filter's columns are some floats apart, and a vector takes pixels and parts of pixels as they
// come: so do its weights and bias, from lines of their own that repeat every channel's.
//
// Vectors that begin with the same channel have weights in common, and a tile is some of those:
// side by side in two rows of x in place, where a loaded vector serves both, or one below the other
// in a patch. (Lines of more rows would lie in few sets of L1 where images are as wide as powers of
// two.)

struct InterleavedTile {
  std::int64_t row;    // the first one
  int rows;            // of y
  std::int64_t at;     // the first vector, in floats from the beginning of a line
  std::int64_t phase;  // the channel that it begins with
  int lanes;           // of its vectors
  // Floats from a vector to the next.
  std::int64_t x_step, y_step, residual_step;
};

template <class Arch, int Rows, int Vectors, bool Partial = false>
void interleaved_tile(const InterleavedArguments& d, const InterleavedTile& tile) noexcept {
  using V = Vector<Arch>;
  V sum[Rows * Vectors][1];
  FASTCONV_UNROLL
  for (auto& of_vector : sum) of_vector[0] = V::zero();
  const std::int64_t row_taps = d.kernel_w * d.weights_pitch;
  const float* weights = d.weights + tile.phase;
  const float* const* in = d.inputs + tile.row;
  // An image row under rows [First, Last] of the tile, the first of which has it under `weights`.
  const auto add_row = [&](auto first, auto last) __attribute__((always_inline)) {
    constexpr int First = decltype(first)::value, Last = decltype(last)::value;
    const float* x = *in++;
    if (x == nullptr) return;
    x += tile.at;
    const float* weight = weights;
    for (std::int64_t s = 0; s < d.kernel_w; ++s, weight += d.weights_pitch, x += d.column_step) {
      V taps[Rows];
      FASTCONV_UNROLL
      for (int i = First; i <= Last; ++i) taps[i] = V::load(weight - (i - First) * row_taps);
      const float* from = x;
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v, from += tile.x_step) {
        const V pixels = Partial ? V::load_first(from, tile.lanes) : V::load_once(from);
        FASTCONV_UNROLL
        for (int i = First; i <= Last; ++i) {
          V& to = sum[i * Vectors + v][0];
          to = V::fma(pixels, taps[i], to);
        }
      }
    }
  };
  add_row(Constant<0>{}, Constant<0>{});
  for (std::int64_t r = 1; r < d.kernel_h; ++r) {
    weights += row_taps;
    add_row(Constant<0>{}, Constant<Rows - 1>{});
  }
  if constexpr (Rows > 1) add_row(Constant<1>{}, Constant<1>{});
  if (d.bias != nullptr) {
    const V bias = V::load(d.bias + tile.phase);
    FASTCONV_UNROLL
    for (auto& of_vector : sum) of_vector[0] = of_vector[0] + bias;
  }
  const float* residual = d.residual;
  if (residual != nullptr) residual += tile.row * d.residual_row_stride + tile.at;
  finish_tile<Arch>(
      *d.epilogue, residual,
      [&](int i) { return i / Vectors * d.residual_row_stride + i % Vectors * tile.residual_step; },
      d.y + tile.row * d.y_row_stride + tile.at,
      [&](int i) { return i / Vectors * d.y_row_stride + i % Vectors * tile.y_step; },
      Partial ? tile.lanes : V::width, sum, Rows > 1 ? tile.rows * Vectors : tile.rows);
}

// Two rows, or the last one.
template <class Arch>
void interleaved_rows(const InterleavedArguments& d, std::int64_t row) noexcept {
  constexpr int W = Vector<Arch>::width;
  InterleavedTile tile{row, row + 1 < d.rows ? 2 : 1, 0, 0, W, d.period, d.period, d.period};
  std::int64_t begin = 0;
  const auto tiles = [&](auto vectors) {
    constexpr int Vectors = decltype(vectors)::value;
    for (; begin + Vectors * d.period <= d.count; begin += Vectors * d.period) {
      tile.phase = 0;
      for (tile.at = begin; tile.at < begin + d.period; tile.at += W) {
        interleaved_tile<Arch, 2, Vectors>(d, tile);
        tile.phase = (tile.phase + W) % d.channels;
      }
    }
  };
  tiles(Constant<6>{});
  tiles(Constant<3>{});
  tiles(Constant<1>{});
}

template <class Arch>
void interleaved_patch(const InterleavedArguments& d) noexcept {
  constexpr int W = Vector<Arch>::width, Rows = kInterleavedRows;
  InterleavedTile tile{0, 0, 0, 0, W, d.patch_pitch, d.y_row_stride, d.residual_row_stride};
  for (; tile.at < d.count; tile.at += W, tile.phase = tile.at % d.channels) {
    if (d.count - tile.at < W) tile.lanes = static_cast<int>(d.count - tile.at);
    for (tile.row = 0; tile.row < d.rows; tile.row += Rows) {
      tile.rows = d.rows - tile.row < Rows ? static_cast<int>(d.rows - tile.row) : Rows;
      interleaved_tile<Arch, 1, Rows, true>(d, tile);
    }
  }
}

template <class Arch>
void depthwise_interleaved(const InterleavedArguments& d) {
  if (d.patch_pitch > 0) return interleaved_patch<Arch>(d);
  for (std::int64_t row = 0; row < d.rows; row += 2) interleaved_rows<Arch>(d, row);
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
