// SPDX-License-Identifier: Apache-2.0
// Depthwise on pixels whose channels are along the lanes.
#include <algorithm>

#include "costs.hpp"
#include "depthwise_blocks.hpp"
#include "depthwise_order.hpp"
#include "geometry.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// Blocks in place are of whole rows, or parts of so many pixels: what comes from beyond L2
// comes faster in the order of its addresses. 32 channels of 640x640 11.9 -> 7.8 ms, of 208x208 552
// -> 449 us, of 112x112 127 -> 123 (Xeon, AVX-512).
constexpr std::int64_t kRowPixels = 1024;
constexpr std::int64_t kBlockPixels = 2560;  // in all of a block's rows
constexpr std::int64_t kAcross = 256;        // where a core takes a row's before the next row's
// Pointers that rows under larger strides than 2 may share, though they leave out most: as many as
// leave room for x in L1 (3x3 by 4 on 28x14, 960 channels, 17.0 -> 12.3 us). Larger images have
// blocks of fewer rows (96 channels 5x5 by 3 at 56x56, NHWC, beside another thread 29 -> 35
// GFLOP/s, Xeon, AVX-512).
constexpr std::int64_t kFewPointers = 1024;

// Are groups spread by the kernel for which one permutation serves nine taps, and gain by it? Those
// that are transposed do not: groups of 8, NCHW, 28x28 278 -> 404 us (Xeon, AVX-512).
bool spreads_once(const Problem& p, const Tile& tile, const DepthwiseBlocking& b) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return !b.transposed && tile.many_registers() && kernel.h == 3 && kernel.w == 3 &&
         stride.h == 1 && stride.w == 1 && dilation.w == 1 && b.rows > 1;
}

// Whole rows, or equal parts, as many as bound the pointers.
void set_whole_rows(const Problem& p, DepthwiseBlocking& b) noexcept {
  const std::int64_t most = std::max(kRowPixels / p.window.stride.w, kDepthwisePixels);
  b.pixels = ceil_div(p.ow, ceil_div(p.ow, most));
  b.rows = std::min(b.rows, std::max(kBlockPixels / b.pixels, kLeastDepthwiseRows));
}

// Do pixels crowd in L1, so that what is under a tile would not stay there until all of its lines
// have been read? Those of wide filters do, the longer the shorter vectors are, and of dilated ones
// of three taps if all pixels that they visit share one set that has no room for a tile's row of
// them, ways of a page each (512 channels, 33x33, dilation 2: in place 335 -> 256 us, AVX-512, 475
// -> 282, AVX2, on a Xeon with 12 ways). (Of 1024 channels at 7x7, dense, copies lose 15 %.) Tiny
// images stay all the same (5x5 on 2x2, 256 channels, AVX2 2.1 -> 1.2 us), and what comes from
// beyond near caches takes longer to copy (5x5 by 2 on 56x56, 512 channels, AVX-512 1240 -> 630).
bool gains_by_copying(const Problem& p, const Tile& tile, const CacheSizes& caches,
                      std::int64_t pixels) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const bool wide = kernel.w >= 5;
  if (!wide && (kernel.w < 3 || dilation.w == 1 || caches.ways() >= 9)) return false;
  const double span = real(p.h * p.w) * real(p.x_strides[3]) * kFloat;
  if (span <= real(caches.l1 * 3 / 2)) return false;
  // Of eight ways, lines under a tile of short vectors leave L1 before their second half is read
  // (NHWC, 128 channels, 56x56, 7x7 1050 -> 626 us, by 2 351 -> 208, 5x5 by 2 197 -> 146, Zen 3).
  // Groups of several channels take longer with each of them: 32 of 4, 7x7 at 14x14 160 -> 210.
  const bool few_ways = tile.width < kMaxWidth && caches.ways() < 9 && p.k_per_group() == 1;
  const std::int64_t fewest = is_far(p, p.n, 7, caches) ? 8 * tile.width : few_ways ? 16 : 32;
  const std::int64_t crowd = wide ? fewest * tile.width : 1024;
  return p.x_strides[3] % crowd * column_phases(p, pixels) % crowd == 0;
}

