// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "epilogue.hpp"
#include "plane_strips.hpp"
#include "rolling_rows.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Depthwise convolution with adjacent columns, which lie along the vectors. The image is read in
// place: lanes in the padding are masked off, rows in the padding are read from zeros. What depends
// on the geometry alone is worked out once for all channels, so that a plane of a few vectors costs
// little but its arithmetic.
//
// A tile is Rows x Vectors sums, one below the other. A loaded vector serves every output row that
// it is under, about Stride / K loads an FMA. With stride 2 two loads are separated into even and
// odd columns, which are two taps. Every output is one chain of fma in the order (r, s).

// The sums of one channel.
template <class Form, class V = Vector<typename Form::Arch>>
FASTCONV_INLINE void sum_plane(const PlaneArguments& d, const PlaneStrip<V>& strip,
                               const PlaneTile& tile,
                               V (&sum)[Form::Rows][Form::Vectors]) noexcept {
  constexpr int K = Form::K, Rows = Form::Rows, Vectors = Form::Vectors, Stride = Form::Stride;
  constexpr int NR = kMaxVectors * V::width;
  FASTCONV_UNROLL
  for (int i = 0; i < Rows; ++i) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[i][v] = V::zero();
  }
  const auto add = [&](V weight, const V(&x)[Vectors], int row) __attribute__((always_inline)) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[row][v] = V::fma(weight, x[v], sum[row][v]);
  };
  const Problem& p = *d.problem;
  const Window& window = p.window;
  const float* weights = tile.weights;
  const std::int64_t row_stride = window.dilation.h * p.x_strides[2];
  // Of three rows of taps to find out takes as long as it saves.
  constexpr bool Skips = Form::Held && K > 3;
  const float* const padding = Skips && d.skips_padding ? nullptr : kZeroRow;
  const auto input = [&](std::int64_t row) __attribute__((always_inline)) {
    const std::int64_t h = tile.top + row * window.dilation.h;
    return h > -Form::RowsOfVector && h < p.h ? tile.x + row * row_stride : padding;
  };
  V x[2][Vectors];
  if constexpr (Form::Held) {
    V taps[K * K];
    FASTCONV_UNROLL
    for (int i = 0; i < K * K; ++i) {
      taps[i] = Skips ? V::broadcast_once(weights + i * NR) : V::broadcast(weights[i * NR]);
    }
    FASTCONV_UNROLL
    for (int h = 0; h < (Rows - 1) * Form::Step + K; ++h) {
      const float* in = input(h);
      if (Skips && in == nullptr) continue;
      FASTCONV_UNROLL
      for (int s = 0; s < K; ++s) {
        if (s % Stride == 0) load_taps<Form>(d, strip, in, h, s, x);
        FASTCONV_UNROLL
        for (int row = 0; row < Rows; ++row) {
          const int r = h - row * Form::Step;
          if (r >= 0 && r < K) add(taps[r * K + s], x[s % Stride], row);
        }
      }
    }
  } else if constexpr (K > 0) {
    FASTCONV_UNROLL
    for (int h = 0; h < (Rows - 1) * Form::Step + K; ++h) {
      const float* in = input(h);
      const float* w = weights;
      for (int s = 0; s < K; s += Stride) {
        load_taps<Form>(d, strip, in, h, s, x);
        FASTCONV_UNROLL
        for (int tap = 0; tap < Stride; ++tap, w += NR) {
          if (s + tap == K) break;
          FASTCONV_UNROLL
          for (int row = 0; row < Rows; ++row) {
            const int r = h - row * Form::Step;
            if (r >= 0 && r < K) add(V::broadcast(w[r * K * NR]), x[tap], row);
          }
        }
      }
    }
  } else {
    for (std::int64_t r = 0; r < window.kernel_size.h; ++r) {
      for (std::int64_t s = 0; s < window.kernel_size.w; s += Stride, weights += Stride * NR) {
        const bool both = Stride == 2 && s + 1 < window.kernel_size.w;
        FASTCONV_UNROLL
        for (int row = 0; row < Rows; ++row) {
          const std::int64_t h = row * window.stride.h + r;
          load_taps<Form>(d, strip, input(h), h, s, x);
          add(V::broadcast(weights[0]), x[0], row);
          if (both) add(V::broadcast(weights[NR]), x[1], row);
        }
        if (Stride == 2 && !both) weights -= NR;
      }
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
                                  int lanes, Vector<Arch> (&sum)[Rows][Vectors]) noexcept {
  finish_tile<Arch>(
      epilogue, to.residual,
      [&](int i) __attribute__((always_inline)) { return (first + i) * to.residual_stride; },
      to.y, [&](int i) __attribute__((always_inline)) { return (first + i) * to.y_stride; }, lanes,
      sum);
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

// Asks for what a tile of the next strip reads and writes, `inputs` and `outputs` further on.
// Strips go down a plane, and beside them nothing is that a CPU foresees.
__attribute__((noinline)) inline void fetch_next_strip(const PlaneArguments& d,
                                                       const PlaneTile& tile, int inputs,
                                                       int outputs, int rows) noexcept {
  const Problem& p = *d.problem;
  const Window& window = p.window;
  // The lines that they begin in come with this strip.
  const float* x = tile.x + inputs + kLine - 1;
  for (std::int64_t h = (rows - 1) * window.stride.h + window.kernel_size.h; h > 0; --h) {
    for (int i = 0; i < inputs; i += kLine) __builtin_prefetch(x + i);
    x += window.dilation.h * p.x_strides[2];
  }
  const float* y = tile.y + outputs + kLine - 1;
  for (; rows > 0; --rows) {
    for (int i = 0; i < outputs; i += kLine) __builtin_prefetch(y + i, 1);
    y += window.dilation.h * p.y_strides[2];
  }
  // GCC drops calls of a function that does nothing but fetch.
  asm volatile("");
}

template <class Form, class V = Vector<typename Form::Arch>>
void plane_tile(const PlaneArguments& d, const PlaneStrip<V>& strip,
                const PlaneTile& tile) noexcept {
  using Arch = typename Form::Arch;
  constexpr int Rows = Form::Rows, Vectors = Form::Vectors, W = V::width;
  V sum[Rows][Vectors];
  sum_plane<Form>(d, strip, tile, sum);
  if constexpr (Form::Stride == 2) {
    FASTCONV_UNROLL
    for (int i = 0; i < Rows; ++i) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[i][v] = join_separated(sum[i][v]);
    }
  }
  if (tile.bias != nullptr) {
    const V bias = V::broadcast(*tile.bias);
    FASTCONV_UNROLL
    for (int i = 0; i < Rows; ++i) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[i][v] = sum[i][v] + bias;
    }
  }
  const std::int64_t apart = Form::RowsOfVector * d.problem->window.dilation.h;
  const PlaneRows to{tile.y, apart * d.problem->y_strides[2], tile.residual,
                     apart * d.residual_row_stride};
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

// A tile of a dense 3x3 filter and any number of rows: no image row is loaded twice, and sums are
// finished one after the other, while those of the next rows go on.
template <class Form, class V = Vector<typename Form::Arch>>
void rolling_strip(const PlaneArguments& d, const PlaneStrip<V>& strip,
                   const PlaneTile& tile) noexcept {
  using Arch = typename Form::Arch;
  constexpr int Vectors = Form::Vectors, NR = kMaxVectors * V::width;
  const Problem& p = *d.problem;
  const std::int64_t apart = p.window.dilation.h, step = apart * p.x_strides[2];
  V taps[9];
  FASTCONV_UNROLL
  for (int i = 0; i < 9; ++i) taps[i] = V::broadcast_once(tile.weights + i * NR);
  const float* in = tile.x;
  std::int64_t h = tile.top;
  const auto inside = [&](std::int64_t row) { return row >= 0 && row < p.h; };
  const auto add_row = [&](auto& sum, auto first, auto last) __attribute__((always_inline)) {
    const float* row = inside(h) ? in : kZeroRow;
    FASTCONV_UNROLL
    for (int s = 0; s < 3; ++s) {
      V x[2][Vectors];
      load_taps<Form>(d, strip, row, 0, s, x);
      FASTCONV_UNROLL
      for (int r = decltype(first)::value; r <= decltype(last)::value; ++r) {
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          V& to = sum[2 - r][0][v];
          to = V::fma(taps[r * 3 + s], x[0][v], to);
        }
      }
    }
  };
  const auto advance = [&]() __attribute__((always_inline)) {
    in += step;
    h += apart;
  };
  PlaneRows to{tile.y, apart * p.y_strides[2], tile.residual, apart * d.residual_row_stride};
  const auto finish = [&](std::int64_t, auto& sum) __attribute__((always_inline)) {
    if (tile.bias != nullptr) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[0][v] = sum[0][v] + V::broadcast(*tile.bias);
    }
    finish_plane<Arch>(*d.epilogue, to, 0, strip.lanes, sum);
    to.y += to.y_stride;
    if (to.residual != nullptr) to.residual += to.residual_stride;
  };
  const bool multiplies = !d.skips_padding;
  roll_rows<V, 1, 1, Vectors>(tile.rows, multiplies || inside(h),
                              multiplies || inside(h + (tile.rows + 1) * apart), add_row, advance,
                              finish);
}

