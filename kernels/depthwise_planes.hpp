// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "depthwise_tiles.hpp"
#include "epilogue.hpp"
#include "paired_planes.hpp"
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
      const float* tap = weights + i * NR;
      taps[i] = Skips ? V::broadcast_once(tap) : V::broadcast(*tap);
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
          load_taps<Form>(d, strip, input(h), h, static_cast<int>(s), x);
          add(V::broadcast(weights[0]), x[0], row);
          if (both) add(V::broadcast(weights[NR]), x[1], row);
        }
        if (Stride == 2 && !both) weights -= NR;
      }
    }
  }
}

// Asks for what the next strip finds beside a row of this one, `floats` further on. Strips go down
// a plane, where no CPU foresees that. The line that it begins in comes with this strip.
template <bool IsOutput>
FASTCONV_INLINE void fetch_beside(const float* row, int floats) noexcept {
  row += floats + kLine - 1;
  for (int i = 0; i < floats; i += kLine) __builtin_prefetch(row + i, IsOutput, IsOutput ? 3 : 2);
}

// The same of all rows of a tile.
__attribute__((noinline)) inline void fetch_next_strip(const PlaneArguments& d,
                                                       const PlaneTile& tile, int inputs,
                                                       int outputs, int rows) noexcept {
  const Problem& p = *d.problem;
  const Window& window = p.window;
  const float* x = tile.x;
  for (std::int64_t h = (rows - 1) * window.stride.h + window.kernel_size.h; h > 0; --h) {
    fetch_beside<false>(x, inputs);
    x += window.dilation.h * p.x_strides[2];
  }
  const float* y = tile.y;
  for (; rows > 0; --rows) {
    fetch_beside<true>(y, outputs);
    y += window.dilation.h * p.y_strides[2];
  }
  // GCC drops calls of a function that does nothing but fetch.
  asm volatile("");
}

template <class Form, class V = Vector<typename Form::Arch>>
void plane_tile(const PlaneArguments& d, const PlaneStrip<V>& strip,
                const PlaneTile& tile) noexcept {
  constexpr int Rows = Form::Rows, Vectors = Form::Vectors;
  V sum[Rows][Vectors];
  sum_plane<Form>(d, strip, tile, sum);
  if constexpr (Form::Stride == 2) {
    FASTCONV_UNROLL
    for (int i = 0; i < Rows; ++i) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[i][v] = join_separated(sum[i][v]);
    }
  }
  const std::int64_t apart = Form::RowsOfVector * d.problem->window.dilation.h;
  PlaneRows to{tile.y, apart * d.problem->y_strides[2], tile.residual,
               apart * d.residual_row_stride};
  finish_channel<Form>(d, strip, tile, to, sum);
}

