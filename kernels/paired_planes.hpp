// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "epilogue.hpp"
#include "plane_strips.hpp"
#include "rolling_rows.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Depthwise convolution of planes whose outputs are at most half a vector wide: their columns and
// those of the next channel take turns in the lanes. A row of either image, at most a vector, is
// loaded once, and one permutation takes from both what lies under a tap, zeros for the padding.
// The weights of two channels lie side by side and are one broadcast.

// What of two rows is under each column of taps.
template <class V, int Stride>
class PairedTaps {
  static constexpr int W = V::width;
  // Lanes over columns from -W on: of both rows, by 2 of every second column from -W and from
  // 1 - W on.
  struct Columns {
    int lane[Stride][6 * W];
    constexpr Columns() noexcept : lane() {
      for (int first = 0; first < Stride; ++first) {
        for (int i = 0; i < 6 * W; ++i) lane[first][i] = i / 2 * Stride + first - W + i % 2 * W;
      }
    }
  };
  static constexpr Columns kColumns{};

 public:
  typename V::Lanes lanes[kMaxPlaneTaps];
  typename V::Mask masks[kMaxPlaneTaps];

  explicit PairedTaps(const Problem& p) noexcept {
    const auto clamp = [](std::int64_t i, int low, int high) {
      return static_cast<int>(i < low ? low : i < high ? i : high);
    };
    const auto visited = [](int columns) {
      return columns <= 0 ? 0 : (columns + Stride - 1) / Stride;
    };
    for (std::int64_t s = 0; s < p.window.kernel_size.w; ++s) {
      // Of lane 0; beyond these none is in the image.
      const int first = clamp(s * p.window.dilation.w - p.window.padding.left, -W, W);
      const int begin = visited(-first), end = visited(static_cast<int>(p.w) - first);
      const int last = end < W / 2 ? end : W / 2;
      lanes[s] = V::lanes(kColumns.lane[(first + W) % Stride] + (first + W) / Stride * 2);
      masks[s] = V::mask(2 * (begin < last ? begin : last), 2 * last);
    }
  }
};

// Back to one row after the other.
template <int Width>
struct Unpaired {
  static constexpr int lane(int i) noexcept { return i % (Width / 2) * 2 + i / (Width / 2); }
};

// Two output channels, or one and again that one.
struct PlanePair {
  const float* x[2];  // row 0 of the image
  const float* weights;
  const float* bias;  // or null
  int channels;
};

