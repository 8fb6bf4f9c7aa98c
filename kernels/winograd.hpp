// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "epilogue.hpp"
#include "simd.hpp"
#include "table.hpp"
#include "winograd_transforms.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Winograd's minimal filtering F(m x m, 3 x 3): y = A^T [(G g G^T) * (B^T d B)] A, summed over
// channels between the transforms (Lavin and Gray, Fast Algorithms for Convolutional Neural
// Networks, CVPR 2016, section 4.1). Channels lie along the vectors in all of it; what has its
// pixels there is transposed on the way in (pack_patch) and out (scatter).
//
// The loops over the second dimension stay rolled: what lies between the passes is in memory
// either way, and code stays small.

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

template <class Arch, int M, int NR>
void winograd_weights(const float* panel, std::int64_t depth, float* u, bool streamed) {
  using V = Vector<Arch>;
  using T = Winograd<M, VectorArithmetic<V>>;
  constexpr int P = M + 2;
  constexpr int kChunk = 2 * NR;
  const std::int64_t tap = depth * NR;
  // Points lie so far apart in u that they share cache sets: some lines of each at a time.
  float chunk[P * P][kChunk];
  for (std::int64_t begin = 0; begin < tap; begin += kChunk) {
    const std::int64_t count = tap - begin < kChunk ? tap - begin : kChunk;
    for (std::int64_t i = 0; i < count; i += V::width) {
      V half[3][P];
      for (int s = 0; s < 3; ++s) {
        const float* g = panel + s * tap + begin + i;
        T::weights(V::load(g), V::load(g + 3 * tap), V::load(g + 6 * tap), half[s]);
      }
      for (int r = 0; r < P; ++r) {
        V row[P];
        T::weights(half[0][r], half[1][r], half[2][r], row);
        FASTCONV_UNROLL
        for (int s = 0; s < P; ++s) row[s].store(chunk[r * P + s] + i);
      }
    }
    for (int point = 0; point < P * P; ++point) {
      float* out = u + point * tap + begin;
      for (std::int64_t i = 0; i < count; i += V::width) {
        const V row = V::load(chunk[point] + i);
        if (streamed) {
          row.stream(out + i);
        } else {
          row.store(out + i);
        }
      }
    }
  }
  if (streamed) V::end_stream();
}

template <class Arch, int M>
void winograd_input(const WinogradInput& in) {
  using V = Vector<Arch>;
  using T = Winograd<M, VectorArithmetic<V>>;
  constexpr int P = M + 2;
  for (std::int64_t tile = 0; tile < in.tiles; ++tile) {
    for (std::int64_t c = 0; c < in.channels; c += V::width) {
      const float* x = in.x + tile * M * in.column_stride + c;
      float* v = in.v + tile * in.pitch + c;
      V half[P][P];
      for (int j = 0; j < P; ++j) {
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

template <class Arch, int M, int NR>
void winograd_output(const WinogradOutput& out) {
  using V = Vector<Arch>;
  using T = Winograd<M, VectorArithmetic<V>>;
  constexpr int P = M + 2;
  constexpr int W = V::width;
  for (std::int64_t tile = 0; tile < out.tiles; ++tile) {
    const std::int64_t left = out.columns - tile * M;
    for (int k = 0; k < out.channels; k += W) {
      const float* m = out.m + tile * NR + k;
      V half[M][P];
      for (int j = 0; j < P; ++j) {
        V column[P];
        FASTCONV_UNROLL
        for (int i = 0; i < P; ++i) column[i] = V::load(m + (i * P + j) * out.point_stride);
        T::output(column);
        FASTCONV_UNROLL
        for (int i = 0; i < M; ++i) half[i][j] = column[i];
      }
      const V bias = out.bias != nullptr ? V::load(out.bias + k) : V::zero();
      const int lanes = out.channels - k < W ? out.channels - k : W;
      for (int i = 0; i < out.rows; ++i) {
        T::output(half[i]);
        V sum[M][1];
        FASTCONV_UNROLL
        for (int j = 0; j < M; ++j) sum[j][0] = half[i][j] + bias;
        float* y = out.y + i * out.y_row_stride + tile * M * out.y_column_stride + k;
        const float* residual = out.residual != nullptr
                                    ? out.residual + i * out.residual_row_stride +
                                          tile * M * out.residual_column_stride + k
                                    : nullptr;
        if (left >= M) {
          finish_tile<Arch>(
              *out.epilogue, residual, [&](int j) { return j * out.residual_column_stride; }, y,
              [&](int j) { return j * out.y_column_stride; }, lanes, sum);
        } else {
          for (int j = 0; j < left; ++j) {
            V one[1][1] = {{sum[j][0]}};
            finish_tile<Arch>(
                *out.epilogue, residual, [&](int) { return j * out.residual_column_stride; }, y,
                [&](int) { return j * out.y_column_stride; }, lanes, one);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
