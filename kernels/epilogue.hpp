// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "activation.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// A tile of sums in memory, [rows][vectors], and where its rows lie in the residual and in y. Only
// `last_lanes` of a row's last vector are outputs.
struct StoredTile {
  float* sums;
  int rows;
  int vectors;
  int last_lanes;
  const float* const* residual;  // or null
  float* const* y;
};

template <class Arch>
__attribute__((noinline)) void finish_stored(const Epilogue& epilogue,
                                             const StoredTile& tile) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  const int whole = tile.vectors - 1;
  const int last = whole * W;
  const auto add_rows = [&]() {
    float* sum = tile.sums;
    for (int m = 0; m < tile.rows; ++m, sum += last + W) {
      const float* in = tile.residual[m];
      for (int v = 0; v < last; v += W) (V::load(sum + v) + V::load(in + v)).store(sum + v);
      (V::load(sum + last) + V::load_first(in + last, tile.last_lanes)).store(sum + last);
    }
  };
  const bool adds = tile.residual != nullptr;
  if (adds && !epilogue.residual_last) add_rows();
  activate<Arch>(tile.sums, tile.rows * tile.vectors, epilogue);
  if (adds && epilogue.residual_last) add_rows();
  const float* sum = tile.sums;
  for (int m = 0; m < tile.rows; ++m, sum += last + W) {
    float* out = tile.y[m];
    for (int v = 0; v < last; v += W) V::load(sum + v).store(out + v);
    const V x = V::load(sum + last);
    tile.last_lanes == W ? x.store(out + last) : x.store_first(out + last, tile.last_lanes);
  }
}

template <class V, int Rows, int Vectors, class Offset>
FASTCONV_INLINE void add_residual(const float* residual, Offset offset, int last_lanes,
                                  V (&sum)[Rows][Vectors]) noexcept {
  FASTCONV_UNROLL
  for (int m = 0; m < Rows; ++m) {
    const float* in = residual + offset(m);
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors - 1; ++v, in += V::width) sum[m][v] = sum[m][v] + V::load(in);
    V& last = sum[m][Vectors - 1];
    last = last + (V::finishes_partial ? V::load_first(in, last_lanes) : V::load(in));
  }
}

template <class V, int Rows, int Vectors>
FASTCONV_INLINE void clamp_tile(const Epilogue& epilogue, V (&sum)[Rows][Vectors]) noexcept {
  const Range<V> range(epilogue);
  FASTCONV_UNROLL
  for (int m = 0; m < Rows; ++m) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[m][v] = V::clamp(sum[m][v], range.low, range.high);
  }
}

// What a row's last vector has beyond its outputs is written, too, but by the last `careful` rows:
// by others where it becomes outputs of those that follow.
template <class V, int Rows, int Vectors, class Offset>
FASTCONV_INLINE void store_tile(const V (&sum)[Rows][Vectors], float* y, Offset y_offset,
                                int last_lanes, int careful = Rows) noexcept {
  const bool partial = last_lanes < V::width;
  const auto store_rows = [&](auto is_partial) __attribute__((always_inline)) {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      float* out = y + y_offset(m);
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors - 1; ++v, out += V::width) sum[m][v].store(out);
      const V& last = sum[m][Vectors - 1];
      const bool exact = is_partial.value && m >= Rows - careful;
      exact ? last.store_first(out, last_lanes) : last.store(out);
    }
  };
  partial ? store_rows(Constant<1>()) : store_rows(Constant<0>());
}

// To memory, in whole vectors whatever the tile's are.
template <class Arch, class V, int Rows, int Vectors, int Floats>
FASTCONV_INLINE void spill_tile(const V (&sum)[Rows][Vectors],
                                float (&sums)[Rows][Floats]) noexcept {
  FASTCONV_UNROLL
  for (int m = 0; m < Rows; ++m) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      Vector<Arch>::widen(sum[m][v]).store(sums[m] + v * Vector<Arch>::width);
    }
  }
}

// Other activations, unrolled into every kernel, would be a good part of the library,
// and visit memory.
template <class Arch, class V, int Rows, int Vectors>
FASTCONV_INLINE void activate_tile(const Epilogue& epilogue, V (&sum)[Rows][Vectors]) noexcept {
  if (is_clamp(epilogue.activation)) return clamp_tile(epilogue, sum);
  if (__builtin_expect(epilogue.activation == Activation::none, 1)) return;
  constexpr int W = Vector<Arch>::width;
  alignas(64) float sums[Rows][Vectors * W];
  spill_tile<Arch>(sum, sums);
  activate<Arch>(sums[0], Rows * Vectors, epilogue);
  FASTCONV_UNROLL
  for (int m = 0; m < Rows; ++m) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[m][v] = V::load(sums[m] + v * W);
  }
}

