// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// sum += A x B over `depth`. Every step of k loads Vectors of B and broadcasts Rows scalars of A.
template <class V, int Rows, int Vectors, int NR, AForm Form>
FASTCONV_INLINE void accumulate(const float* a, const float* b, std::int64_t depth,
                                V (&sum)[Rows][Vectors]) noexcept {
  constexpr std::int64_t m_step = Form == AForm::columns ? 1 : kRowStride;
  constexpr std::int64_t k_step = Form == AForm::columns ? NR : 1;
  if constexpr (V::has_fma_lane) {
    // Four scalars of A come with one load: of four rows, or of four steps of one row.
    constexpr int steps = Form == AForm::columns ? 1 : V::width;
    constexpr int group = V::width / steps;
    constexpr int groups = (Rows + group - 1) / group;
    for (; depth >= steps; depth -= steps, a += steps * k_step, b += steps * NR) {
      V scalars[groups];
      FASTCONV_UNROLL
      for (int g = 0; g < groups; ++g) scalars[g] = V::load(a + g * group * m_step);
      FASTCONV_UNROLL
      for (int k = 0; k < steps; ++k) {
        V column[Vectors];
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) column[v] = V::load(b + k * NR + v * V::width);
        FASTCONV_UNROLL
        for (int m = 0; m < Rows; ++m) {
          FASTCONV_UNROLL
          for (int v = 0; v < Vectors; ++v) {
            sum[m][v] = V::fma_lane(scalars[m / group], m % group + k, column[v], sum[m][v]);
          }
        }
      }
    }
  }
  for (; depth > 0; --depth, a += k_step, b += NR) {
    V column[Vectors];
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) column[v] = V::load(b + v * V::width);
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      const V scalar = V::broadcast(a[m * m_step]);
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v] = V::fma(scalar, column[v], sum[m][v]);
    }
  }
}

// The micro-kernel: Rows x Vectors accumulators that stay in registers through the k-loop.
//
// Every output is one chain of fma in ascending depth, continued over k-blocks through `sums`, so
// its bits depend neither on the tile nor on the blocking.
template <class Arch, int Rows, int Vectors, int NR, AForm Form>
void micro_gemm(const TileArguments& tile) {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  V sum[Rows][Vectors];
  if (tile.first) {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v] = V::zero();
    }
  } else {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v] = V::load(tile.sums + m * NR + v * W);
    }
  }

  accumulate<V, Rows, Vectors, NR, Form>(tile.a, tile.b, tile.depth, sum);

  if (!tile.last) {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v].store(tile.sums + m * NR + v * W);
    }
    return;
  }

  if (tile.bias != nullptr && tile.bias_along_rows) {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      const V bias = V::broadcast(tile.bias[m]);
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v] = sum[m][v] + bias;
    }
  } else if (tile.bias != nullptr) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const V bias = V::load(tile.bias + v * W);
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) sum[m][v] = sum[m][v] + bias;
    }
  }

  float* c = tile.c;
  const std::int64_t c_row_stride = tile.c_row_stride;
  if (tile.lanes == Vectors * W) {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m, c += c_row_stride) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v].store(c + v * W);
    }
  } else {
    // A tile is chosen so that only its last vector is partial.
    const int rest = tile.lanes - (Vectors - 1) * W;
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m, c += c_row_stride) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors - 1; ++v) sum[m][v].store(c + v * W);
      sum[m][Vectors - 1].store_first(c + (Vectors - 1) * W, rest);
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
