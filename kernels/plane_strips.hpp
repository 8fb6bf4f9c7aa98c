// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simd.hpp"
#include "table.hpp"

// What tiles of adjacent columns cover, and how they read it.

namespace fastconv::FASTCONV_LEVEL {
namespace {

inline constexpr int kPlaneRows = 7;    // of the tallest tile
inline constexpr int kPlaneLoads = 16;  // that a tap has masks for

// What rows in the padding read.
alignas(64) inline constexpr float kZeroRow[4 * 16 + kMaxPlaneReach] = {};

// K: the filter's height and width, or 0 for any. Rows: of a tile, or 0 where one goes down all
// rows of a strip. Packed: a vector holds two whole rows of an image, which follow each other in
// memory, so that its masks depend on the row.
template <class A, int K_, int Rows_, int Vectors_, int Stride_, bool Masked_ = true,
          bool Packed_ = false>
struct PlaneForm {
  using Arch = A;
  static constexpr int K = K_, Rows = Rows_, Vectors = Vectors_, Stride = Stride_;
  static constexpr bool Masked = Masked_, Packed = Packed_, Rolls = Rows == 0;
  // Are the taps in registers? Where a tile has two vectors most of a 5x5 filter's may be, too.
  static constexpr bool Held = K == 3 || (K == 5 && Vectors == 2 && Vector<Arch>::registers == 32);
  static constexpr int RowsOfVector = Packed ? 2 : 1;
  static constexpr int Step = Packed ? 2 : Stride;  // image rows from a row of sums to the next
  static constexpr int Loads = Packed ? (Rows - 1) * Step + K : Stride * Vectors;
};

// Output columns that vectors cover, the same for all channels.
template <class V>
struct PlaneStrip {
  std::int64_t column;  // of the image, under lane 0 and the filter's first column
  int lanes;            // outputs in a row's last vector
  typename V::Mask masks[kMaxPlaneTaps][kPlaneLoads];
};

// A tile of one channel.
struct PlaneTile {
  std::int64_t top;  // image row under its first one and the filter's
  const float* x;    // there, under lane 0
  const float* weights;
  const float* bias;  // or null
  int rows;           // of sums that exist
  int last_lanes;     // outputs in the last one's last vector
  float* y;
  const float* residual;  // or null
};

template <class Form, class V = Vector<typename Form::Arch>>
FASTCONV_INLINE void load_taps(const PlaneArguments& d, const PlaneStrip<V>& strip, const float* in,
                               std::int64_t row, std::int64_t s,
                               V (&x)[2][Form::Vectors]) noexcept {
  constexpr int Stride = Form::Stride;
  in += s * d.problem->window.dilation.w;
  FASTCONV_UNROLL
  for (int v = 0; v < Form::Vectors; ++v) {
    V part[Stride];
    FASTCONV_UNROLL
    for (int i = 0; i < Stride; ++i, in += V::width) {
      const std::int64_t load = Form::Packed ? row : v * Stride + i;
      part[i] = Form::Masked ? V::load_lanes(in, strip.masks[s][load]) : V::load(in);
    }
    if constexpr (Stride == 2) {
      separate(part[0], part[1], x[0][v], x[1][v]);
    } else {
      x[0][v] = part[0];
    }
  }
}

// The masks of a strip of columns, which are the same for all rows.
template <class Form, class V>
FASTCONV_INLINE void mask_strip(const Problem& p, PlaneStrip<V>& strip) noexcept {
  const auto clamp = [](std::int64_t i) {
    return static_cast<int>(i < 0 ? 0 : i < V::width ? i : V::width);
  };
  for (std::int64_t s = 0; s < p.window.kernel_size.w; s += Form::Stride) {
    for (int i = 0; i < Form::Loads; ++i) {
      const std::int64_t first = strip.column + s * p.window.dilation.w + i * V::width;
      const int begin = clamp(-first), end = clamp(p.w - first);
      strip.masks[s][i] = V::mask(begin < end ? begin : end, end);
    }
  }
}

// Those of packed rows, from row `top` of the image on.
template <class Form, class V>
FASTCONV_INLINE void mask_packed(const Problem& p, std::int64_t top,
                                 PlaneStrip<V>& strip) noexcept {
  const int width = static_cast<int>(p.w);
  const auto clamp = [&](std::int64_t i) {
    return static_cast<int>(i < 0 ? 0 : i < width ? i : width);
  };
  const auto exists = [&](std::int64_t row) { return row >= 0 && row < p.h; };
  for (std::int64_t s = 0; s < p.window.kernel_size.w; ++s) {
    const std::int64_t first = s * p.window.dilation.w - p.window.padding.left;
    const int begin = clamp(-first), end = clamp(p.w - first);
    const auto row = [&](std::int64_t h, int lane) {
      return begin < end && exists(h) ? V::mask(lane + begin, lane + end) : V::mask(0, 0);
    };
    for (int i = 0; i < Form::Loads; ++i) {
      strip.masks[s][i] = static_cast<typename V::Mask>(row(top + i, 0) | row(top + i + 1, width));
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
