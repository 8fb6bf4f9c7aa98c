// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "interleave.hpp"
#include "padding.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Copies a block of channels, rows and columns between tensors of any strides.
template <class Arch>
void copy_planes(const PlaneCopy& copy) {
  const auto [channels, rows, columns] = copy.shape;
  const auto [from_channel, from_row, from_column] = copy.from_strides;
  const auto [to_channel, to_row, to_column] = copy.to_strides;
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* from = copy.from + i * from_row;
    float* to = copy.to + i * to_row;
    if (from_column == 1 && to_channel == 1 && to_column >= channels) {
      join_channels<Arch>(to, to_column, from, from_channel, channels, columns);
      continue;
    }
    if (from_channel == 1 && to_column == 1) {
      split_channels<Arch>(to, to_channel, from, from_column, channels, columns);
      continue;
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t j = 0; j < columns; ++j) {
        to[c * to_channel + j * to_column] = from[c * from_channel + j * from_column];
      }
    }
  }
}

// Each channel becomes `multiplier` of them, in place: the last ones first, which come to lie
// behind those that are still to be read.
template <class Arch>
void repeat_channels(float* pixels, std::int64_t count, std::int64_t pitch, int channels,
                     int multiplier) {
  using V = Vector<Arch>;
  int lane[V::width];
  for (int i = 0; i < V::width; ++i) lane[i] = i / multiplier;
  const auto lanes = V::lanes(lane);
  for (; count > 0; --count, pixels += pitch) {
    for (int channel = (channels - 1) / V::width * V::width; channel >= 0; channel -= V::width) {
      V::permute(V::load(pixels + channel / multiplier), lanes).store(pixels + channel);
    }
  }
}

// A row of which [begin, end) come from `in`, and zeros before and behind them, up to `count` and
// the end of a vector. Every vector is one store, as taps soon load from it. (A masked load from
// before the image takes a hundred cycles where the page before it is not mapped; lanes that are
// moved do not.)
template <class Arch>
class PaddedRow {
 public:
  PaddedRow(std::int64_t begin, std::int64_t end, std::int64_t count) noexcept
      : begin_(begin), end_(end), count_(count) {
    moved_ = V::lanes(kRing.lane + W - begin % W);
  }

  FASTCONV_INLINE void copy(float* out, const float* in) const noexcept {
    const std::int64_t whole = begin_ / W * W;
    fill_zeros<Arch>(out, whole);
    std::int64_t j = whole;
    if (begin_ > whole) {
      const std::int64_t room = whole + W - begin_;
      const std::int64_t some = end_ - begin_ < room ? end_ - begin_ : room;
      V::permute(V::load_first(in, static_cast<int>(some)), moved_).store(out + j);
      j += W;
    }
    in -= begin_;
    for (; j + W <= end_; j += W) V::load(in + j).store(out + j);
    if (j < end_) {
      V::load_first(in + j, static_cast<int>(end_ - j)).store(out + j);
      j += W;
    }
    fill_zeros<Arch>(out + j, count_ - j);
  }

 private:
  using V = Vector<Arch>;
  static constexpr int W = V::width;
  struct Ring {
    int lane[2 * W];
    constexpr Ring() noexcept : lane() {
      for (int i = 0; i < 2 * W; ++i) lane[i] = i % W;
    }
  };
  static constexpr Ring kRing{};
  std::int64_t begin_, end_, count_;
  typename V::Lanes moved_;
};

// The image under a block of output rows and columns, padded, as planes whose columns a stride
// visits one after the other: [rows][phases][channels][plane], of which those under a tap.
template <class Arch>
void pack_planes(const RegionArguments& arguments) {
  const Problem& p = *arguments.problem;
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  const std::int64_t top = arguments.first_row * stride.h - padding.top;
  const std::int64_t left = arguments.first_column * stride.w - padding.left;
  const std::int64_t step = stride.w * p.x_strides[3];
  const std::int64_t plane = arguments.plane;
  const std::int64_t row_pitch = arguments.phase_count * arguments.pitch;
  // Adjacent channels are read together, others one after the other.
  const bool together = p.x_strides[1] == 1 && step > 1;
  // Of a stretch of columns those that a stride visits; a division is felt on tiny images.
  const auto visited = [&](std::int64_t columns) {
    const std::int64_t by = p.window.stride.w;
    return by == 1 ? columns : (columns + by - 1) / by;
  };
  const std::int64_t at_once = together ? arguments.channels : 1;
  for (std::int64_t k = 0; k < arguments.phase_count; ++k) {
    const std::int64_t first = left + arguments.phases[k];
    const std::int64_t count = visited(arguments.columns - arguments.phases[k]);
    // Columns [begin, end) of the phase lie in the image.
    std::int64_t begin = first >= 0 ? 0 : visited(-first);
    std::int64_t end = first < p.w ? visited(p.w - first) : 0;
    if (begin > count) begin = count;
    if (end > count) end = count;
    if (end < begin) end = begin;
    const PaddedRow<Arch> padded(begin, end, count);
    for (std::int64_t c = 0; c < arguments.channels; c += at_once) {
      float* out = arguments.out + c * plane + k * arguments.pitch;
      for (std::int64_t i = 0; i < arguments.rows; ++i, out += row_pitch) {
        const std::int64_t h = source_index(top + i * arguments.row_step, p.h, mode);
        if (h < 0) {
          for (std::int64_t n = 0; n < at_once; ++n) fill_zeros<Arch>(out + n * plane, count);
          continue;
        }
        const float* row = arguments.x + c * p.x_strides[1] + h * p.x_strides[2];
        const auto border = [&](std::int64_t j) {
          // C++17 lets no lambda capture a structured binding, hence the long names.
          const std::int64_t w =
              source_index(first + j * p.window.stride.w, p.w, p.window.padding_mode);
          for (std::int64_t n = 0; n < at_once; ++n) {
            out[n * plane + j] = w < 0 ? 0.0F : row[w * p.x_strides[3] + n];
          }
        };
        if (step == 1) {
          padded.copy(out, row + first + begin);
          if (mode == PaddingMode::zeros) continue;
        } else if (begin < end) {
          const float* in = row + (first + begin * stride.w) * p.x_strides[3];
          if (together) {
            split_channels<Arch>(out + begin, plane, in, step, at_once, end - begin);
          } else {
            copy_run<Arch>(out + begin, in, step, end - begin);
          }
        }
        for (std::int64_t j = 0; j < begin; ++j) border(j);
        for (std::int64_t j = end; j < count; ++j) border(j);
      }
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
