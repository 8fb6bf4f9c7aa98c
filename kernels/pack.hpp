// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "interleave.hpp"
#include "padding.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// The implicit im2col matrix, gathered block by block straight from the image: padding, stride,
// dilation and padding mode are index arithmetic here and nowhere else.

// Neighbouring lanes whose elements lie `PixelRuns::step` apart in the image, or are zeros.
struct Run {
  std::int64_t offset;  // of the first element, from channel 0; unused for zeros
  std::int32_t lane;
  std::int32_t count;
  bool zeros;
};

// The lanes of one panel under one filter tap, as runs in ascending lanes.
template <int NR>
class PixelRuns {
 public:
  // `count` <= NR pixels from the flattened output pixel `first`.
  PixelRuns(const Problem& p, std::int64_t first, int count) noexcept
      : p_(p), first_(first), pixels_(count), step_(p.window.stride.w * p.x_strides[3]) {}

  int build(std::int64_t r, std::int64_t s) noexcept {
    const auto [kernel, stride, padding, dilation, mode] = p_.window;
    count_ = 0;
    std::int64_t oh = first_ / p_.ow;
    std::int64_t ow = first_ % p_.ow;
    const std::int64_t left = s * dilation.w - padding.left;
    // Outputs whose tap lies inside the image's width.
    const std::int64_t inside_begin = left >= 0 ? 0 : (-left + stride.w - 1) / stride.w;
    const std::int64_t inside_end = left < p_.w ? (p_.w - 1 - left) / stride.w + 1 : 0;
    for (int lane = 0; lane < pixels_; ++oh, ow = 0) {
      const std::int64_t row_end = p_.ow - ow < pixels_ - lane ? p_.ow : ow + pixels_ - lane;
      const std::int64_t h = source_index(oh * stride.h + r * dilation.h - padding.top, p_.h, mode);
      if (h < 0) {
        add(lane, static_cast<int>(row_end - ow), 0, true);
        lane += static_cast<int>(row_end - ow);
        continue;
      }
      const std::int64_t row = h * p_.x_strides[2];
      while (ow < row_end) {
        std::int64_t run_end = row_end;
        if (ow >= inside_begin && ow < inside_end) {
          if (run_end > inside_end) run_end = inside_end;
          add(lane, static_cast<int>(run_end - ow), row + (left + ow * stride.w) * p_.x_strides[3],
              false);
        } else if (mode == PaddingMode::zeros) {
          if (ow < inside_begin && inside_begin < inside_end && run_end > inside_begin) {
            run_end = inside_begin;
          }
          add(lane, static_cast<int>(run_end - ow), 0, true);
        } else {
          run_end = ow + 1;
          const std::int64_t w = source_index(left + ow * stride.w, p_.w, mode);
          add(lane, 1, row + w * p_.x_strides[3], false);
        }
        lane += static_cast<int>(run_end - ow);
        ow = run_end;
      }
    }
    if (pixels_ < NR) add(pixels_, NR - pixels_, 0, true);
    return count_;
  }

  const Run& operator[](int i) const noexcept { return runs_[i]; }

 private:
  void add(int lane, int count, std::int64_t offset, bool zeros) noexcept {
    if (count_ > 0) {
      // Rows that touch, as a 1x1 kernel reads them, are one run.
      Run& last = runs_[count_ - 1];
      if (zeros == last.zeros && (zeros || offset == last.offset + last.count * step_)) {
        last.count += count;
        return;
      }
    }
    runs_[count_++] = {offset, lane, count, zeros};
  }

  const Problem& p_;
  std::int64_t first_;
  int pixels_;
  std::int64_t step_;
  int count_ = 0;
  Run runs_[NR + 1];  // every run has a lane of its own
};

// The runs of one panel cut at vectors: up to kPieces masked loads give a vector.
template <class Arch, int NR>
class MaskedPieces {
 public:
  static constexpr int kPieces = 4;

  // False if some vector takes more loads than that.
  bool build(const PixelRuns<NR>& runs, int run_count) noexcept {
    for (int v = 0; v < NV; ++v) {
      int count = 0;
      for (int i = 0; i < run_count; ++i) {
        const Run& run = runs[i];
        const int begin = run.lane > v * W ? run.lane - v * W : 0;
        const int end = run.lane + run.count < (v + 1) * W ? run.lane + run.count - v * W : W;
        if (run.zeros || begin >= end) continue;
        if (count == kPieces) return false;
        offset_[v][count] = run.offset - run.lane + v * W;
        mask_[v][count++] = V::mask(begin, end);
      }
      count_[v] = count;
    }
    return true;
  }

