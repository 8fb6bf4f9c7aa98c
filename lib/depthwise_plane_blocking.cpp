// SPDX-License-Identifier: Apache-2.0
// Depthwise on planes of adjacent columns.
#include <algorithm>

#include "costs.hpp"
#include "depthwise_blocks.hpp"
#include "depthwise_order.hpp"
#include "geometry.hpp"

namespace fastconv {
namespace {

// Does a strip go down all rows of a block under a filter of five rows and more? Each block then
// begins with rows that only some of its outputs need.
bool rolls_tall(const Problem& p, const Tile& tile) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return tile.width == kMaxWidth && kernel.h == kernel.w && stride.h == stride.w &&
         (kernel.w == 5 || kernel.w == 7);
}

// Do the planes of two channels share vectors? A plane that is alone takes as long down its rows.
bool pairs_planes(const Problem& p, const Tile& tile) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return tile.width == kMaxWidth && 2 * p.ow <= kMaxWidth && p.w <= kMaxWidth &&
         (stride.w == 2 ? kernel.w <= 5 : kernel.w == 3 && p.k > 1);
}

}  // namespace

// Does the kernel for adjacent columns serve the problem?
bool has_planes(const Problem& p) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return p.c_per_group() == 1 && (p.x_strides[3] == 1 || p.w == 1) &&
         (p.y_strides[3] == 1 || p.ow == 1) && pads_with_zeros(p.window) && stride.h <= 2 &&
         (stride.w == 1 || (stride.w == 2 && dilation.w == 1)) && kernel.h <= kMaxPlaneTaps &&
         kernel.w <= kMaxPlaneTaps && (kernel.w - 1) * dilation.w <= kMaxPlaneReach;
}

// A block's planes of x and y together fit L1, or those of a channel as far as strips go down them;
// its rows are whole tiles.
DepthwiseBlocking choose_planes(const Problem& p, const Tile& tile,
                                const CacheSizes& caches) noexcept {
  // What a strip goes down is as many streams as it finds pages: a CPU's prefetchers follow 32. Of
  // fewer rows a strip finds too little of what it reads near: 2 channels of 256x256, 3x3, 61 -> 49
  // us (AVX2), one of 320x320 20 -> 15 (Xeon, AVX-512).
  constexpr std::int64_t kOutputs = 4096, kTallRows = 112, kPages = 28;
  DepthwiseBlocking b;
  const bool tall = rolls_tall(p, tile);
  b.lanes = Lanes::pixels;
  b.pixels = p.ow;
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const std::int64_t most =
      kPages * (kPageBytes / kFloat) / std::max<std::int64_t>(p.x_strides[2], 1);
  const std::int64_t side_by_side = tall && p.k > 1 && most >= 2 * kPages ? 2 : 1;
  const std::int64_t tallest = std::clamp(most / side_by_side / kDepthwiseRows * kDepthwiseRows,
                                          kPages / stride.h, kTallRows);
  b.rows = std::max(tallest, kOutputs / p.ow / kDepthwiseRows * kDepthwiseRows);
  b.rows = std::min(p.oh, b.rows);
  const bool shared = kernel.h == kernel.w && stride.h == stride.w &&
                      (kernel.w == 3 || kernel.w == 5 || kernel.w == 7);
  b.paired = shared && pairs_planes(p, tile);
  const std::int64_t together = b.paired ? 2 : side_by_side;
  b.channels = std::max(kOutputs / (b.rows * p.ow) / together * together, together);
  b.channels = std::min(p.k, b.channels);
  const double stepped = tall && !b.paired && p.ow <= tile.width ? kFmaRolledAlone : kFmaRolled;
  const double rolled = stride.w == 1 ? stepped : kFmaSeparated;
  const double apart = (stride.w == 1 ? kTapShared : kTapSeparated) * tile.fma / kFma;
  const double tap = !shared ? kFma + kLoadUnaligned : tall || b.paired ? rolled : apart;
  const std::int64_t channels = b.paired ? ceil_div(p.k, 2) : p.k;
  const double vectors = real(channels * p.oh * ceil_div(p.ow, tile.width));
  b.fma_cycles = vectors * real(p.taps()) * tap;
  // 128 channels of 147x147: 6000 -> 3600 us (AVX2), 3450 -> 2900 (AVX-512). What is nearer takes
  // 3 to 8 % longer for it, and with stride 2, whose streams are few, also what is twice as far;
  // tall strips less, of which long rows gain more: a channel of 1024x1024, 5x5, from memory 2200
  // -> 750 us, from L3 745 -> 500, with fewer rows (Xeon, AVX-512).
  b.fetch = tall ? 3 * tallest < 2 * kTallRows && is_far(p, 2 * p.n, 1, caches)
                 : fetches(p, 5 * stride.w, tile.width, caches);
  b.store_cycles = vectors * (kStoreVector + (shared ? 0.0 : kTileApart * tile.cycle));
  if (tall || b.paired) b.store_cycles += real(p.k * ceil_div(p.ow, 2 * tile.width)) * kTile;
  const bool masked = tile.width < kMaxWidth && p.ow % tile.width != 0;
  if (masked) b.store_cycles += real(p.k * p.oh * kernel.h) * kMaskedRow;
  if (tile.width < 8) {
    const std::int64_t tiles = ceil_div(p.oh, kDepthwiseRows);
    const std::int64_t image_rows =
        shared ? p.oh * stride.h + tiles * (kernel.h - stride.h) : p.oh * kernel.h;
    const std::int64_t last = masked ? kernel.w : std::min(padding.right, kernel.w);
    const std::int64_t loads = std::min(padding.left, kernel.w) + last;
    b.store_cycles += real(p.k) * (real(image_rows * loads) * kLoadSome +
                                   (masked ? real(p.oh) * kStoreSome : 0.0));
  }
  const bool strips = p.ow > 2 * tile.width;  // side by side
  if (strips && is_far(p, p.n, 2, caches)) {
    const bool waits = comes_from_memory(p, tile, caches);
    b.store_cycles += vectors * (waits ? kPlaneMemory : kPlaneFar);
  }
  return b;
}

}  // namespace fastconv
