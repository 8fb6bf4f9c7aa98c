// SPDX-License-Identifier: Apache-2.0
#include "blocking.hpp"

#include <algorithm>
#include <cmath>

#include "costs.hpp"
#include "integers.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// Depth up to which stores take a good part of a tile's time.
constexpr std::int64_t kShallow = 128;
// Floats, 64 pages, of y that several sweeps over its channels go through, or of x and y that
// groups do: prefetchers and TLBs follow as many. 10 to 512 1x1 at 56x56, 4 images, NHWC, 5870 ->
// 2300 us, 16 groups of 32 at 26x26, 8 images, 5900 -> 4370 (Xeon, AVX2; the former with fetch_y).
constexpr std::int64_t kSwept = 64 * kPageBytes / kFloat;
// Pixels in place that are at most this many pages take no longer than packed ones, with steps of
// kStepInPlace; with longer ones as many more. Still longer ones hide what it takes.
constexpr std::int64_t kFewPages = 32;
constexpr double kHidingStep = 20.0;
// Planes that tiles in place read at a time: those of memory that a CPU's prefetchers follow, and
// near ones where tiles are too short to hide a page.
constexpr int kStreamsFar = 16, kStreamsNear = 48;
// Channels whose sums wait in memory for less than what it takes to copy the pixels.
constexpr std::int64_t kFewSums = 16;
// Channels whose tiles over a panel of pixels in L2 pay for packing it.
constexpr std::int64_t kManyChannels = 64;
// Times L2: weights that take time to be read again by every product of a border.
constexpr std::int64_t kFarWeights = 16;

// One candidate: what choose_blocking compares.
class Candidate {
 public:
  Candidate(const Problem& p, const Tiles& tiles, const CacheSizes& caches, Lanes lanes,
            PixelForm form) noexcept
      : p_(p),
        weight_nr_(tiles.channels.nr),
        caches_(caches),
        pixels_(p.oh * p.ow),
        channels_(p.k_per_group()),
        depth_(p.c_per_group() * p.taps()),
        straddles_(tiles.over(lanes).mr <= tiles.over(lanes).straddling),
        cycle_(tiles.channels.cycle) {
    b_.lanes = lanes;
    b_.form = form;
    b_.tile = tiles.over(lanes);
    if (straddles_ && !gains_by_tall_tiles()) b_.tile.keep_straddling();
    if (lanes == Lanes::channels && channels_ <= b_.tile.width) b_.tile.mr = b_.tile.narrow_mr;
  }

