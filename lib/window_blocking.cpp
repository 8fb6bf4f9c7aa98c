// SPDX-License-Identifier: Apache-2.0
// Windows of pixels that are broadcast: packed rows, a patch of the image, or the image in place.
#include <algorithm>
#include <cstdlib>

#include "candidate.hpp"
#include "costs.hpp"
#include "integers.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// Floats, 64 pages, of y that several sweeps over its channels go through, or of x and y that
// groups do: prefetchers and TLBs follow as many. 10 to 512 1x1 at 56x56, 4 images, NHWC, 5870 ->
// 2300 us, 16 groups of 32 at 26x26, 8 images, 5900 -> 4370 (Xeon, AVX2; the former with fetch_y).
constexpr std::int64_t kSwept = 64 * kPageBytes / kFloat;

// A line of a patch that leaves L2 no room for weights. 300 to 16 channels 7x7 by 2 at 120x120,
// NCHW, 24.5 -> 16.7 ms, 512 to 8 63 -> 32 (Xeon, AVX-512).
constexpr double kLinePatched = 3.0;

// Cycles of tiles over windows that end at multiples of `panel`, and where other columns of taps
// are in the padding if they are cut there, with the taps that are multiplied if the weights are
// finite. A window's depth is so many stretches of memory.
double window_cycles(const Problem& p, const Blocking& b, std::int64_t panel,
                     std::int64_t stretches) noexcept {
  const bool zeros = p.window.padding_mode == PaddingMode::zeros;
  const bool alike = tap_columns_inside(p, 0).until >= p.ow;
  const Pair kernel = p.window.kernel_size;
  const std::int64_t least = b.cuts_columns ? column_cut(p, b.tile.mr) : p.ow;
  double cycles = 0;
  for (std::int64_t column = 0, next = p.ow; column < p.ow; column = next) {
    std::int64_t taps = kernel.w;
    if (zeros && (b.cuts_columns || alike)) {
      const TapRange first = tap_columns_inside(p, column);
      next = std::min(p.ow, std::max(first.until, column + least));
      taps = std::max<std::int64_t>(0, first.end - tap_columns_inside(p, next - 1).begin);
    }
    const std::int64_t columns = next - column;
    const bool part = columns < p.ow;
    cycles += tile_cycles(p.c_per_group() * kernel.h * taps, p.oh * columns, p.k_per_group(),
                          part ? columns : panel, b.tile, part ? kernel.h * taps : stretches);
  }
  if (!zeros) return cycles;
  const bool together = panel == p.oh * p.ow || b.tile.straddles();  // tiles over short rows
  const std::int64_t height = together ? cut(panel, b.tile.mr).height : 1;
  return cycles * share_of_rows_inside(p, (height - 1) / p.ow + 1);
}

}  // namespace

// Narrow tiles, where others may straddle output rows: are rows cut into taller ones than those,
// and do these save what a call for each row takes?
bool Candidate::gains_by_tall_tiles() const noexcept {
  const bool follow = p_.taps() == 1 && p_.window.stride.h == 1 && p_.window.stride.w == 1;
  return channels_ <= b_.tile.width && b_.form != PixelForm::taps && depth_ >= kTallDepth &&
         cut(follow ? pixels_ : p_.ow, b_.tile.narrow_mr).height > b_.tile.straddling &&
         (follow || real(depth_ * p_.ow) * kTallTile > kRowOfTiles);
}

// Of a window's depth, at least; what wider tiles take beyond their steps is fitted with theirs.
// Tall tiles begin anew behind other groups' channels: 16 groups of 8 to 16, 9x9 at 24x24, 4
// images, from patches: 5270 -> 3420 us (Xeon, AVX-512). Taps of a dilated row do not touch,
// either.
std::int64_t Candidate::stretches() const noexcept {
  if (b_.form == PixelForm::rows) return 1;
  const Pair kernel = p_.window.kernel_size;
  const bool apart = (b_.form == PixelForm::in_place && p_.x_strides[3] != p_.c_per_group()) ||
                     p_.window.dilation.w > 1;
  return (channels_ > b_.tile.width ? 1 : kernel.h) *
         (apart && !b_.tile.straddles() ? kernel.w : 1);
}

