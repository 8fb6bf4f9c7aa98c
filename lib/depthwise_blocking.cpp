// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "costs.hpp"
#include "depthwise_blocks.hpp"
#include "depthwise_interleaved.hpp"
#include "depthwise_order.hpp"
#include "geometry.hpp"

namespace fastconv {
namespace {

// Pixels of all rows and images of a block, each with pointers of its own.
constexpr std::int64_t kListed = 112;

// Channels of a block that ends with a panel of weights and with a group.
std::int64_t whole_groups(const Problem& p, std::int64_t panel) noexcept {
  const std::int64_t group = p.k_per_group();
  if (2 * group > kMaxWidth) return group;
  std::int64_t channels = panel;
  while (channels % group != 0) channels += panel;
  return channels;
}

// Is an input channel multiplied by filters of several output channels, and no other with it?
bool multiplies(const Problem& p) noexcept {
  return p.c_per_group() == 1 && p.k_per_group() > 1 && kMaxWidth % p.k_per_group() == 0;
}

// Blocks of whole groups that fill vectors, in place, in which no row is shorter than a tile. Parts
// of a row are whole tiles: 16 to 16 channels at 60x60, NHWC, 91 -> 81 us (Xeon, AVX-512).
DepthwiseBlocking choose_vectors(const Problem& p, const Tile& tile,
                                 const CacheSizes& caches) noexcept {
  DepthwiseBlocking b;
  b.lanes = Lanes::channels;
  b.rows = std::min(p.oh, kDepthwiseRows);
  const std::int64_t pixels = broadcast_pixels(tile);
  b.pixels = p.ow;
  if (p.ow > kDepthwisePixels) {
    const std::int64_t unit = p.window.stride.w * pixels;
    b.pixels = round_up(ceil_div(p.ow, ceil_div(p.ow, kDepthwisePixels)), unit);
    while ((p.ow - 1) % b.pixels + 1 < pixels) b.pixels += unit;
  }
  b.channels = block_channels(p, tile.nr, kDepthwiseChannels);
  // Lines of x that groups share come in their order, and stay in L2: 32 groups of 8 at 56x56,
  // NHWC, 3150 -> 2120 us, 16 of 16 at 28x28 966 -> 741 (Zen 3).
  b.reads_lines =
      tile.zen && p.x_strides[3] == p.c && b.channels == p.k && is_far(p, 2 * p.n, 3, caches);
  if (b.reads_lines) {
    const std::int64_t row = b.pixels * p.window.stride.h * p.c * kFloat;
    b.rows = std::clamp(caches.l2 / row, std::min(p.oh, kLeastDepthwiseRows), b.rows);
  }
  const double depth = real(p.c_per_group() * p.taps());
  const std::int64_t vectors = p.groups * ceil_div(p.k_per_group(), tile.width);
  const std::int64_t stride = p.window.stride.w;
  const double tiles = real(ceil_div(p.ow, pixels) * p.oh * vectors);
  // Of a column of taps. By 2 the sums of the middle one wait for each other, but where there are
  // tiles twice as long.
  const bool waits = stride == 2 && (p.ow < 2 * pixels || crowds(p, b));
  const double middle = real(pixels) * tile.fma;
  double step = 2 * middle + (waits ? std::max(middle, kFmaLatency * tile.cycle) : middle);
  // Short vectors have tiles of few pixels, which wait for weights from L2: 192 to 8 channels at
  // 17x17, NHWC, by gemm 96 -> 75 us (Xeon, AVX2).
  const bool far = depth * tile.width * kFloat > real(caches.l1 * 5 / 8);
  if (far && !tile.many_registers()) step += 3 * kVectorL2;
  b.fma_cycles = tiles * depth / 3 * step;
  b.fma_cycles += real(vectors) * real(p.h * p.w * ceil_div(p.c_per_group(), kLine)) * kLineRolled;
  b.pack_cycles = pointer_cycles(p, b) + block_cycles(p, tile, b);
  b.store_cycles = real(vectors * p.oh * p.ow) * kStoreVector + tiles * kTile * tile.cycle;
  return b;
}

// One or two columns are as many sums side by side, which wait for each other: pixels of all rows
// and of several images are then a row to the kernel, unless large filters lie in the padding for
// the most part (256 channels, 3x3 by 2 on 4x4, batch of 32, 28 -> 17 us, AVX2). What is transposed
// for it is whole images.
bool has_list(const Problem& p, bool transposed) noexcept {
  constexpr std::int64_t kMostTaps = 9;
  if (p.ow > 2 || p.n * p.oh == 1 || p.oh * p.ow > kListed || p.taps() > kMostTaps) {
    return false;
  }
  return transposed ? p.h * p.w <= kListed &&
                          (p.h == 1 || p.w == 1 || p.x_strides[2] == p.w * p.x_strides[3])
                    : output_step(p, p.y_strides) != 0;
}

// Taps of an axis that no output finds in the image: the first ones, and all.
struct Unfound {
  std::int64_t first, all;
};
Unfound unfound(std::int64_t size, std::int64_t output, std::int64_t kernel, std::int64_t stride,
                std::int64_t dilation, std::int64_t before) noexcept {
  const std::int64_t above = ceil_div(before - (output - 1) * stride, dilation);
  const std::int64_t first = std::clamp<std::int64_t>(above, 0, kernel - 1);
  const std::int64_t end = std::clamp(ceil_div(size + before, dilation), first + 1, kernel);
  return {first, kernel - (end - first)};
}

DepthwiseBlocking choose_list(const Problem& p, const Tile& tile, bool transposed) noexcept {
  DepthwiseBlocking b;
  b.lanes = Lanes::channels;
  b.listed = true;
  b.transposed = transposed;
  b.rows = p.oh;
  b.pixels = p.ow;
  const std::int64_t pixels = transposed ? std::max(p.h * p.w, p.oh * p.ow) : p.oh * p.ow;
  b.images = std::clamp<std::int64_t>(kListed / pixels, 1, p.n);
  b.channels = block_channels(p, tile.nr, transposed ? tile.nr : kDepthwiseChannels);
  const double vectors = real(p.oh * p.ow * ceil_div(p.k, tile.width));
  const double step = p.k_per_group() == 1 ? kTapAlone : kFmaSpread;
  b.fma_cycles = vectors * real(p.c_per_group() * p.taps()) * step;
  b.pack_cycles = real(p.oh * p.ow * p.taps()) * kCopyScalar;
  b.store_cycles = vectors * kStoreVector;
  if (transposed) {
    b.pack_cycles += real(p.h * p.w * ceil_div(p.c, tile.width)) * kTranspose;
    b.store_cycles += vectors * kTransposePixel;
  } else {
    const double blocks = real(ceil_div(p.k, b.channels)) / real(b.images);
    b.pack_cycles += blocks * kPixelBlock * tile.cycle;
  }
  return b;
}

}  // namespace

std::int64_t block_channels(const Problem& p, std::int64_t panel, std::int64_t most) noexcept {
  const std::int64_t whole = whole_groups(p, panel);
  return std::min(p.k, std::max<std::int64_t>(most / whole, 1) * whole);
}

double pointer_cycles(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return real(row_blocks(p, b)) * real(rows_of(p, b.rows)) * real(columns_of(p, p.ow)) *
         kCopyScalar;
}

double block_cycles(const Problem& p, const Tile& tile, const DepthwiseBlocking& b) noexcept {
  const std::int64_t blocks =
      row_blocks(p, b) * ceil_div(p.ow, b.pixels) * ceil_div(p.k, b.channels);
  return real(blocks) * kPixelBlock * tile.cycle;
}

// Of all images of a batch where vectors are short: 32 images of 128 channels, 28x28, AVX2 2930 ->
// 2080 us (NHWC), 3430 -> 2350 (NCHW). Long ones take up to 10 % longer for it, strided 5x5 filters
// 20 %.
bool fetches(const Problem& p, std::int64_t times, int width, const CacheSizes& caches) noexcept {
  return is_far(p, width < kMaxWidth && p.window.stride.w == 1 ? p.n : 1, times, caches);
}

bool is_depthwise(std::int64_t in_per_group, std::int64_t out_per_group, int width) noexcept {
  return (in_per_group == 1 && out_per_group == 1) ||
         (2 * out_per_group <= width && in_per_group <= out_per_group &&
          (width % out_per_group == 0 || width == kMaxWidth));
}

std::int64_t broadcast_pixels(const Tile& tile) noexcept {
  return kBroadcastPixels[tile.many_registers()];
}

// By 2 the sums of a middle row wait for each other, and with AVX2's few a product is as fast (32
// groups of 16 at 28x28 442 -> 457 us, but 21 of 8 at 56x56 467 -> 417). A tile of theirs has no
// more than its first and last pixel in the padding.
bool fills_vectors(const Window& window, std::int64_t in_per_group, std::int64_t out_per_group,
                   int width) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = window;
  return width >= kLeastBroadcast && in_per_group > 1 && out_per_group >= width && kernel.h == 3 &&
         kernel.w == 3 && dilation.h == 1 && dilation.w == 1 && stride.h == stride.w &&
         (stride.w == 1 ||
          (stride.w == 2 && width > kLeastBroadcast && padding.left <= 2 && padding.right <= 2));
}

