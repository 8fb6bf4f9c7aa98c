// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/status.hpp>

namespace fastconv {

// One number for both axes, or one each: `stride = 2`, `stride = {2, 1}`.
struct Pair {
  std::int64_t h = 0;
  std::int64_t w = 0;

  constexpr Pair(std::int64_t both = 0) noexcept : h(both), w(both) {}  // NOLINT: implicit
  constexpr Pair(std::int64_t h_, std::int64_t w_) noexcept : h(h_), w(w_) {}
};

// Rows and columns added around the image: the same on all sides, {h, w}, or each side, in another
// order than in ONNX (top, left, bottom, right) and torch's pad (left, right, top, bottom).
struct Padding {
  std::int64_t top = 0;
  std::int64_t bottom = 0;
  std::int64_t left = 0;
  std::int64_t right = 0;

  constexpr Padding(std::int64_t all = 0) noexcept  // NOLINT: implicit
      : top(all), bottom(all), left(all), right(all) {}
  constexpr Padding(std::int64_t h, std::int64_t w) noexcept
      : top(h), bottom(h), left(w), right(w) {}
  constexpr Padding(std::int64_t top_, std::int64_t bottom_, std::int64_t left_,
                    std::int64_t right_) noexcept
      : top(top_), bottom(bottom_), left(left_), right(right_) {}

  constexpr bool any() const noexcept { return top != 0 || bottom != 0 || left != 0 || right != 0; }
};

// What the padding holds, for an image row a b c d padded by 2.
enum class PaddingMode : std::int32_t {
  zeros = 0,  // 0 0 | a b c d | 0 0
  reflect,    // c b | a b c d | c b   padding < size
  replicate,  // a a | a b c d | d d
  circular,   // c d | a b c d | a b   padding <= size
};

// "zeros", "reflect", "replicate", "circular", as torch.nn.Conv2d spells them.
const char* name(PaddingMode mode) noexcept;
Status parse_padding_mode(const char* text, PaddingMode& mode) noexcept;

// Geometry of a sliding window: what im2col (torch.nn.Unfold) needs of a convolution.
struct Window {
  Pair kernel_size;
  Pair stride = 1;
  Padding padding = 0;
  Pair dilation = 1;  // 1 is dense
  PaddingMode padding_mode = PaddingMode::zeros;
};

// A 2-D convolution (cross-correlation, as deep learning means it) in the words of torch.nn.Conv2d:
//   y[n,k,i,j] = bias[k] + sum over c,r,s of
//                x[n, g*C/groups + c, i*stride.h + r*dilation.h - padding.top,
//                                     j*stride.w + s*dilation.w - padding.left] * weights[k,c,r,s]
// where g = k / (out_channels / groups). Weights have the shape
// (out_channels, in_channels / groups, kernel_size.h, kernel_size.w).
struct Conv2d {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  Pair kernel_size;
  Pair stride = 1;
  Padding padding = 0;
  Pair dilation = 1;
  std::int64_t groups = 1;
  PaddingMode padding_mode = PaddingMode::zeros;

  constexpr Window window() const noexcept {
    return {kernel_size, stride, padding, dilation, padding_mode};
  }
};

// Output height and width of a window slid over an image of height x width:
//   (size + padding on both sides - dilation * (kernel - 1) - 1) / stride + 1, rounded down.
// Refuses what no window accepts: sizes below 1, negative padding, a window larger than the padded
// image, padding that the mode cannot fill, products beyond 64 bits.
Status output_size(const Window& window, std::int64_t height, std::int64_t width,
                   Pair& output) noexcept;

// Padding under which the output has ceil(size / stride) rows and columns: ONNX's auto_pad
// SAME_UPPER, or SAME_LOWER if `extra_before`, which differ in the side of an odd row or column.
// With stride 1, torch.nn.Conv2d's padding="same" is the former. No padding at all is "valid".
Status same_padding(Pair kernel_size, Pair stride, Pair dilation, std::int64_t height,
                    std::int64_t width, Padding& padding, bool extra_before = false) noexcept;

}  // namespace fastconv