// What a kernel makes of a row of taps.
struct RowOfTaps {
  bool spreads, own, slides;

  RowOfTaps(const Problem& p, const Tile& tile, const DepthwiseBlocking& b) noexcept {
    const auto& [kernel, stride, padding, dilation, mode] = p.window;
    spreads = p.k_per_group() > 1 && !b.repeated;  // a group's pixels over its outputs
    // Has it a kernel of its own width?
    own = stride.w <= 2 && (kernel.w == 3 || (tile.fuses && kernel.w >= 5 && kernel.w != 6));
    slides = tile.fuses && stride.w == 1 && kernel.w > 1;  // loaded pixels move on along it
  }
};

// Of one vector under one tap.
double tap_cycles(const Problem& p, const Tile& tile, const DepthwiseBlocking& b,
                  const RowOfTaps& row) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  // Loads are their bound, but of long vectors, of which one serves nine taps, unless they are
  // repeated (32 channels by 2, 3x3 by 2 at 56x56 30 us, repeated 58), and of wide filters.
  // Dense 3x3 of 8 channels at 112x112 55 -> 34 us, which was direct (Xeon, AVX-512).
  const bool slow =
      b.transposed && (p.k_per_group() > 1 ? tile.one_permutation() : tile.two_long_fma());
  const bool waits = kernel.w == 3 ? !b.transposed && (b.repeated || tile.width < kMaxWidth) : slow;
  // Repeated ones of AVX2 wait for what was stored just before, where a core permutes one vector a
  // cycle: 32 channels by 4, 3x3 at 56x56, NHWC, by direct 302 -> 270 us, 5x5 478 -> 414 (Xeon).
  const bool late = b.repeated && kernel.w <= 5 && tile.fma > kFma;
  // A few columns' sums wait for themselves: 12 groups of 8, 7x7 by 2 at 26x7, NHWC, by gemm 29.8
  // -> 13.1 us (Xeon, AVX-512).
  const double chained = p.ow < 4 ? kFmaLatency * tile.cycle / real(p.ow) : 0.0;
  double cycles = kTapAlone;
  if (row.spreads) {
    // With two long FMAs a cycle a permutation takes the turn of one, which in place waits less for
    // pixels (8 images, 32 groups of 8 at 14x14, NCHW, by direct 1030 -> 720 us, Xeon, AVX-512).
    const bool straddles = tile.width % p.k_per_group() != 0;
    // With 16 registers pixels come from memory again before they are spread: 32 groups of 4, 3x3
    // at 28x28, NHWC, by direct 190 -> 164 us (Zen 3).
    const bool again = tile.zen && !tile.many_registers();
    const double alone = straddles ? kFmaStraddled : slow || again ? 2 * kFma : kFmaSpread;
    // Of one input a permutation for nine taps costs each of them as much as a load of its own: 33
    // channels by 7, 3x3 at 49x49, NHWC, by direct 389 -> 235 us (Xeon, AVX-512).
    const bool once = spreads_once(p, tile, b);
    const double one_input = once ? kTapAlone : kTapSpread;
    cycles = p.c_per_group() == 1 ? one_input : once ? kFmaSpreadOnce : alone;
  } else if (row.own || row.slides) {
    const double shared = (late && kernel.w == 3 ? kTapAlone : kTapShared) * tile.cycle;
    cycles = row.own && !waits && !late ? kFma : std::max(kFma, shared);
  }
  cycles = std::max(cycles, chained);
  if (b.repeated && stride.w == 2 && kernel.w > 3) cycles = std::max(cycles, kTapRepeated);
  return cycles;
}