bool choose_depthwise(const Problem& p, const Tile& tile, const CacheSizes& caches, bool finite,
                      DepthwiseBlocking& b) noexcept {
  b = DepthwiseBlocking();
  const bool adjacent = p.x_strides[1] == 1 && p.y_strides[1] == 1;
  if (fills_vectors(p.window, p.c_per_group(), p.k_per_group(), tile.width)) {
    if (!adjacent || p.ow < broadcast_pixels(tile)) return false;
    b = choose_vectors(p, tile, caches);
    return true;
  }
  if (!is_depthwise(p.c_per_group(), p.k_per_group(), tile.width)) return false;
  const auto consider = [&](const DepthwiseBlocking& other) {
    if (b.rows == 0 || other.cycles() < b.cycles()) b = other;
  };
  // Taps that no output finds are left out where weights are finite: 576 channels of one pixel,
  // 11x11, 16 images 14.2 -> 1.4 us, 384 of 4x4, 2 images 12.3 -> 6.1 (Xeon, AVX-512).
  DepthwiseBlocking taps;
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  if (finite && p.k_per_group() == 1 && mode == PaddingMode::zeros) {
    const Unfound rows = unfound(p.h, p.oh, kernel.h, stride.h, dilation.h, padding.top);
    const Unfound columns = unfound(p.w, p.ow, kernel.w, stride.w, dilation.w, padding.left);
    taps.first_tap = {rows.first, columns.first};
    taps.unfound = {rows.all, columns.all};
  }
  const Problem found = found_taps(p, taps);
  // Of the zeros around an image a patch holds nothing.
  for (const bool repeated : {false, true}) {
    if (repeated ? multiplies(p) && pads_with_zeros(p.window)
                 : adjacent || pads_with_zeros(p.window)) {
      consider(!repeated && has_list(found, !adjacent)
                   ? choose_list(found, tile, !adjacent)
                   : choose_pixels(found, tile, caches, finite, !adjacent, repeated));
    }
  }
  if (interleaves(found, tile, finite)) consider(choose_interleaved(found, tile));
  b.first_tap = taps.first_tap;
  b.unfound = taps.unfound;
  if ((!adjacent || is_plane(p)) && has_planes(p)) consider(choose_planes(p, tile, caches));
  return b.rows > 0;
}