// A strip's rows [begin, end) of every channel; those that a dilated filter visits follow each
// other, as in a dense one.
template <class Form, class V = Vector<typename Form::Arch>>
void plane_rows(const PlaneArguments& d, const PlaneStrip<V>& strip, std::int64_t output, int lanes,
                std::int64_t begin, std::int64_t end) noexcept {
  constexpr int W = V::width, NR = kMaxVectors * W;
  constexpr int together = Form::RowsOfVector;
  const Problem& p = *d.problem;
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  using Tile = void (*)(const PlaneArguments&, const PlaneStrip<V>&, const PlaneTile&);
  Tile tall = nullptr;
  if constexpr (Form::Rolls) {
    tall = rolling_strip<Form>;
  } else {
    tall = plane_tile<Form>;
  }
  Tile flat = tall;
  if constexpr (Form::Rolls) {
    // Of any height.
  } else if constexpr (Form::Vectors > 1 && !V::free_masks) {
    using Clear =
        PlaneForm<typename Form::Arch, Form::K, Form::Rows, Form::Vectors, Form::Stride, false>;
    const std::int64_t reach = Form::Stride * Form::Vectors * W + (kernel.w - 1) * dilation.w;
    if (strip.column >= 0 && strip.column + reach <= p.w) tall = flat = plane_tile<Clear>;
  } else if constexpr (Form::Vectors == 1 && !Form::Packed) {
    flat = plane_tile<PlaneForm<typename Form::Arch, 0, 1, 1, Form::Stride>>;
  }
  // Of strips of more lines a CPU does foresee the next.
  constexpr int outputs = Form::Vectors * W, inputs = Form::Stride * outputs;
  const bool fetches = !Form::Packed && inputs <= 32 && d.fetch;
  // What is asked for at once is a tile's.
  const int most = !Form::Rolls ? Form::Rows : fetches ? kPlaneRows : static_cast<int>(d.rows);
  const std::int64_t multiplier = p.k_per_group();
  std::int64_t group = d.first_channel / multiplier, in_group = d.first_channel % multiplier;
  for (std::int64_t k = d.first_channel; k < d.first_channel + d.channels; ++k) {
    const std::int64_t lane = group * d.lanes_per_group + in_group;
    const float* x = d.x + group * p.x_strides[1] + strip.column;
    PlaneTile tile;
    tile.weights = d.weights + lane / NR * p.taps() * NR + lane % NR;
    tile.bias = d.bias != nullptr ? d.bias + lane : nullptr;
    tile.residual = nullptr;
    for (std::int64_t phase = begin; phase < end && phase < begin + dilation.h; ++phase) {
      std::int64_t rows = end - phase;
      if (dilation.h > 1) rows = (rows + dilation.h - 1) / dilation.h;
      for (std::int64_t row = phase; rows > 0;) {
        const std::int64_t sums = (rows + together - 1) / together;
        const bool is_flat = flat != tall && 2 * sums < most;
        const int height = is_flat ? 1 : most;
        tile.top = row * stride.h - padding.top;
        tile.x = x + tile.top * p.x_strides[2];
        tile.rows = static_cast<int>(sums < height ? sums : height);
        tile.last_lanes = rows >= together * tile.rows ? strip.lanes : lanes;
        tile.y = d.y + k * p.y_strides[1] + row * p.y_strides[2] + output;
        if (d.residual != nullptr) {
          tile.residual =
              d.residual + k * d.residual_channel_stride + row * d.residual_row_stride + output;
        }
        if (fetches) fetch_next_strip(d, tile, inputs, outputs, height);
        (is_flat ? flat : tall)(d, strip, tile);
        rows -= together * tile.rows;
        row += together * tile.rows * dilation.h;
      }
    }
    if (++in_group == multiplier) {
      in_group = 0;
      ++group;
    }
  }
}