// Of a vector of a pixel on its way to or from transposed rows. Of groups, and of AVX2's vectors,
// that takes longer where a core permutes one vector a cycle, and beside two long FMAs a cycle from
// beyond three quarters of L2, as of single channels: 16 of 8, NCHW, 1x1 by 2 at 28x28, by direct:
// 30 -> 23 us, 21 of 8, 3x3 by 2 at 56x56, 616 -> 388, 128 of 1, 5x5 by 2 at 70x70, 240 -> 159
// (Xeon, AVX-512). What comes from memory takes longest: 32 of 1, 3x3 dilated by 2 at 224x224, by
// direct 4440 -> 2840 (Zen 3).
double transposed_pixel(const Problem& p, const Tile& tile, const CacheSizes& caches) noexcept {
  const bool grouped = p.k_per_group() > 1;
  const bool far = tile.two_long_fma() && is_far(p, 4 * p.n, 3, caches);
  const bool shuffles = grouped ? tile.one_permutation() : tile.fma > kFma;
  if (comes_from_memory(p, tile, caches)) return kTransposePixel * 4.0;
  return kTransposePixel * (far ? (grouped ? 2.0 : 1.5) : shuffles ? 1.3 : 1.0);
}

}  // namespace

DepthwiseBlocking choose_pixels(const Problem& p, const Tile& tile, const CacheSizes& caches,
                                bool finite, bool transposed, bool repeated) noexcept {
  DepthwiseBlocking b;
  b.lanes = Lanes::channels;
  b.transposed = transposed;
  b.repeated = repeated;
  b.rows = std::min(ceil_div(p.oh, row_phases(p, b)), kDepthwiseRows);
  b.pixels = std::min(p.ow, kDepthwisePixels);
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  b.copied =
      !transposed &&
      (repeated || (pads_with_zeros(p.window) && gains_by_copying(p, tile, caches, b.pixels)));
  // Strides that leave many rows out share few pointers; what is copied would leave L1, or not be
  // read at all.
  if (stride.h > 2) {
    const auto pointers = [&]() { return rows_of(p, b.rows) * columns_of(p, p.ow); };
    const bool skips = transposed && rows_of(p, 1) < stride.h;
    if (!b.in_place() && (skips || pointers() > kFewPointers)) b.rows = 1;
    while (b.rows > 1 && pointers() > kFewPointers) b.rows = ceil_div(b.rows, 2);
  }
  if (b.in_place()) set_whole_rows(p, b);
  // Of fewer rows, lines from beyond L2 come more in their order, unless pixels are many of them:
  // NHWC, 3x3 by 2, 24 channels at 112x112 70 -> 49 us, 48 119 -> 81, 16 at 224x224 133 -> 94, by
  // 1, 64 at 56x56 76 -> 69, 36 at 112x112 338 -> 209 (Zen 3).
  if (tile.zen && tile.width < kMaxWidth && b.in_place() && kernel.h == 3 && kernel.w == 3 &&
      dilation.h == 1 && p.x_strides[3] < 16 * kLine && is_far(p, p.n, 1, caches)) {
    b.rows = std::min(b.rows, stride.h == 1 ? kLeastDepthwiseRows : 2);
  }
  // Strides leave out some of what would be fetched: 192 channels 3x1 by 4 at 224x224 1965 -> 815
  // us, 5x5 by 2 at 96x96, 672 channels, 4.6 -> 3.6 ms (Xeon, AVX-512).
  b.fetch = b.in_place() && stride.w == 1 && fetches(p, 14, tile.width, caches);
  b.channels = block_channels(p, tile.nr, transposed || b.copied ? tile.nr : kDepthwiseChannels);
  // Lines from beyond L2 come faster in their order, where L1 holds what two rows share: 5x5 by 2,
  // 192 channels of 95x95 940 -> 740 us, of 75x75 550 -> 460, by 1, 144 of 80x80 880 -> 780 (Xeon,
  // AVX2).
  if (tile.width < kMaxWidth && kernel.w == 5 && !crowds(p, b) && b.in_place() &&
      is_far(p, p.n, 2, caches)) {
    const std::int64_t shared = (6 * stride.w + kernel.w) * (kernel.h - stride.h) * kFloat;
    const std::int64_t most = kept_in_l1(caches) / std::max<std::int64_t>(shared, 1);
    b.channels = std::min(b.channels, block_channels(p, tile.nr, most));
  }
  b.down = goes_down(p, tile, caches, b);
  if (b.rows > kDepthwiseRows / 2 && rolls(p, tile, b) && !stays_down(p, caches, b))
    b.rows = kDepthwiseRows / 2;
  // The next row finds in L1 what it shares with the last: 384 channels of 28x28 111 -> 91 us, 768
  // of 14x14 36 -> 32.
  if (!b.down && kernel.w == 3 && tile.two_long_fma()) {
    b.channels = std::min(b.channels, block_channels(p, tile.nr, kAcross));
  }
  // Lines come in their order. 128 channels of 28x28, 32 images, 4230 -> 3140 us, 96 by 2 of
  // 224x224 3990 -> 2820, though what L3 holds takes up to a fifth longer (Zen 3).
  b.reads_lines = comes_from_memory(p, tile, caches) && is_far(p, p.n, 20, caches) &&
                  b.in_place() && p.x_strides[3] == p.c && b.channels == p.k && dilation.h == 1;
  if (b.reads_lines) {
    b.rows = std::clamp<std::int64_t>(caches.l2 / 2 / (p.w * stride.h * p.c * kFloat),
                                      std::min<std::int64_t>(b.rows, 2), b.rows);
  }
  const RowOfTaps row(p, tile, b);
  const double vectors = real(p.oh * p.ow * ceil_div(p.k, tile.width));
  b.fma_cycles = vectors * real(p.c_per_group() * p.taps()) * tap_cycles(p, tile, b, row);
  if (row.spreads && p.c_per_group() > 1 && (tile.zen || !transposed)) {
    b.fma_cycles += vectors * real(p.taps()) * kTapGroup * tile.cycle;
  }
  const bool skips = finite && mode == PaddingMode::zeros && row.spreads;
  if (skips) b.fma_cycles *= share_of_rows_inside(p);
  b.pack_cycles = pointer_cycles(p, b);
  // Rows that strides leave out are not copied, those that blocks share once for each.
  const std::int64_t copied = row_blocks(p, b) * std::min(p.h, rows_of(p, b.rows)) * p.w;
  if (repeated) {
    b.pack_cycles +=
        real(copied * ceil_div(p.k, tile.width)) * (tile.two_long_fma() ? kRepeatLong : kRepeat);
  }
  b.store_cycles = vectors * kStoreVector;
  if (transposed) {
    const double pixel = transposed_pixel(p, tile, caches);
    b.pack_cycles += real(copied * ceil_div(p.c, tile.width)) * pixel;
    b.store_cycles += vectors * pixel;
  } else {
    b.pack_cycles += block_cycles(p, tile, b);
    if (b.copied) b.pack_cycles += real(copied * ceil_div(p.c, tile.width)) * kCopyVector;
    // Part of a vector; those of kMaxWidth have masks that take no time, shorter ones store it in
    // pieces of 4, 2 and 1 lanes (12 channels, 3x3 at 112x112, by direct 128 -> 85 us, Xeon, AVX2).
    // What is spread takes longer by as much (3 groups of 2 at 35x35, by direct 12 -> 6 us).
    const std::int64_t lanes = tile.width < kMaxWidth ? p.k % tile.width : 0;
    const bool loads_taps = lanes > 0 && !row.spreads && row.own && !row.slides && kernel.w > 3;
    b.fma_cycles += loads_taps ? real(p.oh * p.ow * p.taps()) * kFma : 0.0;
    const bool pieces = tile.width > 4 && !row.spreads;
    const std::int64_t stores = pieces ? lanes / 4 + lanes % 4 / 2 + lanes % 2 : lanes;
    b.store_cycles += real(p.oh * p.ow * stores) * kStoreScalar;
  }
  return b;
}

}  // namespace fastconv