  // False if the form cannot serve the problem.
  bool build() noexcept {
    b_.kc = even_block(depth_, kc_limit(), 1);
    b_.channel_block = even_block(channels_, 512, weight_nr_);
    // The time of shallow tiles is their stores', which are faster in long stretches: up to 30 %
    // for 1 to 64 channels 3x3 at 570x570. Two packed panels would leave L1.
    const std::int64_t rows_of_tiles = b_.lanes == Lanes::pixels ? channels_ : pixels_;
    b_.wide = b_.tile.wide_mr > 0 && (is_shallow() || rows_of_tiles <= b_.tile.wide_mr);
    const std::int64_t weight_bytes = p_.groups * round_up(channels_, weight_nr_) * depth_ * kFloat;
    b_.groups_within = p_.groups > 1 && p_.x_strides[1] == 1 && weight_bytes <= caches_.l2 / 4;
    switch (b_.form) {
      case PixelForm::columns:
        columns();
        break;
      case PixelForm::rows:
        rows();
        break;
      case PixelForm::patch:
        if (!patch()) return false;
        break;
      case PixelForm::taps:
        if (!block_taps(p_, caches_, b_)) return false;
        break;
      case PixelForm::in_place:
        if (b_.lanes == Lanes::pixels ? !panels_in_place() : !windows_in_place()) return false;
        break;
    }
    b_.pack_cycles = b_.pack_cycles * real(ceil_div(channels_, b_.channel_block)) +
                     kProduct * cycle_ / real(b_.images);
    const std::int64_t unit = b_.lanes == Lanes::pixels ? p_.y_strides[3] : p_.y_strides[1];
    b_.store_cycles =
        real(b_.lanes == Lanes::pixels ? ceil_div(pixels_, b_.tile.width) * channels_
                                       : ceil_div(channels_, b_.tile.width) * pixels_) *
        kStoreVector;
    if (unit != 1) {
      b_.store_cycles += b_.lanes == Lanes::channels
                             ? scatter_cycles(pixels_, channels_, b_.tile.width)
                             : scatter_cycles(channels_, pixels_, b_.tile.width);
    }
    // Of sums in L2; those of taps are with their calls.
    const std::int64_t waits = b_.form == PixelForm::taps ? 0 : ceil_div(depth_, b_.kc) - 1;
    b_.store_cycles += real(waits * pixels_ * channels_) / b_.tile.width * kCopyVector;
    // Weights from beyond L2 are waited for, the more the longer they take beside the FMAs.
    const std::int64_t bytes = depth_ * channels_ * kFloat;
    if (bytes > caches_.l2 && b_.form != PixelForm::taps) {
      const double read =
          real(bytes) * (b_.has_border ? passes_ : real(ceil_div(pixels_, b_.pixel_block)));
      if (b_.has_border && bytes > kFarWeights * caches_.l2) b_.fma_cycles += read * kWeightByteFar;
      b_.fma_cycles = std::hypot(b_.fma_cycles, read * kWeightByte * cycle_);
    }
    if (b_.lanes == Lanes::pixels && p_.y_strides[1] * kFloat >= kPageBytes) {
      b_.store_cycles += real(ceil_div(pixels_, b_.tile.nr) * channels_) * kPage * cycle_;
    }
    // So do many planes from memory at a time.
    const bool many = p_.taps() == 1 && p_.x_strides[3] == 1 && b_.kc > 4 * kStreamsFar;
    if (many && has_far_planes(p_, caches_)) {
      b_.pack_cycles += real(ceil_div(pixels_, b_.tile.width) * depth_) * kVectorFar;
    }
    set_fetches(p_, weight_bytes, caches_, b_);
    for (double* const cycles : {&b_.fma_cycles, &b_.pack_cycles, &b_.store_cycles}) {
      *cycles *= real(p_.groups);
    }
    return true;
  }

  const Blocking& blocking() const noexcept { return b_; }

 private:
  bool is_shallow() const noexcept {
    return depth_ <= (b_.form == PixelForm::columns ? kShallow : kShallow * 3 / 2);
  }

  // Narrow tiles, where others may straddle output rows: are rows cut into taller ones than those,
  // and do these save what a call for each row takes?
  bool gains_by_tall_tiles() const noexcept {
    const bool follow = p_.taps() == 1 && p_.window.stride.h == 1 && p_.window.stride.w == 1;
    return channels_ <= b_.tile.width && b_.form != PixelForm::taps && depth_ >= kTallDepth &&
           cut(follow ? pixels_ : p_.ow, b_.tile.narrow_mr).height > b_.tile.straddling &&
           (follow || real(depth_ * p_.ow) * kTallTile > kRowOfTiles);
  }

  // Of a window's depth, at least; what wider tiles take beyond their steps is fitted with theirs.
  // Tall tiles begin anew behind other groups' channels: 16 groups of 8 to 16, 9x9 at 24x24, 4
  // images, from patches: 5270 -> 3420 us (Xeon, AVX-512). Taps of a dilated row do not touch,
  // either.
  std::int64_t stretches() const noexcept {
    if (b_.form == PixelForm::rows) return 1;
    const Pair kernel = p_.window.kernel_size;
    const bool apart = (b_.form == PixelForm::in_place && p_.x_strides[3] != p_.c_per_group()) ||
                       p_.window.dilation.w > 1;
    return (channels_ > b_.tile.width ? 1 : kernel.h) *
           (apart && !b_.tile.straddles() ? kernel.w : 1);
  }

  // A panel of B is read in one sweep by every tile, which comes from L2 as fast as from L1:
  // carrying sums from k-block to k-block costs more. But small tiles take more than L2 gives, and
  // both panels have to stay in L1: 2560 to 1280 at 16x16, NCHW, 13.0 -> 11.9 ms (Xeon, AVX-512).
  std::int64_t kc_limit() const noexcept {
    std::int64_t limit = caches_.l2 / 4 / (b_.tile.nr * kFloat);
    const std::int64_t bytes = (b_.tile.nr + weight_nr_) * kFloat;
    const std::int64_t rows = even_block(weight_nr_, b_.tile.mr, 1);  // of most tiles
    const double cycles = step() * real(rows) / b_.tile.mr;
    if (b_.lanes == Lanes::pixels && real(bytes) > kL2Bytes * cycles) {
      const std::int64_t lines = std::min<std::int64_t>(weight_nr_, round_up(rows, kLine));
      limit = caches_.l1 * 5 / 8 / ((b_.tile.nr + lines) * kFloat);
    }
    // A segment is a tap's channels or more, but for the first and the last.
    return std::min(std::clamp<std::int64_t>(limit, 64, kMaxKc),
                    (kMaxSegments - 2) * p_.c_per_group());
  }

