// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "depthwise.hpp"
#include "integers.hpp"

// What depthwise blocks are cut by and run on.

namespace fastconv {

// Output rows and pixels of a block: bound the pointers, of which neighbouring output rows share
// most. Multiples of seven, as most networks' sizes and the kernel's tiles are.
constexpr std::int64_t kDepthwiseRows = kMaxDepthwiseRows;
// Of blocks that are copied, transposed or of groups that fill vectors.
constexpr std::int64_t kDepthwisePixels = 56;
// Of blocks of whole rows, and of those cut for threads.
constexpr std::int64_t kLeastDepthwiseRows = 4;
constexpr std::int64_t kDepthwiseChannels = 512;  // 240 in parts of 128 take 5 to 9 % longer

// Whole groups, at most so many channels of them if that is any, that end with a panel of weights.
std::int64_t block_channels(const Problem& problem, std::int64_t panel, std::int64_t most) noexcept;

// Cycles to lay out the pointers of all blocks of an image, and to begin each of them.
double pointer_cycles(const Problem& problem, const DepthwiseBlocking& blocking) noexcept;
double block_cycles(const Problem& problem, const Tile& tile,
                    const DepthwiseBlocking& blocking) noexcept;

// Do x and y take so many times L2 that kernels ask for them ahead?
bool fetches(const Problem& problem, std::int64_t times, int width,
             const CacheSizes& caches) noexcept;

// Pixels of adjacent channels: in place, transposed, or an input channel repeated for each of its
// output channels.
DepthwiseBlocking choose_pixels(const Problem& problem, const Tile& tile, const CacheSizes& caches,
                                bool finite, bool transposed, bool repeated) noexcept;

// Few channels of pixels that follow each other in x and in y, if the kernel for them serves the
// problem.
bool interleaves(const Problem& problem, const Tile& tile, bool finite) noexcept;
DepthwiseBlocking choose_interleaved(const Problem& problem, const Tile& tile) noexcept;

// Planes of adjacent columns, if the kernel for them serves the problem.
bool has_planes(const Problem& problem) noexcept;
DepthwiseBlocking choose_planes(const Problem& problem, const Tile& tile,
                                const CacheSizes& caches) noexcept;

// The same sums without the taps that a blocking leaves out. Padding before the image may be
// negative, and behind it be more than windows reach.
Problem found_taps(const Problem& problem, const DepthwiseBlocking& blocking) noexcept;

// Do the pixels of a row that is read in place lie in four sets of L1 or fewer?
inline bool crowds(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return b.in_place() && p.x_strides[3] % 256 == 0;
}

// Rows that a dilated filter visits are an image of their own, in which it is dense: one of every
// so many rows.
inline std::int64_t row_phases(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return b.lanes == Lanes::channels && !b.listed ? std::min(p.window.dilation.h, p.oh) : 1;
}

inline std::int64_t row_blocks(const Problem& p, const DepthwiseBlocking& b) noexcept {
  const std::int64_t phases = row_phases(p, b);
  return phases * ceil_div(ceil_div(p.oh, phases), b.rows);
}

// Rows of pointers of a block.
inline std::int64_t rows_of(const Problem& p, std::int64_t rows) noexcept {
  return (rows - 1) * p.window.stride.h + p.window.kernel_size.h;
}

// Columns of the padded image under a block.
inline std::int64_t columns_of(const Problem& p, std::int64_t pixels) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return (pixels - 1) * stride.w + (kernel.w - 1) * dilation.w + 1;
}

// Input channels under so many output channels.
inline std::int64_t inputs_of(const Problem& p, std::int64_t channels) noexcept {
  return ceil_div(channels, p.k_per_group()) * p.c_per_group();
}

// Floats from an output to the next through all rows and images, or 0 if they differ.
inline std::int64_t output_step(const Problem& p, const Dims<4>& strides) noexcept {
  const std::int64_t step = p.ow > 1 ? strides[3] : p.oh > 1 ? strides[2] : strides[0];
  const bool even =
      (p.oh == 1 || strides[2] == p.ow * step) && (p.n == 1 || strides[0] == p.oh * p.ow * step);
  return even ? step : 0;
}

// What a block needs of scratch memory, in bytes, one behind the other: zeros, pointers, and of a
// transposed or copied block the patch of the images under it, and of the former its outputs.
struct Scratch {
  std::int64_t zeros = 0, pointers = 0, patch = 0, outputs = 0;
  std::int64_t patch_pitch = 0, output_pitch = 0;  // floats from a pixel to the next

  Scratch(const Problem& p, const DepthwiseBlocking& b) noexcept {
    if (b.lanes == Lanes::pixels) return;
    output_pitch = round_up(b.channels, kMaxWidth);
    patch_pitch = b.repeated ? output_pitch : round_up(inputs_of(p, b.channels), kMaxWidth);
    zeros = std::max(output_pitch, round_up(inputs_of(p, b.channels), kMaxWidth)) * kFloat;
    const std::int64_t pixels = b.listed ? b.images * b.rows * b.pixels * p.taps()
                                         : rows_of(p, b.rows) * columns_of(p, b.pixels);
    pointers = round_up(pixels * static_cast<std::int64_t>(sizeof(const float*)), 64);
    if (b.in_place()) return;
    const std::int64_t rows = b.listed ? p.h : std::min(rows_of(p, b.rows), p.h);
    const std::int64_t columns = b.listed ? p.w : std::min(columns_of(p, b.pixels), p.w);
    // Packing may write up to a vector behind its end.
    patch = (b.images * rows * columns * patch_pitch + kMaxWidth) * kFloat;
    if (b.transposed) outputs = b.images * b.rows * b.pixels * output_pitch * kFloat;
  }

  std::int64_t bytes() const noexcept { return zeros + pointers + patch + outputs; }
};

// Columns that a dilated filter visits lie side by side, so that to the kernel it is dense; a part
// of a row is then one of every so many pixels.
inline std::int64_t column_phases(const Problem& p, std::int64_t pixels) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return stride.w == 1 && pixels >= 3 * dilation.w ? dilation.w : 1;
}

}  // namespace fastconv