// A tile of a dense filter and any number of rows: no image row is loaded twice, and sums are
// finished one after the other, while those of the next rows go on.
template <class Form, class V = Vector<typename Form::Arch>>
void rolling_strip(const PlaneArguments& d, const PlaneStrip<V>& strip,
                   const PlaneTile& tile) noexcept {
  using Arch = typename Form::Arch;
  constexpr int K = Form::K, Stride = Form::Stride, Vectors = Form::Vectors;
  constexpr int Channels = Form::Channels, NR = kMaxVectors * V::width;
  constexpr int Sums = (K + Stride - 1) / Stride;
  // Taps that registers hold beside the sums and the pixels.
  constexpr int free = (V::registers - (Sums * Channels + Stride) * Vectors - 2) / Channels;
  constexpr int Held = free < K * K ? free : K * K;
  const Problem& p = *d.problem;
  const std::int64_t apart = p.window.dilation.h, step = apart * p.x_strides[2];
  V taps[Channels][Held];
  FASTCONV_UNROLL
  for (int c = 0; c < Channels; ++c) {
    FASTCONV_UNROLL
    for (int i = 0; i < Held; ++i) {
      taps[c][i] = V::broadcast_once(tile.weights + c * tile.next_weights + i * NR);
    }
  }
  const bool fetches = Form::Fetches && d.fetch;
  const float* in = tile.x;
  std::int64_t h = tile.top;
  const auto inside = [&](std::int64_t row) { return row >= 0 && row < p.h; };
  const auto add_row = [&](auto& sum, auto first, auto last) __attribute__((always_inline)) {
    const bool exists = inside(h);
    const float *row[Channels], *weights[Channels];
    FASTCONV_UNROLL
    for (int c = 0; c < Channels; ++c) {
      row[c] = exists ? in + c * tile.next_x : kZeroRow;
      weights[c] = held(tile.weights + c * tile.next_weights);
    }
    FASTCONV_UNROLL
    for (int s = 0; s < K; s += Stride) {
      V x[Channels][2][Vectors];
      FASTCONV_UNROLL
      for (int c = 0; c < Channels; ++c) {
        load_taps<Form>(d, strip, row[c], 0, s, x[c]);
      }
      FASTCONV_UNROLL
      for (int tap = 0; tap < Stride; ++tap) {
        FASTCONV_UNROLL
        for (int r = decltype(first)::value; r <= decltype(last)::value; r += Stride) {
          const int i = r * K + s + tap;
          if (s + tap >= K) continue;
          FASTCONV_UNROLL
          for (int c = 0; c < Channels; ++c) {
            const V weight =
                i < Held ? taps[c][i < Held ? i : 0] : V::broadcast(weights[c][i * NR]);
            FASTCONV_UNROLL
            for (int v = 0; v < Vectors; ++v) {
              V& sums = sum[(K - 1 - r) / Stride][c][v];
              sums = V::fma(weight, x[c][tap][v], sums);
            }
          }
        }
      }
    }
  };
  const auto advance = [&]() __attribute__((always_inline)) {
    if (fetches) fetch_beside<false>(in, Form::Inputs);
    in += step;
    h += apart;
  };
  PlaneRows to{tile.y, p.y_strides[1], tile.residual, d.residual_channel_stride};
  const std::int64_t y_step = apart * p.y_strides[2];
  const std::int64_t residual_step = apart * d.residual_row_stride;
  const auto finish = [&](std::int64_t, auto& sum) __attribute__((always_inline)) {
    FASTCONV_UNROLL
    for (int c = 0; c < Channels; ++c) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        V& sums = sum[c][v];
        if constexpr (Stride == 2) sums = join_separated(sums);
        if (tile.bias != nullptr) sums = sums + V::broadcast(tile.bias[c * tile.next_bias]);
      }
    }
    const int count = Channels > 1 ? tile.channels : 1;
    finish_plane<Arch>(*d.epilogue, to, 0, strip.lanes, sum, count);
    to.y += y_step;
    if (to.residual != nullptr) to.residual += residual_step;
  };
  const bool multiplies = !d.skips_padding;
  if constexpr (K == 3) {
    roll_rows<V, Stride, Channels, Vectors>(tile.rows, multiplies || inside(h),
                                            multiplies || inside(h + (tile.rows + 1) * apart),
                                            add_row, advance, finish);
  } else {
    const auto exists = [&]() { return multiplies || inside(h); };
    roll_tall<V, K, Stride, Channels, Vectors>(tile.rows, exists, add_row, advance, finish);
  }
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
  const bool fetches = !Form::Rolls && Form::Fetches && d.fetch;
  const std::int64_t multiplier = p.k_per_group();
  std::int64_t group = d.first_channel / multiplier, in_group = d.first_channel % multiplier;
  const std::int64_t end_channel = d.first_channel + d.channels;
  PlaneTile tile;
  for (std::int64_t k = d.first_channel; k < end_channel; k += tile.channels) {
    tile.channels = k + Form::Channels <= end_channel ? Form::Channels : 1;
    std::int64_t x_at[Form::Channels], lanes_at[Form::Channels], weights_at[Form::Channels];
    for (int c = 0; c < tile.channels; ++c) {
      const std::int64_t lane = group * d.lanes_per_group + in_group;
      x_at[c] = group * p.x_strides[1];
      lanes_at[c] = lane;
      weights_at[c] = lane / NR * p.taps() * NR + lane % NR;
      if (++in_group == multiplier) {
        in_group = 0;
        ++group;
      }
    }
    const float* x = d.x + x_at[0] + strip.column;
    tile.next_x = x_at[tile.channels - 1] - x_at[0];
    tile.next_bias = lanes_at[tile.channels - 1] - lanes_at[0];
    tile.next_weights = weights_at[tile.channels - 1] - weights_at[0];
    tile.weights = d.weights + weights_at[0];
    tile.bias = d.bias != nullptr ? d.bias + lanes_at[0] : nullptr;
    tile.residual = nullptr;
    for (std::int64_t phase = begin; phase < end && phase < begin + dilation.h; ++phase) {
      std::int64_t rows = end - phase;
      if (dilation.h > 1) rows = (rows + dilation.h - 1) / dilation.h;
      for (std::int64_t row = phase; rows > 0;) {
        const std::int64_t sums = (rows + together - 1) / together;
        const bool is_flat = flat != tall && 2 * sums < Form::Rows;
        const int height = Form::Rolls ? static_cast<int>(sums) : is_flat ? 1 : Form::Rows;
        tile.top = row * stride.h - padding.top;
        tile.x = x + tile.top * p.x_strides[2];
        tile.rows = static_cast<int>(sums < height ? sums : height);
        tile.last_lanes = rows >= together * tile.rows ? strip.lanes : lanes;
        tile.y = d.y + k * p.y_strides[1] + row * p.y_strides[2] + output;
        if (d.residual != nullptr) {
          tile.residual =
              d.residual + k * d.residual_channel_stride + row * d.residual_row_stride + output;
        }
        if (fetches) fetch_next_strip(d, tile, Form::Inputs, Form::Outputs, height);
        (is_flat ? flat : tall)(d, strip, tile);
        rows -= together * tile.rows;
        row += together * tile.rows * dilation.h;
      }
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

// Does a vector of output columns lie in the image but for the left half of a filter?
template <int K, int Stride, int W>
bool first_is_inside(const Problem& p, std::int64_t output) noexcept {
  const std::int64_t apart = p.window.dilation.w;
  const std::int64_t column = output * Stride - p.window.padding.left;
  constexpr int loads = (K - 1) / Stride * Stride;
  return column + K / 2 * apart >= 0 && column + Stride * W + loads * apart <= p.w;
}

template <class Arch, int K, int Stride>
void plane_columns(const PlaneArguments& d) noexcept {
  constexpr int W = Vector<Arch>::width;
  const Problem& p = *d.problem;
  // As many sums as the registers hold beside a 3x3 filter, or most of a 5x5 one; 0 goes down all
  // rows, under masks throughout.
  constexpr bool many = Vector<Arch>::registers == 32;
  constexpr bool rolls = K > 0 && (K > 3 || Stride == 1) && many && Vector<Arch>::free_masks;
  constexpr bool tall = rolls && K > 3;
  if constexpr (many && Vector<Arch>::free_masks && (K == 3 || (K == 5 && Stride == 2))) {
    if (d.paired) return paired_planes<Arch, K, Stride>(d);
  } else if constexpr (K > 0 && !tall && Stride == 1 && W > 4) {
    // Half a vector of four is no image's row. Rows of x, y and the residual follow each other.
    if (2 * p.ow <= W && p.w == p.ow && p.x_strides[2] == p.w && p.y_strides[2] == p.ow &&
        p.window.dilation.h == 1 && (d.residual == nullptr || d.residual_row_stride == p.ow)) {
      plane_strip<PlaneForm<Arch, K, 4, 1, 1, true, true>>(d, 0, static_cast<int>(p.ow));
      return;
    }
  }
  constexpr int pairs = rolls ? 0 : many ? kPlaneRows : 4, rows = K == 0 ? 4 : kPlaneRows;
  for (std::int64_t column = 0; column < p.ow;) {
    const std::int64_t left = p.ow - column;
    bool two = (K == 3 || K == 5 || rolls) && left > W;
    if constexpr (tall) two = two && first_is_inside<K, Stride, W>(p, column);
    const std::int64_t most = two ? 2 * W : W;
    const int lanes = static_cast<int>(left < most ? left : most);
    if constexpr (K == 3 || K == 5 || rolls) {
      if (two) plane_strip<PlaneForm<Arch, K, pairs, 2, Stride>>(d, column, lanes);
    }
    // Alone a vector's sums wait for each other, but not as long as for rows that do not exist (480
    // channels of 14x14, dilation 4, 106 -> 40 us, Xeon).
    const std::int64_t apart = p.window.dilation.h;
    const bool roll = rolls && (tall || d.rows % apart != 0 || d.rows / apart % rows != 0);
    if constexpr (rolls) {
      if (!two && roll) plane_strip<PlaneForm<Arch, K, 0, 1, Stride>>(d, column, lanes);
    }
    if constexpr (!tall) {
      if (!two && !roll) plane_strip<PlaneForm<Arch, K, rows, 1, Stride>>(d, column, lanes);
    }
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