  // Cycles of the core for a step of depth of the tallest tile.
  double step() const noexcept { return real(b_.tile.sums()) * kFma / cycle_; }

  // Pixels of which the sums between k-blocks fit a quarter of L2; any number if there are none.
  std::int64_t sums_limit() const noexcept {
    return depth_ > b_.kc ? caches_.l2 / 4 / (b_.channel_block * kFloat) : pixels_;
  }

  // Pixels are packed just before they are used, one panel or tile at a time, which stays in L1.
  // With more channels packing weighs less, and several tiles share a pass of the weights through
  // L1. Weights that fit half of L2 are read anew for every packed block; larger ones once per
  // pixel block, which is as large as its sums allow.
  void block_packed(std::int64_t unit) noexcept {
    const std::int64_t most =
        std::min(b_.channel_block / 64, caches_.l2 / 4 / (unit * b_.kc * kFloat));
    const std::int64_t tiles =
        b_.lanes == Lanes::pixels ? b_.panels() : std::clamp<std::int64_t>(most, 1, 8);
    b_.pack_block = even_block(pixels_, tiles * unit, unit);
    // Without sums to keep, a block of several packed ones costs nothing and saves its set-up.
    b_.pixel_block =
        b_.pack_block *
        (depth_ > b_.kc ? 1 : std::min<std::int64_t>(8, ceil_div(pixels_, b_.pack_block)));
    if (depth_ > b_.kc && depth_ * b_.channel_block * kFloat > caches_.l2 / 2) {
      const std::int64_t block = even_block(pixels_, sums_limit(), unit);
      b_.pixel_block = std::max(b_.pack_block, block / b_.pack_block * b_.pack_block);
    }
  }

  void block_panels(double least_step) noexcept {
    block_packed(b_.tile.nr);
    b_.pack_elements = round_up(b_.pack_block, b_.tile.nr) * b_.kc;
    b_.fma_cycles =
        tile_cycles(depth_, channels_, pixels_, weight_nr_, b_.tile, 1, least_step, kL1Bytes) +
        real(ceil_div(pixels_, b_.tile.nr)) * kPixelPanel * cycle_;
    if (p_.window.padding_mode == PaddingMode::zeros) b_.fma_cycles *= share_of_rows_inside(p_);
  }

  void columns() noexcept {
    block_panels(kFmaLatency);
    const std::int64_t step = p_.window.stride.w * p_.x_strides[3];
    const double element = step == 1 ? kCopyVector / b_.tile.width
                           : step == 2 && p_.ow >= 2 * b_.tile.width
                               ? 2 * kCopyVector / b_.tile.width
                               : kCopyScalar;
    const double runs = 1.0 + real(b_.tile.nr) / real(p_.ow);
    b_.pack_cycles = real(ceil_div(pixels_, b_.tile.nr)) *
                     (real(depth_) * (b_.tile.nr * element + runs * kRun * cycle_) +
                      real(p_.taps()) * kTap * cycle_);
  }