  FASTCONV_INLINE void copy(float* out, const float* in) const noexcept {
    FASTCONV_UNROLL
    for (int v = 0; v < NV; ++v) {
      V vector = V::zero();
      for (int i = 0; i < count_[v]; ++i) {
        vector = V::load_lanes(in + offset_[v][i], mask_[v][i], vector);
      }
      vector.store(out + v * W);
    }
  }

 private:
  using V = Vector<Arch>;
  static constexpr int W = V::width;
  static constexpr int NV = NR / W;
  int count_[NV];
  std::int64_t offset_[NV][kPieces];
  typename V::Mask mask_[NV][kPieces];
};

// `count` channels of one tap of one panel.
template <class Arch, int NR>
void pack_tap(float* out, const float* in, std::int64_t channel_stride, std::int64_t step,
              const PixelRuns<NR>& runs, int run_count, std::int64_t count) noexcept {
  using V = Vector<Arch>;
  if (run_count == 1 && !runs[0].zeros && step == 1) {
    // The common case: the panel lies in one row of the image.
    // The next panel's pixels are fetched: channels are pages apart, where hardware does not look
    // ahead.
    in += runs[0].offset;
    for (; count > 0; --count, in += channel_stride, out += NR) {
      FASTCONV_UNROLL
      for (int i = 0; i < NR; i += V::width) V::load(in + i).store(out + i);
      FASTCONV_UNROLL
      for (int i = 0; i < NR; i += kLine) __builtin_prefetch(in + NR + i);
    }
    return;
  }
  if constexpr (V::has_masks) {
    MaskedPieces<Arch, NR> pieces;
    if (step == 1 && pieces.build(runs, run_count)) {
      for (; count > 0; --count, in += channel_stride, out += NR) pieces.copy(out, in);
      return;
    }
  }
  for (; count > 0; --count, in += channel_stride, out += NR) {
    for (int i = 0; i < run_count; ++i) {
      const Run& run = runs[i];
      if (run.zeros) {
        fill_zeros<Arch>(out + run.lane, run.count);
      } else {
        copy_run<Arch>(out + run.lane, in + run.offset, step, run.count);
      }
    }
  }
}

template <class Arch, int NR>
void pack_columns(const PackArguments& arguments) {
  const Problem& p = *arguments.problem;
  const std::int64_t channels = p.c_per_group();
  const std::int64_t channel_stride = p.x_strides[1];
  const std::int64_t step = p.window.stride.w * p.x_strides[3];
  float* out = arguments.out;
  for (std::int64_t first = 0; first < arguments.count; first += NR) {
    const std::int64_t rest = arguments.count - first;
    PixelRuns<NR> runs(p, arguments.first + first, rest < NR ? static_cast<int>(rest) : NR);
    std::int64_t depth = arguments.depth_begin;
    while (depth < arguments.depth_end) {
      const std::int64_t tap = depth / channels;
      const std::int64_t channel = depth % channels;
      std::int64_t count = channels - channel;
      if (count > arguments.depth_end - depth) count = arguments.depth_end - depth;
      const int run_count = runs.build(tap / p.window.kernel_size.w, tap % p.window.kernel_size.w);
      pack_tap<Arch, NR>(out, arguments.x + channel * channel_stride, channel_stride, step, runs,
                         run_count, count);
      depth += count;
      out += count * NR;
    }
  }
}

// The taps of a k-block of one pixel as stretches of memory; those that follow each other are one.
class Stretches {
 public:
  static constexpr int kMost = kMaxSegments;

  int count = 0;
  struct Stretch {
    std::int64_t offset;  // from the group's channel 0 of the image; unused for zeros
    int length;
    bool zeros;
  } stretch[kMost];

