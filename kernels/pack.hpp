// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "padding.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv {
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
      : p_(p), first_(first), pixels_(count) {}

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
    if (count_ > 0 && zeros && runs_[count_ - 1].zeros) {
      runs_[count_ - 1].count += count;
    } else {
      runs_[count_++] = {offset, lane, count, zeros};
    }
  }

  const Problem& p_;
  std::int64_t first_;
  int pixels_;
  int count_ = 0;
  Run runs_[NR + 1];  // every run has a lane of its own
};

// `count` elements `step` apart, written side by side. May write up to a vector behind the last
// one: what lies there is written afterwards.
template <class Arch>
FASTCONV_INLINE void copy_run(float* out, const float* in, std::int64_t step, int count) noexcept {
  using V = Vector<Arch>;
  int i = 0;
  if (step == 1) {
    for (; i + V::width <= count; i += V::width) V::load(in + i).store(out + i);
    if (i < count) V::load_first(in + i, count - i).store(out + i);
    return;
  }
  if (step == 2) {
    for (; i + V::width <= count; i += V::width) V::load_even(in + 2 * i).store(out + i);
  }
  for (; i < count; ++i) out[i] = in[i * step];
}

template <class Arch>
FASTCONV_INLINE void fill_zeros(float* out, int count) noexcept {
  using V = Vector<Arch>;
  for (int i = 0; i < count; i += V::width) V::zero().store(out + i);
}

template <class Arch, int NR>
void pack_columns(const PackArguments& arguments) {
  using V = Vector<Arch>;
  const Problem& p = *arguments.problem;
  const std::int64_t channels = p.c_per_group();
  const std::int64_t channel_stride = p.x_strides[1];
  const std::int64_t step = p.window.stride.w * p.x_strides[3];
  float* out = arguments.panels;
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
      const float* in = arguments.x + channel * channel_stride;
      depth += count;
      if (run_count == 1 && !runs[0].zeros && step == 1) {
        // The common case: the panel lies in one row of the image.
        in += runs[0].offset;
        for (; count > 0; --count, in += channel_stride, out += NR) {
          FASTCONV_UNROLL
          for (int i = 0; i < NR; i += V::width) V::load(in + i).store(out + i);
        }
        continue;
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
  }
}

template <class Arch>
void pack_rows(const PackArguments& arguments) {
  const Problem& p = *arguments.problem;
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  const std::int64_t channels = p.c_per_group();
  const Dims<4>& xs = p.x_strides;
  std::int64_t oh = arguments.first / p.ow;
  std::int64_t ow = arguments.first % p.ow;
  const std::int64_t first_tap = arguments.depth_begin / channels;
  const std::int64_t first_channel = arguments.depth_begin % channels;
  for (std::int64_t pixel = 0; pixel < arguments.count; ++pixel) {
    float* out = arguments.panels + pixel * kRowStride;
    std::int64_t rest = arguments.depth_end - arguments.depth_begin;
    std::int64_t r = first_tap / kernel.w;
    std::int64_t s = first_tap % kernel.w;
    std::int64_t channel = first_channel;
    // Taps that follow each other in memory are copied as one run.
    const float* run = nullptr;
    std::int64_t run_length = 0;
    while (rest > 0) {
      std::int64_t length = channels - channel;
      if (length > rest) length = rest;
      const std::int64_t h = source_index(oh * stride.h + r * dilation.h - padding.top, p.h, mode);
      const std::int64_t w = source_index(ow * stride.w + s * dilation.w - padding.left, p.w, mode);
      const bool zeros = h < 0 || w < 0;
      const float* in = zeros ? nullptr : arguments.x + h * xs[2] + w * xs[3] + channel;
      if (run != nullptr && in == run + run_length) {
        run_length += length;
      } else {
        if (run != nullptr) {
          copy_run<Arch>(out, run, 1, static_cast<int>(run_length));
          out += run_length;
        }
        run = in;
        run_length = length;
        if (zeros) {
          fill_zeros<Arch>(out, static_cast<int>(length));
          out += length;
        }
      }
      rest -= length;
      channel = 0;
      if (++s == kernel.w) {
        s = 0;
        ++r;
      }
    }
    if (run != nullptr) copy_run<Arch>(out, run, 1, static_cast<int>(run_length));
    if (++ow == p.ow) {
      ow = 0;
      ++oh;
    }
  }
}

}  // namespace
}  // namespace fastconv