  // The image is a matrix of channels and pixels: those of y follow each other in x.
  bool panels_in_place() noexcept {
    const Window& window = p_.window;
    if (p_.taps() > 1 || window.stride.h > 1 || window.stride.w > 1 || !windows_inside(p_) ||
        p_.ow != p_.w || p_.x_strides[3] != 1 || p_.x_strides[2] != p_.w) {
      return false;
    }
    // Packed by the first tile, or every one of many would wait for page after page, or for the few
    // sets of L1 that all steps share: 256 to 48 channels 1x1 at 128x128 5812 -> 4208 us (AVX-512).
    // What is shallower gains more from wide tiles, which cannot do that.
    const bool aliased = aliases(p_.x_strides[1]);
    if (aliased && b_.wide && depth_ < kShallow / 2) return false;
    // Sums of few channels wait for some planes at a time: 512 to 4 at 28x28 57 -> 40 us (AVX2).
    const int planes = has_far_planes(p_, caches_) ? kStreamsFar : kStreamsNear;
    const bool waits = (planes == kStreamsFar || step() <= kStepInPlace) && channels_ <= kFewSums &&
                       depth_ > planes && rows_beside(p_.x_strides[1], planes, caches_) == planes;
    if (waits) b_.kc = even_block(depth_, planes, 1);
    // From L2 such steps come in time: 480 to 16 at 14x14 31 -> 23 us (Xeon, AVX-512).
    const bool near = b_.tile.two_long_fma() && x_bytes(p_) <= caches_.l2;
    // More channels gain from packed ones beside another thread, where tiles are bound by what they
    // issue: there 480 to 80 164 -> 142 us, 128 to 128 at 26x26 223 -> 196; alone 3 % are lost to 6
    // gained.
    const bool few = near && channels_ < kManyChannels;
    // Packed ones gain, too, where L1 has no room for a panel's steps, unless x comes from afar: 48
    // to 96 at 80x80 379 -> 344 us, 64 to 64 at 112x112 670 -> 627, but at 208x208 2040 -> 2430
    // (Xeon, AVX-512).
    const int steps = static_cast<int>(b_.kc);
    const bool crowded = !few && x_bytes(p_) <= 3 * caches_.l2 &&
                         rows_beside(p_.x_strides[1], steps, caches_) < steps;
    const double pages = real(depth_) * kStepInPlace / step();
    b_.copies = !waits && channels_ > b_.tile.mr &&
                (aliased || crowded || (pages > kFewPages && step() <= kHidingStep && !few));
    // A step of a tile over two panels finds twice as much, in half as many rows.
    b_.wide = b_.wide && !b_.copies && b_.tile.mr * kFma * 2 >= 2 * kStepInPlace;
    // Wider vectors find as many lines more on every page.
    block_panels(b_.copies || waits || near ? kFmaLatency : kStepInPlace / cycle_);
    double extra = depth_ > kStreamsNear && !near ? (kStepInPlace - kFmaLatency) * cycle_ : 0.0;
    if (b_.copies) extra = kStepCopied;
    if (waits) {
      extra += real(ceil_div(channels_, b_.tile.mr)) * kTile / planes * cycle_;
      b_.pack_block = b_.pixel_block = even_block(pixels_, sums_limit(), b_.tile.nr);
    }
    b_.pack_cycles = real(ceil_div(pixels_, b_.tile.nr) * depth_) * extra;
    // A panel that the image's end leaves, and one that a first tile packs.
    if (pixels_ % b_.tile.nr != 0) {
      b_.pack_cycles += real(depth_) * (b_.tile.nr * kCopyVector / b_.tile.width + kRun * cycle_);
    }
    b_.pack_elements = (b_.copies ? 2 : 1) * b_.tile.nr * b_.kc;
    return true;
  }

  void rows() noexcept {
    b_.pitch = round_up(b_.kc, 2 * kLine) + kLine;
    block_packed(b_.tile.mr);
    b_.pack_elements = b_.pack_block * b_.pitch;
    b_.cuts_columns = cuts_columns(p_, b_.tile.mr);
    b_.fma_cycles = window_cycles(p_, b_, pixels_, stretches());
    const bool touching = p_.x_strides[3] == p_.c_per_group() && p_.window.dilation.w == 1;
    const std::int64_t stretches = touching ? p_.window.kernel_size.h : p_.taps();
    // Through L2, which long vectors take no faster.
    const double vector = kCopyVector * (b_.tile.two_long_fma() ? 2 : 1);
    b_.pack_cycles =
        real(pixels_) * (real(depth_) * vector / b_.tile.width + real(stretches) * kRun * cycle_);
    const std::int64_t border = pixels_ - Inside(p_).pixels();
    b_.pack_cycles += real(border * p_.taps()) * kTapSought * cycle_;
  }

