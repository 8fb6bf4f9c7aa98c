// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "costs.hpp"
#include "depthwise_blocks.hpp"
#include "depthwise_order.hpp"
#include "geometry.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// Output rows and pixels of a block: bound the pointers, of which neighbouring output rows share
// most. Multiples of seven, as most networks' sizes and the kernel's tiles are.
constexpr std::int64_t kRows = kMaxDepthwiseRows;
constexpr std::int64_t kPixels = 56;  // that are copied, transposed or of groups that fill vectors
// Other blocks in place are of whole rows, or parts of so many pixels: what comes from beyond L2
// comes faster in the order of its addresses. 32 channels of 640x640 11.9 -> 7.8 ms, of 208x208 552
// -> 449 us, of 112x112 127 -> 123 (Xeon, AVX-512).
constexpr std::int64_t kRowPixels = 1024;
constexpr std::int64_t kBlockPixels = 2560;  // in all of a block's rows
constexpr std::int64_t kLeastRows = 4;       // which are no fewer
constexpr std::int64_t kListed = 112;        // likewise, in all rows and images of a block
constexpr std::int64_t kChannels = 512;      // 240 in parts of 128 take 5 to 9 % longer
constexpr std::int64_t kAcross = 256;        // where a core takes a row's before the next row's
// Pointers that rows under larger strides than 2 may share, though they leave out most: as many as
// leave room for x in L1 (3x3 by 4 on 28x14, 960 channels, 17.0 -> 12.3 us). Larger images have
// blocks of fewer rows (96 channels 5x5 by 3 at 56x56, NHWC, beside another thread 29 -> 35
// GFLOP/s, Xeon, AVX-512).
constexpr std::int64_t kFewPointers = 1024;

// Channels of a block that ends with a panel of weights and with a group.
std::int64_t whole_groups(const Problem& p, std::int64_t panel) noexcept {
  const std::int64_t group = p.k_per_group();
  if (2 * group > kMaxWidth) return group;
  std::int64_t channels = panel;
  while (channels % group != 0) channels += panel;
  return channels;
}
// As many of them as most channels allow.
std::int64_t block_channels(const Problem& p, std::int64_t panel, std::int64_t most) noexcept {
  const std::int64_t whole = whole_groups(p, panel);
  return std::min(p.k, std::max<std::int64_t>(most / whole, 1) * whole);
}

// Is an input channel multiplied by filters of several output channels, and no other with it?
bool multiplies(const Problem& p) noexcept {
  return p.c_per_group() == 1 && p.k_per_group() > 1 && kMaxWidth % p.k_per_group() == 0;
}

// Does the kernel for adjacent columns serve the problem?
bool has_planes(const Problem& p) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return p.c_per_group() == 1 && (p.x_strides[3] == 1 || p.w == 1) &&
         (p.y_strides[3] == 1 || p.ow == 1) && pads_with_zeros(p.window) && stride.h <= 2 &&
         (stride.w == 1 || (stride.w == 2 && dilation.w == 1)) && kernel.h <= kMaxPlaneTaps &&
         kernel.w <= kMaxPlaneTaps && (kernel.w - 1) * dilation.w <= kMaxPlaneReach;
}

// What is far is asked for ahead, images of a batch together where vectors are short: 32 images of
// 128 channels, 28x28, AVX2 2930 -> 2080 us (NHWC), 3430 -> 2350 (NCHW). Long ones take up to 10 %
// longer for it, strided 5x5 filters 20 %.
bool fetches(const Problem& p, std::int64_t times, int width, const CacheSizes& caches) noexcept {
  return is_far(p, width < kMaxWidth && p.window.stride.w == 1 ? p.n : 1, times, caches);
}

// Are groups spread by the kernel for which one permutation serves nine taps, and gain by it? Those
// that are transposed do not: groups of 8, NCHW, 28x28 278 -> 404 us (Xeon, AVX-512).
bool spreads_once(const Problem& p, const Tile& tile, const DepthwiseBlocking& b) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return !b.transposed && tile.many_registers() && kernel.h == 3 && kernel.w == 3 &&
         stride.h == 1 && stride.w == 1 && dilation.w == 1 && b.rows > 1;
}

// To lay out the pointers of all blocks.
double pointer_cycles(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return real(row_blocks(p, b)) * real(rows_of(p, b.rows)) * real(columns_of(p, p.ow)) *
         kCopyScalar;
}