void Candidate::rows() noexcept {
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

// Whole output rows while a quarter of L2 holds what lies under them, else parts of one row. Few
// pixels may take more, as they would read weights that leave L2 too often. In place a k-block
// reads no image rows but those of its own taps, which alone are counted where weights leave L2
// (then they may take half of it), and where a block has fewer rows than lie between two taps.
// NHWC, Xeon, AVX-512: 512 to 256 by 18 at 33x33 8600 -> 7000 us, 300 to 16 7x7 at 45x240 38 -> 27
// ms, 512 to 8 7x7 by 2 at 60x60 10.0 -> 5.5.
bool Candidate::block_rows(std::int64_t pitch) noexcept {
  b_.pitch = pitch;
  b_.whole_rows = true;
  const bool far_weights = panel_bytes() > caches_.l2 / 2;
  const std::int64_t unit = std::max<std::int64_t>(1, std::abs(pitch));
  const std::int64_t tap_rows = std::min(
      p_.window.kernel_size.h, ceil_div(b_.kc, p_.c_per_group() * p_.window.kernel_size.w));
  const Pair stride = p_.window.stride, dilation = p_.window.dilation;
  const bool skips = b_.form == PixelForm::in_place && p_.window.padding_mode == PaddingMode::zeros;
  const auto fits = [&](std::int64_t rows, std::int64_t columns) {
    const Patch patch(p_, rows, columns);
    const bool few = far_weights && rows * columns <= kFewPixels;
    std::int64_t limit = few ? 2 * caches_.l2 : caches_.l2 / 4;
    std::int64_t pixels = patch.rows * patch.columns;
    std::int64_t channels = unit;
    if (skips && (far_weights || rows < dilation.h)) {
      if (far_weights) limit = std::max(limit, caches_.l2 / 2);
      const std::int64_t reach = (rows - 1) * stride.h + (tap_rows - 1) * dilation.h + 1;
      pixels = std::min({rows * tap_rows, reach, p_.h}) * std::min(patch.columns, p_.w);
      channels = std::min(unit, b_.kc);
    }
    return pixels <= limit / kFloat / channels && rows * columns <= sums_limit() &&
           rows * columns <= caches_.l2 / kFloat;  // all rows may find the same ones of the image
  };
  // Groups find lines of x that they share in L2: 32 of 8 by 2 at 56x56 470 -> 330 us (AVX2).
  const bool share = b_.groups_within && 2 * p_.c_per_group() <= kLine;
  // Stores of tiles of a few steps are waited for as soon as L2 does not hold all of y: 12 to 150
  // 1x1 at 80x80, NHWC, 370 -> 255 us (Xeon, AVX-512), 5 to 150 371 -> 261 (AVX2).
  const std::int64_t leaves = 2 * depth_ <= 3 * b_.tile.width ? caches_.l2 : 2 * caches_.l2;
  const bool is_swept = channels_ > b_.panels() * b_.tile.nr && y_bytes(p_) > leaves;
  const bool in_turn = b_.groups_within && p_.taps() == 1 && x_bytes(p_) > caches_.l2 - y_bytes(p_);
  const std::int64_t swept = in_turn ? p_.c + p_.k : is_swept ? channels_ : 0;
  const std::int64_t most =
      swept > 0 && is_shallow() ? std::max(kSwept / swept, kFewPixels) : pixels_;
  const auto near = [&](std::int64_t rows, std::int64_t columns) {
    const std::int64_t read = std::min(p_.h, rows * stride.h) * p_.w * p_.c;
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
  const bool follow = p_.taps() == 1 && (b_.form == PixelForm::patch ||
                                         stride.h * p_.x_strides[2] == p_.ow * stride.w * pitch);
  const bool together = follow || p_.ow == 1 || b_.tile.straddles();
  const std::int64_t panel = together ? b_.pixel_block : columns;
  b_.fma_cycles = window_cycles(p_, b_, panel, stretches());
  return true;
}

bool Candidate::patch() noexcept {
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
  if (b_.pack_elements > caches_.l2 / 4 / kFloat) {
    b_.pack_cycles += blocks * real(b_.pack_elements / kLine) * kLinePatched;
  }
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

bool Candidate::windows_in_place() noexcept {
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
void Candidate::add_border() noexcept {
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
        b_.fma_cycles += real(rows * ceil_div(channels_, lanes)) *
                         (kRowOfTiles + real(taps * p_.c_per_group() * short_tiles) * kShortTile) *
                         cycle_;
      }
      b_.pack_cycles += real(ceil_div(rows, block_rows)) * kProduct;
      passes_ += real(ceil_div(rows, block_rows) * taps) / real(p_.taps());
    }
  }
}

}  // namespace fastconv