  // Whole output rows while a quarter of L2 holds what lies under them, else parts of one row; more
  // of few pixels, which would read weights from beyond L2 too often. In place, a k-block reads its
  // own rows of taps alone while a block has fewer than lie between them, and may have half of L2
  // with such weights: 512 to 256 by 18 at 33x33, NHWC, 8600 -> 7000 us (Xeon, AVX-512).
  bool block_rows(std::int64_t pitch) noexcept {
    b_.pitch = pitch;
    b_.whole_rows = true;
    const bool far_weights = depth_ * channels_ * kFloat > caches_.l2 / 2;
    const std::int64_t unit = std::max<std::int64_t>(1, std::abs(pitch));
    const std::int64_t tap_rows = std::min(
        p_.window.kernel_size.h, ceil_div(b_.kc, p_.c_per_group() * p_.window.kernel_size.w));
    const bool skips =
        b_.form == PixelForm::in_place && p_.window.padding_mode == PaddingMode::zeros;
    const auto fits = [&](std::int64_t rows, std::int64_t columns) {
      const Patch patch(p_, rows, columns);
      const bool few = far_weights && rows * columns <= kFewPixels;
      std::int64_t limit = few ? 2 * caches_.l2 : caches_.l2 / 4;
      std::int64_t pixels = patch.rows * patch.columns;
      std::int64_t channels = unit;
      if (skips && rows < p_.window.dilation.h) {
        if (far_weights) limit = std::max(limit, caches_.l2 / 2);
        pixels = std::min(rows * tap_rows, p_.h) * std::min(patch.columns, p_.w);
        channels = std::min(unit, b_.kc);
      }
      return pixels <= limit / kFloat / channels && rows * columns <= sums_limit() &&
             rows * columns <= caches_.l2 / kFloat;  // all rows may find the same ones of the image
    };
    // Groups find lines of x that they share in L2: 32 of 8 by 2 at 56x56 470 -> 330 us (AVX2).
    const bool share = b_.groups_within && 2 * p_.c_per_group() <= kLine;
    const bool is_swept = channels_ > b_.panels() * b_.tile.nr && y_bytes(p_) > 2 * caches_.l2;
    const bool in_turn =
        b_.groups_within && p_.taps() == 1 && x_bytes(p_) > caches_.l2 - y_bytes(p_);
    const std::int64_t swept = in_turn ? p_.c + p_.k : is_swept ? channels_ : 0;
    const std::int64_t most =
        swept > 0 && is_shallow() ? std::max(kSwept / swept, kFewPixels) : pixels_;
    const auto near = [&](std::int64_t rows, std::int64_t columns) {
      const std::int64_t read = std::min(p_.h, rows * p_.window.stride.h) * p_.w * p_.c;
      return fits(rows, columns) && rows * columns <= most &&
             (!share || rows == 1 || read <= caches_.l2 / 2 / kFloat);
    };
    std::int64_t rows = 1;
    std::int64_t columns = p_.ow;
    while (rows < p_.oh && near(rows + 1, columns)) ++rows;
    rows = ceil_div(p_.oh, ceil_div(p_.oh, rows));
    if (rows == 1) {
      while (columns > b_.tile.mr && !near(1, columns)) columns = ceil_div(columns, 2);
      if (!fits(1, columns)) return false;
    }
    b_.pixel_block = rows * columns;
    b_.pack_block = b_.pixel_block;
    const Patch patch(p_, rows, columns);
    if (!multiply(patch.rows, patch.columns, b_.pack_elements) ||
        !multiply(b_.pack_elements, pitch, b_.pack_elements)) {
      return false;  // of far windows in place, of which a patch is never made
    }
    // Tiles end with an output row, unless the next one follows on.
    const bool follow =
        p_.taps() == 1 && (b_.form == PixelForm::patch || p_.window.stride.h * p_.x_strides[2] ==
                                                              p_.ow * p_.window.stride.w * pitch);
    const bool together = follow || p_.ow == 1 || b_.tile.straddles();
    const std::int64_t panel = together ? b_.pixel_block : columns;
    b_.fma_cycles = window_cycles(p_, b_, panel, stretches());
    return true;
  }