// To begin each block of an image.
double block_cycles(const Problem& p, const Tile& tile, const DepthwiseBlocking& b) noexcept {
  const std::int64_t blocks =
      row_blocks(p, b) * ceil_div(p.ow, b.pixels) * ceil_div(p.k, b.channels);
  return real(blocks) * kPixelBlock * tile.cycle;
}

// Blocks of whole groups that fill vectors, in place, in which no row is shorter than a tile.
DepthwiseBlocking choose_vectors(const Problem& p, const Tile& tile) noexcept {
  DepthwiseBlocking b;
  b.lanes = Lanes::channels;
  b.rows = std::min(p.oh, kRows);
  const std::int64_t pixels = broadcast_pixels(tile);
  for (std::int64_t parts = ceil_div(p.ow, kPixels), last = 0; last < pixels; --parts) {
    b.pixels = ceil_div(p.ow, parts);
    last = p.ow - (ceil_div(p.ow, b.pixels) - 1) * b.pixels;
  }
  b.channels = block_channels(p, tile.nr, kChannels);
  const double depth = real(p.c_per_group() * p.taps());
  const std::int64_t vectors = p.groups * ceil_div(p.k_per_group(), tile.width);
  const std::int64_t stride = p.window.stride.w;
  const double tiles = real(ceil_div(p.ow, pixels) * p.oh * vectors);
  // Of a column of taps. By 2 the sums of the middle one wait for each other, but where there are
  // tiles twice as long.
  const bool waits = stride == 2 && (p.ow < 2 * pixels || crowds(p, b));
  const double middle = real(pixels) * kFma;
  const double step = 2 * middle + (waits ? std::max(middle, kFmaLatency * tile.cycle) : middle);
  b.fma_cycles = tiles * depth / 3 * step;
  b.fma_cycles += real(vectors) * real(p.h * p.w * ceil_div(p.c_per_group(), kLine)) * kLineRolled;
  b.pack_cycles = pointer_cycles(p, b) + block_cycles(p, tile, b);
  b.store_cycles = real(vectors * p.oh * p.ow) * kStoreVector + tiles * kTile * tile.cycle;
  return b;
}

// Whole rows, or equal parts, as many as bound the pointers.
void set_whole_rows(const Problem& p, DepthwiseBlocking& b) noexcept {
  const std::int64_t most = std::max(kRowPixels / p.window.stride.w, kPixels);
  b.pixels = ceil_div(p.ow, ceil_div(p.ow, most));
  b.rows = std::min(b.rows, std::max(kBlockPixels / b.pixels, kLeastRows));
}