  // Of the window at the padded coordinates (top, left). Offsets of a window that lies inside the
  // image are the same for all, but for their origin.
  void build(const PackArguments& arguments, std::int64_t top, std::int64_t left) noexcept {
    const Problem& p = *arguments.problem;
    const auto [kernel, stride, padding, dilation, mode] = p.window;
    const std::int64_t channels = p.c_per_group();
    const std::int64_t tap = arguments.depth_begin / channels;
    std::int64_t channel = arguments.depth_begin % channels;
    std::int64_t r = tap / kernel.w;
    std::int64_t s = tap % kernel.w;
    count = 0;
    for (std::int64_t rest = arguments.depth_end - arguments.depth_begin; rest > 0;) {
      const std::int64_t length = channels - channel < rest ? channels - channel : rest;
      const std::int64_t h = source_index(top + r * dilation.h, p.h, mode);
      const std::int64_t w = source_index(left + s * dilation.w, p.w, mode);
      add(h * p.x_strides[2] + w * p.x_strides[3] + channel, static_cast<int>(length),
          h < 0 || w < 0);
      rest -= length;
      channel = 0;
      if (++s == kernel.w) {
        s = 0;
        ++r;
      }
    }
  }

 private:
  void add(std::int64_t offset, int length, bool zeros) noexcept {
    if (count > 0) {
      auto& last = stretch[count - 1];
      if (zeros == last.zeros && (zeros || offset == last.offset + last.length)) {
        last.length += length;
        return;
      }
    }
    stretch[count++] = {offset, length, zeros};
  }
};

template <class Arch>
void pack_rows(const PackArguments& arguments) {
  const Problem& p = *arguments.problem;
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  Stretches inside, border;
  inside.build(arguments, 0, 0);
  std::int64_t oh = arguments.first / p.ow;
  std::int64_t ow = arguments.first % p.ow;
  for (std::int64_t pixel = 0; pixel < arguments.count; ++pixel) {
    const std::int64_t top = oh * stride.h - padding.top;
    const std::int64_t left = ow * stride.w - padding.left;
    const bool is_inside = top >= 0 && top + (kernel.h - 1) * dilation.h < p.h && left >= 0 &&
                           left + (kernel.w - 1) * dilation.w < p.w;
    if (!is_inside) border.build(arguments, top, left);
    const Stretches& taps = is_inside ? inside : border;
    const float* in = arguments.x + (is_inside ? top * p.x_strides[2] + left * p.x_strides[3] : 0);
    float* out = arguments.out + pixel * arguments.pitch;
    for (int i = 0; i < taps.count; ++i) {
      const auto& stretch = taps.stretch[i];
      if (stretch.zeros) {
        fill_zeros<Arch>(out, stretch.length);
      } else {
        copy_run<Arch>(out, in + stretch.offset, 1, stretch.length);
      }
      out += stretch.length;
    }
    if (++ow == p.ow) {
      ow = 0;
      ++oh;
    }
  }
}

// `count` pixels of one row, column_step apart, to pixels of adjacent channels, `pitch` floats
// apart. Called from two places, of which a copy each would be 11 KB.
template <class Arch>
__attribute__((noinline)) void copy_pixels(const RegionArguments& arguments, const float* in,
                                           std::int64_t count, float* out) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width;
  constexpr int kAhead = 6 * W;
  const std::int64_t channels = arguments.channels;
  const std::int64_t channel_stride = arguments.problem->x_strides[1];
  const std::int64_t column_stride = arguments.problem->x_strides[3] * arguments.column_step;
  if (channel_stride == 1 || channels == 1) {
    if (column_stride == channels && arguments.pitch == channels) {
      copy_run<Arch>(out, in, 1, count * channels);
      return;
    }
    for (; count > 0; --count, in += column_stride, out += arguments.pitch) {
      copy_run<Arch>(out, in, 1, channels);
    }
    return;
  }
  if (channels < W && arguments.pitch == channels) {  // fewer than fill a vector
    if (column_stride == 1) {
      return join_channels<Arch>(out, channels, in, channel_stride, channels, count);
    }
    for (; count > 0; --count, in += column_stride, out += channels) {
      copy_run<Arch>(out, in, channel_stride, channels);
    }
    return;
  }
  for (std::int64_t c = 0; c < channels; c += W, in += W * channel_stride, out += W) {
    const int rows = channels - c < W ? static_cast<int>(channels - c) : W;
    for (std::int64_t j = 0; j < count; j += W) {
      if (count - j < W && count >= W) j = count - W;  // overlaps the block before
      const int columns = count - j < W ? static_cast<int>(count - j) : W;
      // A few blocks ahead: channels are pages apart, where hardware does not look.
      const float* next =
          in + (j + kAhead < count ? (j + kAhead) * column_stride
                                   : W * channel_stride + (j + kAhead - count) * column_stride);
      FASTCONV_UNROLL
      for (int i = 0; i < W; ++i) __builtin_prefetch(next + i * channel_stride);
      const float* from = in + j * column_stride;
      float* to = out + j * arguments.pitch;
      V block[W];
      if (column_stride == 1) {
        FASTCONV_UNROLL
        for (int i = 0; i < W; ++i) {
          const float* row = from + i * channel_stride;
          block[i] = i >= rows      ? V::zero()
                     : columns == W ? V::load(row)
                                    : V::load_first(row, columns);
        }
      } else if (column_stride == 2 && columns == W) {
        FASTCONV_UNROLL
        for (int i = 0; i < W; ++i) {
          block[i] = i < rows ? V::load_even(from + i * channel_stride) : V::zero();
        }
      } else {
        float elements[W][W] = {};
        for (int i = 0; i < rows; ++i) {
          for (int k = 0; k < columns; ++k) {
            elements[i][k] = from[i * channel_stride + k * column_stride];
          }
        }
        FASTCONV_UNROLL
        for (int i = 0; i < W; ++i) block[i] = V::load(elements[i]);
      }
      transpose(block);
      if (columns == W) {
        FASTCONV_UNROLL
        for (int i = 0; i < W; ++i) block[i].store(to + i * arguments.pitch);
      } else {
        FASTCONV_UNROLL
        for (int i = 0; i < W; ++i) {
          if (i < columns) block[i].store(to + i * arguments.pitch);
        }
      }
    }
  }
}