void split_for_threads(const Problem& p, int threads, DepthwiseBlocking& b) noexcept {
  constexpr std::int64_t kPanel = kMaxVectors * kMaxWidth;
  const std::int64_t whole = whole_groups(p, kPanel);
  const std::int64_t least = 3 * std::int64_t{threads};
  while (depthwise_blocks(p, b) < least && b.channels > 2 * whole) {
    b.channels = round_up(ceil_div(b.channels, 2), whole);
  }
  while (depthwise_blocks(p, b) < least && b.images > 1) b.images = ceil_div(b.images, 2);
  if (b.listed) return;
  const bool planes = b.lanes == Lanes::pixels;
  const std::int64_t unit = planes ? kDepthwiseRows : 1;  // whole tiles
  while (depthwise_blocks(p, b) < least &&
         b.rows > (planes ? kDepthwiseRows : kLeastDepthwiseRows)) {
    b.rows = round_up(ceil_div(b.rows, 2), unit);
  }
  if (planes) return;
  b.reads_lines = b.reads_lines && b.channels == p.k;  // or several would read the same ones
  // Wide rows of short images.
  while (depthwise_blocks(p, b) < least && b.pixels > 2 * kDepthwisePixels) {
    b.pixels = ceil_div(b.pixels, 2);
  }
}

Problem found_taps(const Problem& p, const DepthwiseBlocking& b) noexcept {
  Problem found = p;
  auto& [kernel, stride, padding, dilation, mode] = found.window;
  kernel.h -= b.unfound.h;
  kernel.w -= b.unfound.w;
  padding.top -= b.first_tap.h * dilation.h;
  padding.left -= b.first_tap.w * dilation.w;
  return found;
}

std::int64_t depthwise_workspace_bytes(const Problem& p, const DepthwiseBlocking& b) noexcept {
  const Problem found = found_taps(p, b);
  return b.interleaved ? InterleavedScratch(found, b).bytes() : Scratch(found, b).bytes();
}

std::int64_t depthwise_blocks(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return ceil_div(p.n, b.images) * row_blocks(p, b) * ceil_div(p.ow, b.pixels) *
         ceil_div(p.k, b.channels);
}

}  // namespace fastconv