// What happens to a tile of sums, bias included, before its one store: residual and activation in
// the order that the epilogue asks for. Row m lies at y + y_offset(m) and residual +
// residual_offset(m); only `last_lanes` of its last vector are outputs, and only `rows` of the
// rows.
//
// What a large tile leaves to memory comes back to its registers (24 to 144 channels 1x1 at 56x56,
// hardswish, 217 -> 182 us, Xeon, AVX-512). Small ones, whose kernels have others' sums there, are
// finished elsewhere: what a call in between does to their registers took 3 to 8 % of a depthwise
// layer without any activation, and 15 to 25 % where GCC did not know that it is rare (NCHW, 672
// channels 5x5 at 14x14 84 -> 67 us).
template <class Arch, class V, int Rows, int Vectors, class ResidualOffset, class Offset>
FASTCONV_INLINE void finish_tile(const Epilogue& epilogue, const float* residual,
                                 ResidualOffset residual_offset, float* y, Offset y_offset,
                                 int last_lanes, V (&sum)[Rows][Vectors], int rows = Rows,
                                 int careful = Rows) noexcept {
  constexpr bool kReturns = Rows * Vectors > 8;
  const bool clamps = is_clamp(epilogue.activation);
  const bool partial = last_lanes < V::width;
  const bool left = !kReturns && ((!clamps && epilogue.activation != Activation::none) ||
                                  (residual != nullptr && epilogue.residual_last));
  if (__builtin_expect(left || rows < Rows, 0) || (partial && !V::finishes_partial)) {
    alignas(64) float sums[Rows][Vectors * Vector<Arch>::width];
    const float* residual_rows[Rows];
    float* y_rows[Rows];
    spill_tile<Arch>(sum, sums);
    for (int m = 0; m < rows; ++m) {
      if (residual != nullptr) residual_rows[m] = residual + residual_offset(m);
      y_rows[m] = y + y_offset(m);
    }
    finish_stored<Arch>(epilogue, {sums[0], rows, Vectors, last_lanes,
                                   residual != nullptr ? residual_rows : nullptr, y_rows});
    return;
  }
  if constexpr (kReturns) {
    // Going by both steps for nothing is felt by shallow tiles: 16 to 64 channels 1x1 at 112x112,
    // NHWC, 80 -> 85 GFLOP/s (Xeon, AVX2).
    const bool plain = residual == nullptr && epilogue.activation == Activation::none;
    for (int step = 0; step < 2 && !plain; ++step) {
      if ((step == 1) != epilogue.residual_last) {
        activate_tile<Arch>(epilogue, sum);
      } else if (residual != nullptr) {
        add_residual(residual, residual_offset, last_lanes, sum);
      }
    }
  } else {
    if (residual != nullptr) add_residual(residual, residual_offset, last_lanes, sum);
    if (clamps) clamp_tile(epilogue, sum);
  }
  store_tile(sum, y, y_offset, last_lanes, careful);
}

// Sums whose lanes lie apart in y or in the residual are transposed, a block of a vector by a
// vector at a time. Where lanes are adjacent but the next ones lie elsewhere, they are just
// finished.
template <class Arch>
void scatter(const ScatterArguments& s) {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  constexpr int kAhead = 2 * kLine;
  const bool has_residual = s.residual != nullptr;
  const bool lanes_adjacent = s.y_strides[0] == 1 && (!has_residual || s.residual_strides[0] == 1);
  const bool columns_adjacent =
      s.y_strides[2] == 1 && (!has_residual || s.residual_strides[2] == 1);
  for (int k = 0; k < s.lanes; k += W) {
    const int lanes = s.lanes - k < W ? s.lanes - k : W;
    for (std::int64_t i = 0; i < s.rows; ++i) {
      const float* sums = s.sums + i * s.row_stride + k;
      float* y = s.y + k * s.y_strides[0] + i * s.y_strides[1];
      const float* residual =
          has_residual ? s.residual + k * s.residual_strides[0] + i * s.residual_strides[1]
                       : nullptr;
      if (lanes_adjacent) {
        for (std::int64_t j = 0; j < s.columns; ++j) {
          V sum[1][1] = {{V::load(sums + j * s.column_stride)}};
          finish_tile<Arch>(
              *s.epilogue, residual, [&](int) { return j * s.residual_strides[2]; }, y,
              [&](int) { return j * s.y_strides[2]; }, lanes, sum);
        }
        continue;
      }
      for (std::int64_t j = 0; j < s.columns; j += W) {
        const int columns = s.columns - j < W ? static_cast<int>(s.columns - j) : W;
        V block[W];
        FASTCONV_UNROLL
        for (int q = 0; q < W; ++q) {
          block[q] = q < columns ? V::load(sums + (j + q) * s.column_stride) : V::zero();
        }
        transpose(block);
        float* to = y + j * s.y_strides[2];
        if (s.fetch) {
          const bool in_row = s.rows == 1 || j + kAhead < s.columns;
          const float* next = to + (in_row ? kAhead : s.y_strides[1] + kAhead - s.columns);
          for (int q = 0; q < lanes; ++q) __builtin_prefetch(next + q * s.y_strides[0], 1);
        }
        const float* from = has_residual ? residual + j * s.residual_strides[2] : nullptr;
        if (columns_adjacent && lanes == W) {
          V sum[W][1];
          FASTCONV_UNROLL
          for (int q = 0; q < W; ++q) sum[q][0] = block[q];
          finish_tile<Arch>(
              *s.epilogue, from, [&](int q) { return q * s.residual_strides[0]; }, to,
              [&](int q) { return q * s.y_strides[0]; }, columns, sum);
          continue;
        }
        float rows[W][W];
        FASTCONV_UNROLL
        for (int q = 0; q < W; ++q) block[q].store(rows[q]);
        for (int q = 0; q < lanes; ++q) {
          float residual_row[W];
          float y_row[W];
          for (int l = 0; l < columns && has_residual; ++l) {
            residual_row[l] = from[q * s.residual_strides[0] + l * s.residual_strides[2]];
          }
          V sum[1][1] = {{V::load(rows[q])}};
          finish_tile<Arch>(
              *s.epilogue, has_residual ? residual_row : nullptr, [](int) { return 0; }, y_row,
              [](int) { return 0; }, columns, sum);
          for (int l = 0; l < columns; ++l) to[q * s.y_strides[0] + l * s.y_strides[2]] = y_row[l];
        }
      }
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
