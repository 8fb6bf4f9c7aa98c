// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simd.hpp"
#include "table.hpp"

namespace fastconv {
namespace {

// The micro-kernel: Rows x Vectors accumulators that stay in registers through the k-loop, each
// step of which loads Vectors of B and broadcasts Rows scalars of A.
//
// Every output is one chain of fma in ascending depth, continued over k-blocks through `sums`, so
// its bits depend neither on the tile nor on the blocking.
template <class Arch, int Rows, int Vectors, int NR, AForm Form>
void micro_gemm(const TileArguments& tile) {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  constexpr std::int64_t m_step = Form == AForm::columns ? 1 : kRowStride;
  constexpr std::int64_t k_step = Form == AForm::columns ? NR : 1;
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

  const float* a = tile.a;
  const float* b = tile.b;
  for (std::int64_t k = tile.depth; k > 0; --k) {
    V column[Vectors];
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) column[v] = V::load(b + v * W);
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      const V scalar = V::broadcast(a[m * m_step]);
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v] = V::fma(scalar, column[v], sum[m][v]);
    }
    a += k_step;
    b += NR;
  }

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
}  // namespace fastconv