// Output rows from `row` on, of which those of a dilated filter follow each other.
template <class Arch, int K, int Stride, class V = Vector<Arch>>
FASTCONV_INLINE void sum_pair(const PlaneArguments& d, const PairedTaps<V, Stride>& under,
                              const PlanePair& pair, std::int64_t row, std::int64_t outputs,
                              PlaneRows to) noexcept {
  constexpr int NR = kMaxVectors * V::width, Sums = (K + Stride - 1) / Stride;
  // Taps that registers hold beside the sums, the lanes, two rows and what is taken of them.
  constexpr int free = V::registers - Sums - K - 3, Held = free < K * K ? free : K * K;
  constexpr auto order = std::make_integer_sequence<int, V::width>();
  const Problem& p = *d.problem;
  const std::int64_t apart = p.window.dilation.h, step = apart * p.x_strides[2];
  const int width = static_cast<int>(p.w);
  V taps[Held];
  FASTCONV_UNROLL
  for (int i = 0; i < Held; ++i) taps[i] = repeat_pair<V>(pair.weights + i * NR).held();
  std::int64_t h = row * Stride - p.window.padding.top;
  const float* in = pair.x[0] + h * p.x_strides[2];
  const std::int64_t next = pair.x[1] - pair.x[0];
  const auto inside = [&](std::int64_t at) { return at >= 0 && at < p.h; };
  const auto add_row = [&](auto& sum, auto first, auto last) __attribute__((always_inline)) {
    const bool exists = inside(h);
    const V one = V::load_first(exists ? in : kZeroRow, width);
    const V other = V::load_first(exists ? in + next : kZeroRow, width);
    FASTCONV_UNROLL
    for (int s = 0; s < K; ++s) {
      const V x = V::permute(one, other, under.lanes[s], under.masks[s]);
      FASTCONV_UNROLL
      for (int r = decltype(first)::value; r <= decltype(last)::value; r += Stride) {
        const int i = r * K + s;
        V& out = sum[(K - 1 - r) / Stride][0][0];
        const V tap = i < Held ? taps[i < Held ? i : 0] : repeat_pair<V>(pair.weights + i * NR);
        out = V::fma(tap, x, out);
      }
    }
  };
  const auto advance = [&]() __attribute__((always_inline)) {
    in += step;
    h += apart;
  };
  const std::int64_t y_step = apart * p.y_strides[2];
  const std::int64_t residual_step = apart * d.residual_row_stride;
  const int lanes = static_cast<int>(p.ow);
  // To find this out for every row is half of its instructions.
  const bool plain =
      d.epilogue->activation == Activation::none && d.residual == nullptr && pair.channels == 2;
  const auto finish = [&](std::int64_t, auto& sum) __attribute__((always_inline)) {
    V both = sum[0][0];
    if (pair.bias != nullptr) both = both + repeat_pair<V>(pair.bias);
    both = shuffle<Unpaired<V::width>>(both, both, order);
    V own[2][1] = {{both}, {swap_halves(both)}};
    if (plain) {
      store_tile(
          own, to.y, [&](int c) { return c * to.y_stride; }, lanes);
    } else {
      finish_plane<Arch>(*d.epilogue, to, 0, lanes, own, pair.channels);
    }
    to.y += y_step;
    if (to.residual != nullptr) to.residual += residual_step;
  };
  const bool multiplies = !d.skips_padding;
  if constexpr (K == 3) {
    const std::int64_t last = h + ((outputs - 1) * Stride + K - 1) * apart;
    roll_rows<V, Stride, 1, 1>(outputs, multiplies || inside(h), multiplies || inside(last),
                               add_row, advance, finish);
  } else {
    const auto exists = [&]() { return multiplies || inside(h); };
    roll_tall<V, K, Stride, 1, 1>(outputs, exists, add_row, advance, finish);
  }
}

template <class Arch, int K, int Stride>
void paired_planes(const PlaneArguments& d) noexcept {
  using V = Vector<Arch>;
  constexpr int NR = kMaxVectors * V::width;
  const Problem& p = *d.problem;
  const std::int64_t apart = p.window.dilation.h, multiplier = p.k_per_group();
  const std::int64_t end_row = d.first_row + d.rows, end_channel = d.first_channel + d.channels;
  const PairedTaps<V, Stride> under(p);
  std::int64_t group = d.first_channel / multiplier, in_group = d.first_channel % multiplier;
  const auto next_plane = [&]() {
    const float* x = d.x + group * p.x_strides[1];
    if (++in_group == multiplier) {
      in_group = 0;
      ++group;
    }
    return x;
  };
  for (std::int64_t k = d.first_channel; k < end_channel; k += 2) {
    PlanePair pair;
    pair.channels = k + 1 < end_channel ? 2 : 1;
    pair.x[0] = next_plane();
    pair.x[1] = pair.channels > 1 ? next_plane() : pair.x[0];
    pair.weights = d.weights + k / NR * p.taps() * NR + k % NR;
    pair.bias = d.bias != nullptr ? d.bias + k : nullptr;
    for (std::int64_t row = d.first_row; row < end_row && row < d.first_row + apart; ++row) {
      PlaneRows to{d.y + k * p.y_strides[1] + row * p.y_strides[2], p.y_strides[1], nullptr,
                   d.residual_channel_stride};
      if (d.residual != nullptr) {
        to.residual = d.residual + k * d.residual_channel_stride + row * d.residual_row_stride;
      }
      const std::int64_t rows = end_row - row;
      const std::int64_t outputs = apart > 1 ? (rows + apart - 1) / apart : rows;
      sum_pair<Arch, K, Stride>(d, under, pair, row, outputs, to);
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