DepthwiseBlocking choose_pixels(const Problem& p, const Tile& tile, const CacheSizes& caches,
                                bool finite, bool transposed, bool repeated) noexcept {
  DepthwiseBlocking b;
  b.lanes = Lanes::channels;
  b.transposed = transposed;
  b.repeated = repeated;
  b.rows = std::min(ceil_div(p.oh, row_phases(p, b)), kRows);
  b.pixels = std::min(p.ow, kPixels);
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  // Where pixels crowd, what is under a tile would not stay in L1 until all of its lines have been
  // read: of wide filters, the longer the shorter vectors are, and of dilated ones of three taps if
  // all pixels that they visit share one set that has no room for a tile's row of them, ways of a
  // page each (512 channels, 33x33, dilation 2: in place 335 -> 256 us, AVX-512, 475 -> 282, AVX2,
  // on a Xeon with 12 ways). (Of 1024 channels at 7x7, dense, copies lose 15 %.)
  // Tiny images stay all the same (5x5 on 2x2, 256 channels, AVX2 2.1 -> 1.2 us), and what comes
  // from beyond near caches takes longer to copy (5x5 by 2 on 56x56, 512 channels, AVX-512 1240 ->
  // 630).
  const double span = real(p.h * p.w) * real(p.x_strides[3]) * kFloat;
  const bool stays = span <= real(caches.l1 * 3 / 2);
  const std::int64_t fewest = is_far(p, p.n, 7, caches) ? 8 * tile.width : 32;
  const std::int64_t crowd = kernel.w >= 5 ? fewest * tile.width : std::int64_t{1024};
  const bool many = kernel.w >= 5 || (kernel.w >= 3 && dilation.w > 1 && caches.ways() < 9);
  const std::int64_t apart = p.x_strides[3] % crowd * column_phases(p, b.pixels);
  b.copied = !transposed &&
             ((many && !stays && apart % crowd == 0 && pads_with_zeros(p.window)) || repeated);
  // Strides that leave many rows out share few pointers; what is copied would leave L1, or not be
  // read at all.
  if (stride.h > 2) {
    const auto pointers = [&]() { return rows_of(p, b.rows) * columns_of(p, p.ow); };
    const bool skips = transposed && rows_of(p, 1) < stride.h;
    if (!b.in_place() && (skips || pointers() > kFewPointers)) b.rows = 1;
    while (b.rows > 1 && pointers() > kFewPointers) b.rows = ceil_div(b.rows, 2);
  }
  if (b.in_place()) set_whole_rows(p, b);
  // Strides leave out some of what would be fetched: 192 channels 3x1 by 4 at 224x224 1965 -> 815
  // us, 5x5 by 2 at 96x96, 672 channels, 4.6 -> 3.6 ms (Xeon, AVX-512).
  b.fetch = b.in_place() && stride.w == 1 && fetches(p, 14, tile.width, caches);
  b.channels = block_channels(p, tile.nr, transposed || b.copied ? tile.nr : kChannels);
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
  if (b.rows > kRows / 2 && rolls(p, tile, b) && !stays_down(p, caches, b)) b.rows = kRows / 2;
  // The next row finds in L1 what it shares with the last: 384 channels of 28x28 111 -> 91 us, 768
  // of 14x14 36 -> 32.
  if (!b.down && kernel.w == 3 && tile.two_long_fma()) {
    b.channels = std::min(b.channels, block_channels(p, tile.nr, kAcross));
  }
  const bool spreads = p.k_per_group() > 1 && !repeated;
  // Widths with kernels of their own, and those along whose taps loaded pixels move on.
  const bool own =
      stride.w <= 2 && (kernel.w == 3 || (tile.fuses && kernel.w >= 5 && kernel.w != 6));
  const bool slides = tile.fuses && stride.w == 1 && kernel.w > 1;
  // Loads are their bound, but of long vectors, of which one serves nine taps, unless they are
  // repeated (32 channels by 2, 3x3 by 2 at 56x56 30 us, repeated 58), and of wide filters.
  // Dense 3x3 of 8 channels at 112x112 55 -> 34 us, which was direct (Xeon, AVX-512).
  const bool grouped = p.k_per_group() > 1;
  const bool slow = transposed && (grouped ? tile.one_permutation() : tile.two_long_fma());
  const bool waits = kernel.w == 3 ? !transposed && (repeated || tile.width < kMaxWidth) : slow;
  // Repeated ones of AVX2 wait for what was stored just before, where a core permutes one vector a
  // cycle: 32 channels by 4, 3x3 at 56x56, NHWC, by direct 302 -> 270 us, 5x5 478 -> 414 (Xeon).
  const bool late = repeated && kernel.w <= 5 && tile.fma > kFma;
  const double tap = late && kernel.w == 3 ? kTapAlone : kTapShared;
  const double shared = own && !waits && !late ? kFma : std::max(kFma, tap * tile.cycle);
  // With two long FMAs a cycle a permutation takes the turn of one, which in place waits less for
  // pixels (8 images, 32 groups of 8 at 14x14, NCHW, by direct 1030 -> 720 us, Xeon, AVX-512).
  const bool straddles = tile.width % p.k_per_group() != 0;
  const double alone = straddles ? kFmaStraddled : slow ? 2 * kFma : kFmaSpread;
  // Of one input a permutation for nine taps costs each of them as much as a load of its own: 33
  // channels by 7, 3x3 at 49x49, NHWC, by direct 389 -> 235 us (Xeon, AVX-512).
  const bool once = spreads_once(p, tile, b);
  const double one_input = once ? kTapAlone : kTapSpread;
  const double spread = p.c_per_group() == 1 ? one_input : once ? kFmaSpreadOnce : alone;
  // A few columns' sums wait for themselves: 12 groups of 8, 7x7 by 2 at 26x7, NHWC, by gemm 29.8
  // -> 13.1 us (Xeon, AVX-512).
  const double chained = p.ow < 4 ? kFmaLatency * tile.cycle / real(p.ow) : 0.0;
  double step = std::max(spreads ? spread : own || slides ? shared : kTapAlone, chained);
  if (repeated && stride.w == 2 && kernel.w > 3) step = std::max(step, kTapRepeated);
  const double vectors = real(p.oh * p.ow * ceil_div(p.k, tile.width));
  b.fma_cycles = vectors * real(p.c_per_group() * p.taps()) * step;
  if (spreads && p.c_per_group() > 1 && !transposed) {
    b.fma_cycles += vectors * real(p.taps()) * kTapGroup * tile.cycle;
  }
  const bool skips = finite && mode == PaddingMode::zeros && spreads;
  if (skips) b.fma_cycles *= share_of_rows_inside(p);
  b.pack_cycles = pointer_cycles(p, b);
  // Rows that strides leave out are not copied, those that blocks share once for each.
  const std::int64_t rows = row_blocks(p, b) * std::min(p.h, rows_of(p, b.rows));
  if (repeated) {
    b.pack_cycles += real(rows * p.w * ceil_div(p.k, tile.width)) *
                     (tile.two_long_fma() ? kRepeatLong : kRepeat);
  }
  b.store_cycles = vectors * kStoreVector;
  if (transposed) {
    // Of groups, and of AVX2's vectors, that takes longer where a core permutes one vector a cycle,
    // and beside two long FMAs a cycle from beyond three quarters of L2, as of single channels: 16
    // of 8, NCHW, 1x1 by 2 at 28x28, by direct: 30 -> 23 us, 21 of 8, 3x3 by 2 at 56x56, 616 ->
    // 388, 128 of 1, 5x5 by 2 at 70x70, 240 -> 159 (Xeon, AVX-512).
    const bool far = tile.two_long_fma() && is_far(p, 4 * p.n, 3, caches);
    const bool shuffles = grouped ? slow : tile.fma > kFma;
    const double longer = far ? (grouped ? 2.0 : 1.5) : shuffles ? 1.3 : 1.0;
    const double pixel = kTransposePixel * longer;
    b.pack_cycles += real(rows * p.w * ceil_div(p.c, tile.width)) * pixel;
    b.store_cycles += vectors * pixel;
  } else {
    b.pack_cycles += block_cycles(p, tile, b);
    if (b.copied) b.pack_cycles += real(rows * p.w * ceil_div(p.c, tile.width)) * kCopyVector;
    // Part of a vector; those of kMaxWidth have masks that take no time, shorter ones store it in
    // pieces of 4, 2 and 1 lanes (12 channels, 3x3 at 112x112, by direct 128 -> 85 us, Xeon, AVX2).
    // What is spread takes longer by as much (3 groups of 2 at 35x35, by direct 12 -> 6 us).
    const std::int64_t lanes = tile.width < kMaxWidth ? p.k % tile.width : 0;
    const bool loads_taps = lanes > 0 && !spreads && own && !slides && kernel.w > 3;
    b.fma_cycles += loads_taps ? real(p.oh * p.ow * p.taps()) * kFma : 0.0;
    const bool pieces = tile.width > 4 && !spreads;
    const std::int64_t stores = pieces ? lanes / 4 + lanes % 4 / 2 + lanes % 2 : lanes;
    b.store_cycles += real(p.oh * p.ow * stores) * kStoreScalar;
  }
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
  b.channels = block_channels(p, tile.nr, transposed ? tile.nr : kChannels);
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
  const std::int64_t tallest =
      std::clamp(most / side_by_side / kRows * kRows, kPages / stride.h, kTallRows);
  b.rows = std::max(tallest, kOutputs / p.ow / kRows * kRows);
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
    const std::int64_t tiles = ceil_div(p.oh, kRows);
    const std::int64_t image_rows =
        shared ? p.oh * stride.h + tiles * (kernel.h - stride.h) : p.oh * kernel.h;
    const std::int64_t last = masked ? kernel.w : std::min(padding.right, kernel.w);
    const std::int64_t loads = std::min(padding.left, kernel.w) + last;
    b.store_cycles += real(p.k) * (real(image_rows * loads) * kLoadSome +
                                   (masked ? real(p.oh) * kStoreSome : 0.0));
  }
  const bool strips = p.ow > 2 * tile.width;  // side by side
  if (strips && is_far(p, p.n, 2, caches)) b.store_cycles += vectors * kPlaneFar;
  return b;
}

}  // namespace

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
    b = choose_vectors(p, tile);
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
  const std::int64_t unit = planes ? kRows : 1;  // whole tiles
  while (depthwise_blocks(p, b) < least && b.rows > (planes ? kRows : kLeastRows)) {
    b.rows = round_up(ceil_div(b.rows, 2), unit);
  }
  if (planes) return;
  // Wide rows of short images.
  while (depthwise_blocks(p, b) < least && b.pixels > 2 * kPixels) {
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
  return Scratch(found_taps(p, b), b).bytes();
}

std::int64_t depthwise_blocks(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return ceil_div(p.n, b.images) * row_blocks(p, b) * ceil_div(p.ow, b.pixels) *
         ceil_div(p.k, b.channels);
}

}  // namespace fastconv