template <class Arch>
void pack_patch(const RegionArguments& arguments) {
  const Problem& p = *arguments.problem;
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  const std::int64_t pitch = arguments.pitch;
  const std::int64_t top = arguments.first_row * stride.h - padding.top;
  const std::int64_t left = arguments.first_column * stride.w - padding.left;
  // The padded image's last row and column that a window reads.
  const std::int64_t last_h = (p.oh - 1) * stride.h + (kernel.h - 1) * dilation.h - padding.top;
  const std::int64_t last_w = (p.ow - 1) * stride.w + (kernel.w - 1) * dilation.w - padding.left;
  // Whole rows that follow each other in the image are one.
  const bool whole = left == 0 && arguments.columns == p.w && arguments.row_step == 1 &&
                     arguments.column_step == 1 && p.x_strides[2] == p.w * p.x_strides[3];
  const std::int64_t end_h = last_h < p.h ? last_h + 1 : p.h;
  float* out = arguments.out;
  for (std::int64_t i = 0; i < arguments.rows; ++i) {
    const std::int64_t row_at = top + i * arguments.row_step;
    const std::int64_t h = row_at > last_h ? -1 : source_index(row_at, p.h, mode);
    if (h < 0) {
      fill_zeros<Arch>(out, arguments.columns * pitch);
      out += arguments.columns * pitch;
      continue;
    }
    const float* row = arguments.x + h * p.x_strides[2];
    if (whole && row_at >= 0 && row_at < end_h) {
      const std::int64_t left_rows = arguments.rows - i;
      const std::int64_t rows = end_h - row_at < left_rows ? end_h - row_at : left_rows;
      copy_pixels<Arch>(arguments, row, rows * p.w, out);
      out += rows * p.w * pitch;
      i += rows - 1;
      continue;
    }
    for (std::int64_t j = 0; j < arguments.columns;) {
      std::int64_t w = left + j * arguments.column_step;
      std::int64_t count = 1;
      if (w >= 0 && w < p.w) {  // and those behind it
        count = (p.w - 1 - w) / arguments.column_step + 1;
        if (count > arguments.columns - j) count = arguments.columns - j;
      } else if (mode == PaddingMode::zeros || w > last_w) {
        if (w < 0) count = (-w - 1) / arguments.column_step + 1;
        if (w > 0 || count > arguments.columns - j) count = arguments.columns - j;
        w = -1;
      } else {
        w = source_index(w, p.w, mode);
      }
      if (w < 0) {
        fill_zeros<Arch>(out, count * pitch);
      } else {
        copy_pixels<Arch>(arguments, row + w * p.x_strides[3], count, out);
      }
      out += count * pitch;
      j += count;
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
