// SPDX-License-Identifier: Apache-2.0
// Panels of pixels along the lanes, packed or in place.
#include <algorithm>

#include "candidate.hpp"
#include "costs.hpp"
#include "integers.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// Pixels in place that are at most this many pages take no longer than packed ones, with steps of
// kStepInPlace; with longer ones as many more. Still longer ones hide what it takes.
constexpr std::int64_t kFewPages = 32;
constexpr double kHidingStep = 20.0;
// Near planes that tiles in place read at a time where they are too short to hide a page.
constexpr int kStreamsNear = 48;
// Channels whose sums wait in memory for less than what it takes to copy the pixels.
constexpr std::int64_t kFewSums = 16;
// Channels whose tiles over a panel of pixels in L2 pay for packing it.
constexpr std::int64_t kManyChannels = 64;

}  // namespace

void Candidate::block_panels(double least_step) noexcept {
  block_packed(b_.tile.nr);
  b_.pack_elements = round_up(b_.pack_block, b_.tile.nr) * b_.kc;
  b_.fma_cycles =
      tile_cycles(depth_, channels_, pixels_, weight_nr_, b_.tile, 1, least_step, kL1Bytes) +
      real(ceil_div(pixels_, b_.tile.nr)) * kPixelPanel * cycle_;
  if (p_.window.padding_mode == PaddingMode::zeros) b_.fma_cycles *= share_of_rows_inside(p_);
}

void Candidate::columns() noexcept {
  block_panels(kFmaLatency);
  const std::int64_t step = p_.window.stride.w * p_.x_strides[3];
  const bool pairs = step == 2 && p_.ow >= 2 * b_.tile.width;
  const double element =
      step == 1 || pairs ? real(step) * kCopyVector / b_.tile.width : kCopyScalar;
  const double runs = 1.0 + real(b_.tile.nr) / real(p_.ow);
  b_.pack_cycles = real(ceil_div(pixels_, b_.tile.nr)) *
                   (real(depth_) * (b_.tile.nr * element + runs * kRun * cycle_) +
                    real(p_.taps()) * kTap * cycle_);
}

// The image is a matrix of channels and pixels: those of y follow each other in x.
bool Candidate::panels_in_place() noexcept {
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
  const bool crowded =
      !few && x_bytes(p_) <= 3 * caches_.l2 && rows_beside(p_.x_strides[1], steps, caches_) < steps;
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

}  // namespace fastconv
