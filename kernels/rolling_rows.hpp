// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simd.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

template <class V, int Sums, int M, int N>
FASTCONV_INLINE void clear_sums(V (&sum)[Sums][M][N]) noexcept {
  FASTCONV_UNROLL
  for (int i = 0; i < Sums; ++i) {
    FASTCONV_UNROLL
    for (int m = 0; m < M; ++m) {
      FASTCONV_UNROLL
      for (int n = 0; n < N; ++n) sum[i][m][n] = V::zero();
    }
  }
}

// The oldest are gone, and the youngest 0.
template <class V, int Sums, int M, int N>
FASTCONV_INLINE void shift_sums(V (&sum)[Sums][M][N]) noexcept {
  FASTCONV_UNROLL
  for (int m = 0; m < M; ++m) {
    FASTCONV_UNROLL
    for (int n = 0; n < N; ++n) {
      FASTCONV_UNROLL
      for (int i = 1; i < Sums; ++i) sum[i - 1][m][n] = sum[i][m][n];
      sum[Sums - 1][m][n] = V::zero();
    }
  }
}

// Goes down the image rows under `rows` output rows of a filter three rows high. Each is visited
// once, for all output rows that it is under, whose sums stay in registers from one image row to
// the next: Sums of M x N vectors, the oldest first.
//
// add_row(sums, first, last) adds an image row, which is under rows first, first + Stride, …, last
// of the filter; advance() goes on to the next one; finish(row, sums) takes an output row.
// `first` and `last`: are the first image row and the last one more than padding?
template <class V, int Stride, int M, int N, class AddRow, class Advance, class Finish>
FASTCONV_INLINE void roll_rows(std::int64_t rows, bool first, bool last, AddRow add_row,
                               Advance advance, Finish finish) noexcept {
  constexpr int Sums = Stride == 1 ? 3 : 2;
  V sum[Sums][M][N];
  clear_sums(sum);
  const auto next = [&]() __attribute__((always_inline)) {
    advance();
    shift_sums(sum);
  };
  if (first) add_row(sum, Constant<0>{}, Constant<0>{});
  next();
  if constexpr (Stride == 1) {
    add_row(sum, Constant<0>{}, Constant<1>{});
    next();
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    if constexpr (Stride == 2) {
      add_row(sum, Constant<1>{}, Constant<1>{});
      advance();
    }
    if (row + Sums <= rows) {
      add_row(sum, Constant<0>{}, Constant<2>{});
    } else if (Stride == 1 && row + 2 == rows) {
      add_row(sum, Constant<1>{}, Constant<2>{});
    } else if (last) {
      add_row(sum, Constant<2>{}, Constant<2>{});
    }
    finish(row, sum[0]);
    next();
  }
}

// The same of a filter K rows high, all of whose rows are added at once: image rows that only some
// of the output rows are under are few beside the others, if exists() tells which are not padding.
template <class V, int K, int Stride, int M, int N, class Exists, class AddRow, class Advance,
          class Finish>
FASTCONV_INLINE void roll_tall(std::int64_t rows, Exists exists, AddRow add_row, Advance advance,
                               Finish finish) noexcept {
  constexpr int Sums = (K + Stride - 1) / Stride;
  V sum[Sums][M][N];
  clear_sums(sum);
  for (std::int64_t row = 1 - Sums; row < rows; ++row) {
    if constexpr (Stride == 2) {
      if (row > 1 - Sums) {
        if (exists()) add_row(sum, Constant<1>{}, Constant<K - 1>{});
        advance();
      }
    }
    if (exists()) add_row(sum, Constant<0>{}, Constant<K - 1>{});
    advance();
    if (row >= 0) finish(row, sum[0]);
    shift_sums(sum);
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