  bool patch() noexcept {
    const bool adjacent = has_adjacent_channels(p_);
    const std::int64_t vectors = ceil_div(p_.c_per_group(), b_.tile.width);
    // Few channels are side by side in either case, more in whole vectors.
    const bool dense = adjacent || p_.c_per_group() < b_.tile.width;
    const std::int64_t channels = dense ? p_.c_per_group() : vectors * b_.tile.width;
    const Pair step = Patch(p_, 1, p_.ow).step;
    // Transposing writes to a vector of pixels at a time, more than a tile has rows.
    const bool spread =
        aliases(p_.window.stride.w / step.w * channels) || (!dense && aliases(2 * channels));
    b_.cuts_columns = cuts_columns(p_, b_.tile.mr);
    if (!block_rows(spread ? channels + kLine : channels)) return false;
    const std::int64_t columns = std::min(b_.pixel_block, p_.ow);
    const std::int64_t output_rows = ceil_div(b_.pixel_block, p_.ow);
    Patch patch(p_, output_rows, columns);
    const double blocks = real(ceil_div(p_.oh, output_rows) * ceil_div(p_.ow, columns));
    b_.pack_cycles = blocks * real(b_.pack_elements) * kCopyVector / 2 / b_.tile.width;  // zeros
    patch.rows = std::min(patch.rows, ceil_div(p_.h, step.h));
    patch.columns = std::min(patch.columns, ceil_div(p_.w, step.w));
    const double rows = real(patch.rows) * blocks;
    if (adjacent) {
      // Pixels that do not follow each other are copied one by one.
      const bool touching = step.w * p_.x_strides[3] == channels && b_.pitch == channels;
      const double runs = touching ? 1.0 : real(patch.columns) / 2;
      b_.pack_cycles += rows * (real(patch.columns * channels) * kCopyVector / b_.tile.width +
                                (runs * kRun + kPatchRow) * cycle_);
      return true;
    }
    const std::int64_t element_step = step.w * p_.x_strides[3];
    if (dense && b_.pitch == channels) {
      const double pixel = element_step == 1
                               ? real(ceil_div(channels, 4)) * b_.tile.quads() / b_.tile.width
                               : real(channels) * kCopyScalar * cycle_;
      b_.pack_cycles += rows * (real(patch.columns) * pixel + kPatchRow * cycle_);
      return true;
    }
    // Whole rows that follow each other are one.
    const bool whole = patch.columns == p_.w && step.h == 1 && step.w == 1 &&
                       p_.x_strides[2] == p_.w * p_.x_strides[3];
    const std::int64_t unit = whole ? 1 : b_.tile.width;
    const double vector = element_step == 1 || element_step == 2
                              ? real(element_step) * kCopyVector + kTranspose
                              : b_.tile.width * kCopyScalar * cycle_;
    b_.pack_cycles +=
        rows * real(vectors) * (real(round_up(patch.columns, unit)) * vector + kPatchRow * cycle_);
    return true;
  }

  bool windows_in_place() noexcept {
    const Inside inside(p_);
    b_.has_border = !windows_inside(p_);
    // Of groups without any inside parts are too many, but where a patch's tiles end as often.
    const bool none = inside.begin.h >= inside.end.h || inside.begin.w >= inside.end.w;
    if (b_.has_border && none && p_.groups > 1 && !cuts_columns(p_, b_.tile.mr)) return false;
    b_.tile.keep_rows_beside(p_.window.stride.w * p_.x_strides[3], caches_);
    if (!block_rows(p_.x_strides[3])) return false;
    b_.pitch = p_.c_per_group();
    b_.pack_elements = 0;
    if (b_.has_border) add_border();
    // Windows of rows and columns wait for lines that a copy takes in one sweep: 32 to 64 channels
    // 3x3 stride 2 at 320x320 10250 -> 9710 us (AVX-512), 10100 -> 9260 (AVX2). 1x3 to 7x1 lose.
    // Those that do not overlap find each line once: 924 to 19 2x2 by 3 at 45x45 1465 -> 1020.
    const auto& [kernel, stride, padding, dilation, mode] = p_.window;
    const bool overlap = kernel.h > stride.h || kernel.w > stride.w;
    const bool far = p_.c * p_.h * p_.w * kFloat > 4 * caches_.l2 && p_.x_strides[3] >= kLine;
    if (far && overlap && kernel.h > 1 && kernel.w > 1) {
      b_.pack_cycles += real(p_.c_per_group() * p_.h * p_.w / kLine) * kLineFar;
    }
    return true;
  }

