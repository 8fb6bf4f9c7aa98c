// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "epilogue.hpp"
#include "simd.hpp"
#include "table.hpp"
#include "winograd_transforms.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Winograd's minimal filtering F(m x m, r x r): y = A^T [(G g G^T) * (B^T d B)] A, summed over
// channels between the transforms (Lavin and Gray, Fast Algorithms for Convolutional Neural
// Networks, CVPR 2016, section 4.1). Channels lie along the vectors in all of it; what has its
// pixels there is transposed on the way in (pack_patch) and out (scatter).
//
// The loops over the second dimension stay rolled: what lies between the passes is in memory
// either way, and code stays small. Along one axis there is one pass, in registers.

// Arithmetic of the transforms on vectors.
template <class V>
struct VectorArithmetic {
  static FASTCONV_INLINE V fma(double a, V b, V c) noexcept {
    return V::fma(V::broadcast(static_cast<float>(a)), b, c);
  }
  static FASTCONV_INLINE V multiply(double a, V b) noexcept {
    return V::broadcast(static_cast<float>(a)) * b;
  }
};

template <int Times, bool Unrolled, class Body>
FASTCONV_INLINE void repeat(Body body) noexcept {
  if constexpr (Unrolled) {
    FASTCONV_UNROLL
    for (int i = 0; i < Times; ++i) body(i);
  } else {
    for (int i = 0; i < Times; ++i) body(i);
  }
}

// F(4 x 4, 3 x 3)'s, which many blocks transform, is unrolled, unlike the others: this one is all
// stores, and what lies between the passes in memory would add half as many.
template <class Arch, int M, int R, bool Square>
void winograd_weights(const WinogradWeights& in) {
  using V = Vector<Arch>;
  using T = Winograd<M, R, VectorArithmetic<V>>;
  constexpr int P = T::kPoints;
  constexpr int kRows = Square ? R : 1;
  constexpr bool kUnrolled = Square && M == 4;
  constexpr int kAhead = 256;  // streams, more than hardware follows
  const std::int64_t tap = in.tap_stride;
  const float* g = in.g;
  std::int64_t at[P];  // of a row's points, kept, or each store would take arithmetic
  for (int i = 0; i < P; ++i) at[i] = i * in.point_stride;
  const std::int64_t row_stride = P * in.point_stride;
  float* u = in.u;
  for (const float* const end = g + in.count; g < end; g += V::width, u += V::width) {
    V half[R][P];
    repeat<R, kUnrolled>([&](int s) {
      V column[kRows];
      const float* t = g + s * tap;
      FASTCONV_UNROLL
      for (int r = 0; r < kRows; ++r) column[r] = V::load(t + r * R * tap);
      if constexpr (Square) {
        T::weights(column, half[s]);
      } else {
        half[s][0] = column[0];
      }
      FASTCONV_UNROLL
      for (int r = 0; r < kRows; ++r) __builtin_prefetch(t + r * R * tap + kAhead);
    });
    float* out = u;
    repeat<(Square ? P : 1), kUnrolled>([&](int r) {
      V taps[R], row[P];
      FASTCONV_UNROLL
      for (int s = 0; s < R; ++s) taps[s] = half[s][r];
      T::weights(taps, row);
      FASTCONV_UNROLL
      for (int s = 0; s < P; ++s) row[s].store(out + at[s]);
      out += row_stride;
    });
  }
}

// A row or column of a tile's pixels, in so little code that all transforms share it.
__attribute__((noinline)) inline void fetch_line(const float* x, int pixels,
                                                 std::int64_t stride) noexcept {
  for (int i = 0; i < pixels; ++i) __builtin_prefetch(x + i * stride, 0, 2);
  asm volatile("");  // GCC drops calls of a function that does nothing but fetch
}

template <class Arch, int P, bool Square>
void winograd_input(const WinogradInput& in) {
  using V = Vector<Arch>;
  using T = Winograd<P - 2, 3, VectorArithmetic<V>>;  // any of as many points
  constexpr bool kFetches = P == 6;                   // others are hardly ever taken far from L2
  for (std::int64_t tile = 0; tile < in.tiles; ++tile) {
    for (std::int64_t c = 0; c < in.channels; c += V::width) {
      const float* x = in.x + tile * in.tile_stride + c;
      float* v = in.v + tile * in.pitch + c;
      if constexpr (!Square) {
        V row[P];
        FASTCONV_UNROLL
        for (int j = 0; j < P; ++j) row[j] = V::load(x + j * in.column_stride);
        T::input(row);
        FASTCONV_UNROLL
        for (int j = 0; j < P; ++j) row[j].store(v + j * in.point_stride);
        continue;
      }
      V half[P][P];
      for (int j = 0; j < P; ++j) {
        if (kFetches && in.fetch)
          fetch_line(x + in.tile_stride + j * in.column_stride, P, in.row_stride);
        V column[P];
        FASTCONV_UNROLL
        for (int i = 0; i < P; ++i)
          column[i] = V::load(x + i * in.row_stride + j * in.column_stride);
        T::input(column);
        FASTCONV_UNROLL
        for (int i = 0; i < P; ++i) half[i][j] = column[i];
      }
      for (int i = 0; i < P; ++i) {
        T::input(half[i]);
        FASTCONV_UNROLL
        for (int j = 0; j < P; ++j) half[i][j].store(v + (i * P + j) * in.point_stride);
      }
    }
  }
}

template <class Arch, int M, int R, bool Square>
void winograd_output(const WinogradOutput& out) {
  using V = Vector<Arch>;
  using T = Winograd<M, R, VectorArithmetic<V>>;
  constexpr int P = T::kPoints;
  constexpr bool kFetches = P == 6;
  constexpr int W = V::width;
  for (std::int64_t tile = 0; tile < out.tiles; ++tile) {
    const std::int64_t left = out.pixels - tile * out.tile_pixels;
    int columns = M;
    while ((columns - 1) * out.column_pixels >= left) --columns;
    for (int k = 0; k < out.channels; k += W) {
      const float* m = out.m + tile * out.pitch + k;
      V half[Square ? M : 1][P];
      for (int j = 0; j < P; ++j) {
        V column[P];
        if constexpr (Square) {
          FASTCONV_UNROLL
          for (int i = 0; i < P; ++i) column[i] = V::load(m + (i * P + j) * out.point_stride);
          T::output(column);
          FASTCONV_UNROLL
          for (int i = 0; i < M; ++i) half[i][j] = column[i];
        } else {
          half[0][j] = V::load(m + j * out.point_stride);
        }
      }
      const V bias = out.bias != nullptr ? V::load(out.bias + k) : V::zero();
      const int lanes = out.channels - k < W ? out.channels - k : W;
      for (int i = 0; i < out.rows; ++i) {
        if (kFetches && out.fetch) {
          const float* next = out.y + i * out.y_row_stride + (tile + 1) * out.y_tile_stride + k;
          fetch_line(next, M, out.y_column_stride);
        }
        T::output(half[i]);
        V sum[M][1];
        FASTCONV_UNROLL
        for (int j = 0; j < M; ++j) sum[j][0] = half[i][j] + bias;
        float* y = out.y + i * out.y_row_stride + tile * out.y_tile_stride + k;
        const float* residual =
            out.residual != nullptr
                ? out.residual + i * out.residual_row_stride + tile * out.residual_tile_stride + k
                : nullptr;
        finish_tile<Arch>(
            *out.epilogue, residual, [&](int j) { return j * out.residual_column_stride; }, y,
            [&](int j) { return j * out.y_column_stride; }, lanes, sum, columns);
      }
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