// The output columns from `output` on that Form's vectors cover.
template <class Form, class V = Vector<typename Form::Arch>>
void plane_strip(const PlaneArguments& d, std::int64_t output, int lanes) noexcept {
  const Problem& p = *d.problem;
  const std::int64_t end = d.first_row + d.rows;
  PlaneStrip<V> strip;
  strip.column = output * Form::Stride - p.window.padding.left;
  strip.lanes = Form::RowsOfVector * lanes - (Form::Vectors - 1) * V::width;
  if constexpr (Form::Packed) {
    constexpr std::int64_t rows = Form::Rows * Form::RowsOfVector;
    for (std::int64_t row = d.first_row; row < end; row += rows) {
      mask_packed<Form>(p, row - p.window.padding.top, strip);
      plane_rows<Form>(d, strip, output, lanes, row, row + rows < end ? row + rows : end);
    }
  } else {
    mask_strip<Form>(p, strip);
    plane_rows<Form>(d, strip, output, lanes, d.first_row, end);
  }
}

template <class Arch, int K, int Stride>
void plane_columns(const PlaneArguments& d) noexcept {
  constexpr int W = Vector<Arch>::width;
  const Problem& p = *d.problem;
  // Half a vector of four is no image's row.
  if constexpr (K > 0 && Stride == 1 && W > 4) {
    // Rows of x, y and the residual follow each other.
    if (2 * p.ow <= W && p.w == p.ow && p.x_strides[2] == p.w && p.y_strides[2] == p.ow &&
        p.window.dilation.h == 1 && (d.residual == nullptr || d.residual_row_stride == p.ow)) {
      plane_strip<PlaneForm<Arch, K, 4, 1, 1, true, true>>(d, 0, static_cast<int>(p.ow));
      return;
    }
  }
  // As many sums as the registers hold beside a 3x3 filter, or most of a 5x5 one; 0 goes down all
  // rows, under masks throughout.
  constexpr bool many = Vector<Arch>::registers == 32;
  constexpr bool rolls = K == 3 && Stride == 1 && many && Vector<Arch>::free_masks;
  constexpr int pairs = rolls ? 0 : many ? kPlaneRows : 4, rows = K == 0 ? 4 : kPlaneRows;
  for (std::int64_t column = 0; column < p.ow;) {
    const std::int64_t left = p.ow - column;
    const bool two = (K == 3 || K == 5) && left > W;
    const std::int64_t most = two ? 2 * W : W;
    const int lanes = static_cast<int>(left < most ? left : most);
    if constexpr (K == 3 || K == 5) {
      if (two) plane_strip<PlaneForm<Arch, K, pairs, 2, Stride>>(d, column, lanes);
    }
    // Alone a vector's sums wait for each other, but not as long as for rows that do not exist.
    const bool roll = rolls && d.rows % rows != 0;
    if constexpr (rolls) {
      if (!two && roll) plane_strip<PlaneForm<Arch, K, 0, 1, Stride>>(d, column, lanes);
    }
    if (!two && !roll) plane_strip<PlaneForm<Arch, K, rows, 1, Stride>>(d, column, lanes);
    column += lanes;
  }
}

template <class Arch>
void depthwise_planes(const PlaneArguments& d) {
  const auto [kernel, stride, padding, dilation, mode] = d.problem->window;
  const std::int64_t size = kernel.h == kernel.w && stride.h == stride.w ? kernel.h : 0;
  const auto run = [&](auto k) {
    constexpr int K = decltype(k)::value;
    d.problem->window.stride.w == 1 ? plane_columns<Arch, K, 1>(d) : plane_columns<Arch, K, 2>(d);
  };
  if (size == 3) {
    run(Constant<3>{});
  } else if (size == 5) {
    run(Constant<5>{});
  } else if (size == 7) {
    run(Constant<7>{});
  } else {
    run(Constant<0>{});
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