  // Windows that find the same taps in the image are a product of their own.
  void add_border() noexcept {
    const Pair kernel = p_.window.kernel_size;
    const std::int64_t block_rows = ceil_div(b_.pixel_block, p_.ow);
    const std::int64_t block_columns = std::min(b_.pixel_block, p_.ow);
    const std::int64_t lanes = b_.wide ? 2 * b_.tile.nr : b_.tile.nr;
    const std::int64_t most_rows = b_.wide ? b_.tile.wide_mr : b_.tile.mr;
    b_.fma_cycles = b_.pack_cycles = 0.0;
    for (std::int64_t row = 0, next_row = 0; row < p_.oh; row = next_row) {
      const TapRange tap_rows = tap_rows_inside(p_, row);
      next_row = tap_rows.until;
      const std::int64_t rows = next_row - row;
      for (std::int64_t column = 0, next = 0; column < p_.ow; column = next) {
        const TapRange tap_columns = tap_columns_inside(p_, column);
        next = tap_rows.begin < tap_rows.end ? tap_columns.until : p_.ow;
        const std::int64_t columns = next - column;
        const std::int64_t taps = std::max<std::int64_t>(0, tap_rows.end - tap_rows.begin) *
                                  std::max<std::int64_t>(0, tap_columns.end - tap_columns.begin);
        if (taps < kernel.h * kernel.w) {  // which patches hold, unless the weights are finite
          const Patch patch(p_, std::min(rows, block_rows), std::min(columns, block_columns));
          b_.pack_elements = std::max(b_.pack_elements, patch.rows * patch.columns * b_.pitch);
        }
        const std::int64_t panel = columns == 1 ? std::min(rows, block_rows) : columns;
        b_.fma_cycles += tile_cycles(taps * p_.c_per_group(), rows * columns, channels_, panel,
                                     b_.tile, stretches());
        // What would straddle the rows of an image, were it not cut, ends with each of them.
        if ((straddles_ || b_.tile.straddles()) && columns > 1 && !cuts_columns(p_, b_.tile.mr)) {
          const std::int64_t short_tiles = round_up(columns, most_rows) - columns;
          b_.fma_cycles +=
              real(rows * ceil_div(channels_, lanes)) *
              (kRowOfTiles + real(taps * p_.c_per_group() * short_tiles) * kShortTile) * cycle_;
        }
        b_.pack_cycles += real(ceil_div(rows, block_rows)) * kProduct;
        passes_ += real(ceil_div(rows, block_rows) * taps) / real(p_.taps());
      }
    }
  }

  const Problem& p_;
  int weight_nr_;  // lanes of a panel of weights
  const CacheSizes& caches_;
  std::int64_t pixels_;
  std::int64_t channels_;
  std::int64_t depth_;
  bool straddles_;       // may tiles over a panel straddle output rows?
  double cycle_;         // of the core
  double passes_ = 0.0;  // over the weights, of a border's products
  Blocking b_;
};

}  // namespace

bool make_blocking(const Problem& p, const Tiles& tiles, const CacheSizes& caches, Lanes lanes,
                   PixelForm form, Blocking& blocking) noexcept {
  const bool adjacent = has_adjacent_channels(p);
  const bool serves = lanes == Lanes::pixels
                          ? form == PixelForm::columns || form == PixelForm::in_place
                          : form == PixelForm::patch || form == PixelForm::taps ||
                                (form != PixelForm::columns && adjacent);
  if (!serves) return false;
  Candidate candidate(p, tiles, caches, lanes, form);
  if (!candidate.build()) return false;
  blocking = candidate.blocking();
  return true;
}

Blocking choose_blocking(const Problem& p, const Tiles& tiles, const CacheSizes& caches,
                         bool finite) noexcept {
  Blocking best;
  // Short output rows may share lower tiles: 512 to 512 3x3 at 3x3, NCHW, 690 -> 370 us (Xeon,
  // AVX-512).
  Tiles low = tiles;
  low.channels.keep_straddling();
  const bool is_short =
      !tiles.channels.straddles() && p.ow > 1 && p.ow < low.channels.mr && p.oh > 1;
  const Tiles* const sets[] = {&tiles, &low};
  for (const Tiles* const set : sets) {
    if (set == &low && !is_short) break;
    for (const Lanes lanes : {Lanes::pixels, Lanes::channels}) {
      for (const PixelForm form : {PixelForm::columns, PixelForm::rows, PixelForm::patch,
                                   PixelForm::in_place, PixelForm::taps}) {
        if (form == PixelForm::taps && !finite && !windows_inside(p)) continue;
        Blocking blocking;
        if (!make_blocking(p, *set, caches, lanes, form, blocking)) continue;
        // Taps in the padding are passed over if weights are finite: then nothing is copied here.
        if (blocking.has_border && p.window.padding_mode == PaddingMode::zeros) {
          if (!finite) continue;
          blocking.pack_elements = 0;
        }
        if (best.kc == 0 || blocking.cycles() < best.cycles()) best = blocking;
      }
    }
  }
  return best;
}

}  // namespace fastconv
