// SPDX-License-Identifier: Apache-2.0
#include "blocking.hpp"

#include <algorithm>
#include <cmath>

#include "candidate.hpp"
#include "costs.hpp"
#include "integers.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// Times L2: weights that take time to be read again by every product of a border.
constexpr std::int64_t kFarWeights = 16;

}  // namespace

Candidate::Candidate(const Problem& p, const Tiles& tiles, const CacheSizes& caches, Lanes lanes,
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

bool Candidate::build() noexcept {
  b_.kc = even_block(depth_, kc_limit(), 1);
  b_.channel_block = even_block(channels_, 512, weight_nr_);
  // The time of shallow tiles is their stores', which are faster in long stretches: up to 30 %
  // for 1 to 64 channels 3x3 at 570x570. Two packed panels would leave L1.
  const std::int64_t rows_of_tiles = b_.lanes == Lanes::pixels ? channels_ : pixels_;
  b_.wide = b_.tile.wide_mr > 0 && (is_shallow() || rows_of_tiles <= b_.tile.wide_mr);
  const std::int64_t weight_bytes = p_.groups * panel_bytes();
  // Lines that come one by one are worth half of L2: 16 groups of 16 3x3 by 3 at 128x128, NHWC,
  // 14.4 -> 4.7 ms (Zen 3).
  const bool slow = b_.tile.zen && x_bytes(p_) > caches_.l2;
  b_.groups_within =
      p_.groups > 1 && p_.x_strides[1] == 1 && weight_bytes <= caches_.l2 / (slow ? 2 : 4);
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
  add_far_weights();
  add_stores();
  // Many planes from memory at a time are waited for.
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

// Results, and sums that wait in L2 for the next k-block; those of taps are with their calls.
void Candidate::add_stores() noexcept {
  const bool pixels = b_.lanes == Lanes::pixels;
  const std::int64_t lanes = pixels ? pixels_ : channels_;
  const std::int64_t rows = pixels ? channels_ : pixels_;
  b_.store_cycles = real(ceil_div(lanes, b_.tile.width) * rows) * kStoreVector;
  if (p_.y_strides[pixels ? 3 : 1] != 1) {
    b_.store_cycles += scatter_cycles(rows, lanes, b_.tile.width);
  }
  const std::int64_t waits = b_.form == PixelForm::taps ? 0 : ceil_div(depth_, b_.kc) - 1;
  b_.store_cycles += real(waits * pixels_ * channels_) / b_.tile.width * kCopyVector;
  if (pixels && p_.y_strides[1] * kFloat >= kPageBytes) {
    b_.store_cycles += real(ceil_div(pixels_, b_.tile.nr) * channels_) * kPage * cycle_;
  }
}

// Weights from beyond L2 are waited for, the more the longer they take beside the FMAs. Lines that
// panels leave empty take its room, too, as prefetchers bring them in pairs, and so does a patch.
void Candidate::add_far_weights() noexcept {
  const std::int64_t bytes = depth_ * channels_ * kFloat;
  const std::int64_t patch = b_.form == PixelForm::patch ? b_.pack_elements * kFloat : 0;
  const bool near = panel_bytes() + patch <= caches_.l2;
  if (near || b_.form == PixelForm::taps) return;
  const double read =
      real(bytes) * (b_.has_border ? passes_ : real(ceil_div(pixels_, b_.pixel_block)));
  if (b_.has_border && bytes > kFarWeights * caches_.l2) b_.fma_cycles += read * kWeightByteFar;
  b_.fma_cycles = std::hypot(b_.fma_cycles, read * kWeightByte * cycle_);
}

std::int64_t Candidate::panel_bytes() const noexcept {
  return round_up(channels_, weight_nr_) * depth_ * kFloat;
}

bool Candidate::is_shallow() const noexcept {
  return depth_ <= (b_.form == PixelForm::columns ? kShallow : kShallow * 3 / 2);
}

// A panel of B is read in one sweep by every tile, which comes from L2 as fast as from L1:
// carrying sums from k-block to k-block costs more. But small tiles take more than L2 gives, and
// both panels have to stay in L1: 2560 to 1280 at 16x16, NCHW, 13.0 -> 11.9 ms (Xeon, AVX-512).
std::int64_t Candidate::kc_limit() const noexcept {
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

double Candidate::step() const noexcept { return real(b_.tile.sums()) * kFma / cycle_; }

std::int64_t Candidate::sums_limit() const noexcept {
  return depth_ > b_.kc ? caches_.l2 / 4 / (b_.channel_block * kFloat) : pixels_;
}

// Pixels are packed just before they are used, one panel or tile at a time, which stays in L1.
// With more channels packing weighs less, and several tiles share a pass of the weights through
// L1. Weights that fit half of L2 are read anew for every packed block; larger ones once per
// pixel block, which is as large as its sums allow.
void Candidate::block_packed(std::int64_t unit) noexcept {
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
