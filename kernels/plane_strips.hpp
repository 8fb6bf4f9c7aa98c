// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "epilogue.hpp"
#include "simd.hpp"
#include "table.hpp"

// What tiles of adjacent columns cover, how they read it, and how they end.

namespace fastconv::FASTCONV_LEVEL {
namespace {

inline constexpr int kPlaneRows = 7;    // of the tallest tile
inline constexpr int kPlaneLoads = 16;  // that a tap has masks for

// What rows in the padding read.
alignas(64) inline constexpr float kZeroRow[4 * 16 + kMaxPlaneReach] = {};

// K: the filter's height and width, or 0 for any. Rows: of a tile, or 0 where one goes down all
// rows of a strip, of two channels where a strip is one vector of a filter of five rows and more,
// whose sums would wait for each other. Packed: a vector holds two whole rows of an image, which
// follow each other in memory, so that its masks depend on the row.
template <class A, int K_, int Rows_, int Vectors_, int Stride_, bool Masked_ = true,
          bool Packed_ = false>
struct PlaneForm {
  using Arch = A;
  static constexpr int K = K_, Rows = Rows_, Vectors = Vectors_, Stride = Stride_;
  static constexpr bool Masked = Masked_, Packed = Packed_, Rolls = Rows == 0;
  static constexpr int Channels = Rolls && K > 3 && Vectors == 1 ? 2 : 1;
  // Are the taps in registers? Where a tile has two vectors most of a 5x5 filter's may be, too.
  static constexpr bool Held = K == 3 || (K == 5 && Vectors == 2 && Vector<Arch>::registers == 32);
  static constexpr int RowsOfVector = Packed ? 2 : 1;
  static constexpr int Step = Packed ? 2 : Stride;  // image rows from a row of sums to the next
  static constexpr int Loads = Packed ? (Rows - 1) * Step + K : Stride * Vectors;
  // Floats of a row, of y and of x, and whether the next strip's may be fetched: a CPU foresees
  // those of more lines, and beside a single vector that goes down there is no more than the last.
  static constexpr int Outputs = Vectors * Vector<Arch>::width, Inputs = Stride * Outputs;
  static constexpr bool Fetches = !Packed && Inputs <= 32 && (!Rolls || Vectors > 1);

  // Is a load of a tap masked? Registers hold no masks for all of two vectors under five taps and
  // more: the first vector lies in the image but for the left half of a filter.
  static constexpr bool masks(int s, int load) noexcept {
    return Masked &&
           (!Rolls || K == 3 || Vectors == 1 || load >= Stride || (load == 0 && s < K / 2));
  }
};

// Output columns that vectors cover, the same for all channels.
template <class V>
struct PlaneStrip {
  std::int64_t column;  // of the image, under lane 0 and the filter's first column
  int lanes;            // outputs in a row's last vector
  typename V::Mask masks[kMaxPlaneTaps][kPlaneLoads];
};

// A tile of one channel, or of two.
struct PlaneTile {
  std::int64_t top;  // image row under its first one and the filter's
  const float* x;    // there, under lane 0
  const float* weights;
  const float* bias;  // or null
  int rows;           // of sums that exist
  int last_lanes;     // outputs in the last one's last vector
  float* y;
  const float* residual;  // or null
  int channels;
  std::int64_t next_x, next_weights, next_bias;  // from a channel to the next, if there is one
};

// The vectors under tap s of a row, and of stride 2 under the next tap, too.
template <class Form, class V = Vector<typename Form::Arch>>
FASTCONV_INLINE void load_taps(const PlaneArguments& d, const PlaneStrip<V>& strip, const float* in,
                               std::int64_t row, int s, V (&x)[2][Form::Vectors]) noexcept {
  constexpr int Stride = Form::Stride;
  in += s * d.problem->window.dilation.w;
  FASTCONV_UNROLL
  for (int v = 0; v < Form::Vectors; ++v) {
    V part[Stride];
    FASTCONV_UNROLL
    for (int i = 0; i < Stride; ++i, in += V::width) {
      const std::int64_t load = Form::Packed ? row : v * Stride + i;
      part[i] =
          Form::masks(s, v * Stride + i) ? V::load_lanes(in, strip.masks[s][load]) : V::load(in);
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

// Where the rows of a tile lie in y and in the residual.
struct PlaneRows {
  float* y;
  std::int64_t y_stride;
  const float* residual;
  std::int64_t residual_stride;
};

template <class Arch, int Rows, int Vectors>
FASTCONV_INLINE void finish_plane(const Epilogue& epilogue, const PlaneRows& to, int first,
                                  int lanes, Vector<Arch> (&sum)[Rows][Vectors],
                                  int count = Rows) noexcept {
  finish_tile<Arch>(
      epilogue, to.residual,
      [&](int i) __attribute__((always_inline)) { return (first + i) * to.residual_stride; },
      to.y, [&](int i) __attribute__((always_inline)) { return (first + i) * to.y_stride; }, lanes,
      sum, count);
}

// Of a tile that lies in memory, the rows that exist.
template <class Arch, int Vectors>
__attribute__((noinline)) void finish_some(const Epilogue& epilogue, const PlaneRows& to,
                                           const float* stored, int rows, int lanes,
                                           int last_lanes) noexcept {
  using V = Vector<Arch>;
  for (int i = 0; i < rows; ++i) {
    V row[1][Vectors];
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v, stored += V::width) row[0][v] = V::load(stored);
    finish_plane<Arch>(epilogue, to, i, i + 1 < rows ? lanes : last_lanes, row);
  }
}

// A channel's sums.
template <class Form, class V = Vector<typename Form::Arch>>
FASTCONV_INLINE void finish_channel(const PlaneArguments& d, const PlaneStrip<V>& strip,
                                    const PlaneTile& tile, const PlaneRows& to,
                                    V (&sum)[Form::Rows][Form::Vectors]) noexcept {
  using Arch = typename Form::Arch;
  constexpr int Rows = Form::Rows, Vectors = Form::Vectors, W = V::width;
  if (tile.bias != nullptr) {
    const V each = V::broadcast(*tile.bias);
    FASTCONV_UNROLL
    for (int i = 0; i < Rows; ++i) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[i][v] = sum[i][v] + each;
    }
  }
  // Through memory even 5x5 and 7x7 filters take 10 to 20 % longer.
  if constexpr (Form::K > 0) {
    if (tile.rows == Rows && (Form::Packed || tile.last_lanes == strip.lanes)) {
      if constexpr (Form::Packed) {
        V head[Rows - 1][Vectors], last[1][Vectors];
        FASTCONV_UNROLL
        for (int i = 0; i + 1 < Rows; ++i) head[i][0] = sum[i][0];
        last[0][0] = sum[Rows - 1][0];
        finish_plane<Arch>(*d.epilogue, to, 0, strip.lanes, head);
        finish_plane<Arch>(*d.epilogue, to, Rows - 1, tile.last_lanes, last);
      } else {
        finish_plane<Arch>(*d.epilogue, to, 0, strip.lanes, sum);
      }
      return;
    }
  }
  alignas(64) float stored[Rows * Vectors * W];
  FASTCONV_UNROLL
  for (int i = 0; i < Rows; ++i) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[i][v].store(stored + (i * Vectors + v) * W);
  }
  finish_some<Arch, Vectors>(*d.epilogue, to, stored, tile.rows, strip.lanes, tile.last_lanes);
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
