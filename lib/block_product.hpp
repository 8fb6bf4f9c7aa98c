// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "block_output.hpp"
#include "blocking.hpp"
#include "integers.hpp"
#include "operands.hpp"
#include "segments.hpp"
#include "taps.hpp"

namespace fastconv {

// One block of pixels times one block of channels of one image and group.
class BlockProduct {
 public:
  BlockProduct(const Operands& operands, const Blocking& blocking, std::int64_t n,
               std::int64_t group, void* workspace) noexcept
      : output_(operands, blocking, n, group),
        g_(operands),
        p_(operands.problem),
        b_(blocking),
        weight_nr_(operands.table.nr()),
        skips_padding_(operands.skips_padding()),
        skips_columns_(skips_padding_ && blocking.cuts_columns),
        depth_(p_.c_per_group() * p_.taps()),
        pixels_(static_cast<float*>(workspace)),
        tile_(blocking.tile),
        sums_(pixels_ + blocking.buffer_elements()),
        x_(g_.x + n * p_.x_strides[0] + group * p_.c_per_group() * p_.x_strides[1]),
        weights_(g_.weights_of(group * g_.lanes_per_group, depth_)),
        segments_(p_, skips_padding_, skips_columns_) {
    if (skips_columns_) column_cut_ = column_cut(p_, tile_.mr);
  }

  // `next`: where x is that the next block reads, if it is to be fetched.
  void run(std::int64_t pixel, std::int64_t pixel_count, std::int64_t channel,
           std::int64_t channel_count, const float* next = nullptr) noexcept {
    first_channel_ = channel;
    next_ = next;
    PackArguments pack;
    pack.problem = &p_;
    pack.x = x_;
    pack.first = pixel;
    pack.count = pixel_count;
    pack.pitch = b_.pitch;
    pack.out = pixels_;
    if (b_.lanes == Lanes::channels && b_.form != PixelForm::rows) place_windows(pack);
    for (std::int64_t begin = 0; begin < depth_; begin += b_.kc) {
      pack.depth_begin = begin;
      pack.depth_end = std::min(depth_, begin + b_.kc);
      if (b_.lanes == Lanes::channels) {
        segments_.list({begin, pack.depth_end}, b_.form == PixelForm::rows, tap_stride_);
      }
      for (std::int64_t done = 0; done < pixel_count; done += b_.pack_block) {
        pack.first = pixel + done;
        pack.count = std::min(b_.pack_block, pixel_count - done);
        if (b_.lanes == Lanes::pixels) {
          pack_panels(pack);
        } else if (b_.form == PixelForm::rows) {
          g_.table.pack_rows(pack);
        }
        first_pixel_ = pack.first;
        first_ = place_of(0);
        const std::int64_t channels = round_up(channel_count, weight_nr_);
        if (b_.lanes == Lanes::pixels) {
          multiply(pack, channel_count, pack.count, sums_ + done * channels);
        } else {
          multiply(pack, pack.count, channel_count, sums_ + done * channels);
        }
      }
    }
  }

 private:
  // Where the windows of a block are read: from a patch of the padded image, or from x itself.
  void place_windows(const PackArguments& pack) noexcept {
    const Window& window = p_.window;
    const Pair at{pack.first / p_.ow, pack.first % p_.ow};
    Pair step = 1;
    Pair strides{p_.x_strides[2], p_.x_strides[3]};
    windows_ = x_ + (at.h * window.stride.h - window.padding.top) * strides.h +
               (at.w * window.stride.w - window.padding.left) * strides.w;
    if (b_.form == PixelForm::patch) {
      const Patch size(p_, ceil_div(pack.count, p_.ow), std::min(pack.count, p_.ow));
      patch_pixels_ = std::min(size.rows, p_.h) * p_.w;
      RegionArguments patch;
      patch.problem = &p_;
      patch.x = x_;
      patch.channels = p_.c_per_group();
      patch.first_row = at.h;
      patch.first_column = at.w;
      patch.rows = size.rows;
      patch.columns = size.columns;
      patch.row_step = size.step.h;
      patch.column_step = size.step.w;
      patch.pitch = b_.pitch;
      patch.out = pixels_;
      g_.table.pack_patch(patch);
      step = size.step;
      strides = {size.columns * b_.pitch, b_.pitch};
      windows_ = pixels_;
    }
    output_stride_ = {window.stride.h / step.h * strides.h, window.stride.w / step.w * strides.w};
    if (p_.ow == 1) output_stride_.w = output_stride_.h;
    rows_apart_ = !tile_.straddles() && p_.ow * output_stride_.w != output_stride_.h;
    tap_stride_ = {window.dilation.h / step.h * strides.h, window.dilation.w / step.w * strides.w};
  }

  // The weights' panel that begins with a channel of the block, from depth `begin` on.
  const float* weight_panel(std::int64_t channel, std::int64_t begin) const noexcept {
    return weights_ + (first_channel_ + channel) * depth_ + begin * weight_nr_;
  }

  // The panel of weights that is read next: of `channel`, from depth `begin` on, or, all channels
  // read, the first from depth `again` on.
  const float* next_panel(std::int64_t channel, std::int64_t channels, std::int64_t begin,
                          std::int64_t again) const noexcept {
    return channel < channels ? weight_panel(channel, begin) : weight_panel(0, again);
  }

  // Each tile a part of what the next block's patch copies, of a group's a pixel a step.
  void fetch_next_patch(std::int64_t lane, std::int64_t lanes, std::int64_t row,
                        std::int64_t height, std::int64_t rows,
                        TileArguments& tile) const noexcept {
    const std::int64_t pixel = p_.x_strides[3];
    if (p_.groups == 1) {
      const std::int64_t part = ceil_div(patch_pixels_ * pixel * tile.lanes, lanes);
      share_fetch(next_ + patch_pixels_ * pixel * lane / lanes, depth_, ceil_div(part, depth_), row,
                  height, rows, tile);
    } else {
      tile.fetch = next_ + lane + patch_pixels_ * row / rows * pixel;
      tile.fetch_step = pixel;
      tile.fetch_part = ceil_div(patch_pixels_ * height, rows) * pixel;
    }
  }

  // Each tile a part of the rows of the image that the next output row's windows are the first to
  // find.
  void fetch_rows_below(const Pair& at, std::int64_t height, TileArguments& tile) const noexcept {
    const Window& window = p_.window;
    const std::int64_t rows = window.stride.h * p_.x_strides[2];
    tile.fetch =
        x_ +
        (at.h * window.stride.h + window.kernel_size.h - window.padding.top) * p_.x_strides[2] +
        rows * at.w / p_.ow;
    tile.fetch_part = ceil_div(rows * height, p_.ow);
    tile.fetch_step = ceil_div(tile.fetch_part, depth_);
  }

  // In place, only what the image's end leaves of a panel is packed.
  void pack_panels(PackArguments pack) noexcept {
    in_place_ = b_.form == PixelForm::in_place ? pack.count / tile_.nr * tile_.nr : 0;
    pack.first += in_place_;
    pack.count -= in_place_;
    if (pack.count > 0) g_.table.pack_columns(pack);
  }
  // The panels of pixels of a tile, from depth `begin` on of a k-block. Those in place are fetched
  // by the first tiles over the ones before, or, if no panels are, by steps ahead.
  void place_pixels(std::int64_t pixel, std::int64_t begin, std::int64_t row,
                    const PackArguments& pack, TileArguments& tile) const noexcept {
    const std::int64_t length = pack.depth_end - pack.depth_begin;
    tile.b_copy = nullptr;
    if (pixel < in_place_ && (row == 0 || !b_.copies)) {
      tile.b = x_ + begin * p_.x_strides[1] + first_pixel_ + pixel;
      tile.b_stride = p_.x_strides[1];
      tile.b_panel_stride = tile_.nr;
      tile.b_ahead = row < weight_nr_ && b_.fetch_panels > 0
                         ? b_.fetch_panels * round_up(tile.lanes, tile_.nr)
                         : kStepsAhead * tile.b_stride;
      // Behind the panel that the image's end leaves.
      if (b_.copies) tile.b_copy = pixels_ + length * tile_.nr;
      return;
    }
    const std::int64_t panel = pixel < in_place_ ? tile_.nr : pixel - in_place_;
    tile.b = pixels_ + panel * length + (begin - pack.depth_begin) * tile_.nr;
    tile.b_stride = tile_.nr;
    tile.b_panel_stride = length * tile_.nr;
    tile.b_ahead = kStepsAhead * tile_.nr;
  }

  // The last two are kept: divisions are felt between tiles.
  const Cut& cut_as_before(std::int64_t rows, std::int64_t most) noexcept {
    for (const Cut& known : cuts_) {
      if (known.rows == rows && known.most == most) return known;
    }
    cuts_[1] = cuts_[0];
    return cuts_[0] = cut(rows, most);
  }

  // Where a pixel of the block is in the output.
  Pair place_of(std::int64_t pixel) const noexcept {
    const std::int64_t flat = first_pixel_ + pixel;
    return {flat / p_.ow, flat % p_.ow};
  }

  // The window of a pixel, and how many of `rest` from it on are evenly spaced and alike.
  const float* window(std::int64_t pixel, const Pair& at) const noexcept {
    if (b_.form == PixelForm::rows) return pixels_ + pixel * b_.pitch;
    return windows_ + (at.h - first_.h) * output_stride_.h + (at.w - first_.w) * output_stride_.w;
  }
  // Where tiles end with rows, those of several go together from a row's first on if they fill
  // them.
  std::int64_t even_windows(const Pair& at, std::int64_t rest, bool tiles_fill_rows) noexcept {
    std::int64_t pixels = std::min(rest, pixels_alike(at));
    if (rows_apart_) {
      if (pixels < 2 * p_.ow || at.w != 0 || !tiles_fill_rows) return std::min(row_end(at), pixels);
      pixels -= pixels % p_.ow;
    }
    return output_.lanes_adjacent() ? std::min(pixels, output_.even_pixels(at)) : pixels;
  }
  // Pixels from one on to the end of its output row.
  std::int64_t row_end(const Pair& at) const noexcept { return p_.ow - at.w; }

  // Channels of the weights' panel before one of them.
  std::int64_t in_panel(std::int64_t channel) const noexcept { return channel & (weight_nr_ - 1); }
  // Channels from one on whose tiles are alike: of one panel or, if tiles end where panels do, of
  // several. Of those that are fetched ahead the last is followed by another than the next.
  std::int64_t even_channels(std::int64_t channel, std::int64_t channels,
                             bool panels) const noexcept {
    const std::int64_t of_panel = weight_nr_ - in_panel(channel);
    if (!panels) return of_panel;
    const std::int64_t last = channels - (b_.fetch_weights ? 1 : 0);
    return std::max(last - in_panel(last) - channel, of_panel);
  }

  // Pixels from one on whose windows have the same taps in the padding, which tiles pass over.
  std::int64_t pixels_alike(const Pair& at) noexcept {
    if (skips_columns_) {
      const std::int64_t alike = tap_columns_inside(p_, at.w).until - at.w;
      return std::min(row_end(at), std::max(alike, column_cut_));
    }
    if (!skips_padding_ || (p_.ow < tile_.mr / 2 && !rows_apart_)) {
      return std::numeric_limits<std::int64_t>::max();
    }
    return (tap_rows(at.h).until - at.h) * p_.ow - at.w;
  }

  // Of an output row; those that follow have the same as a rule.
  const TapRange& tap_rows(std::int64_t oh) noexcept {
    if (oh < tap_rows_from_ || oh >= tap_rows_.until) tap_rows_ = tap_rows_inside(p_, oh);
    tap_rows_from_ = oh;
    return tap_rows_;
  }

  // Of a k-block, what the windows of `pixels` read of the rows of the image. They find zeros above
  // and below, which add nothing to a sum if the weights are finite.
  Depths reach(const Pair& at, std::int64_t pixels, const Depths& block) noexcept {
    if (!skips_padding_) return block;
    const TapRange first = tap_rows(at.h);
    const bool alike = pixels <= (first.until - at.h) * p_.ow - at.w;
    const TapRange last = alike ? first : tap_rows(at.h + (at.w + pixels - 1) / p_.ow);
    const std::int64_t row = p_.c_per_group() * p_.window.kernel_size.w;  // of taps
    const std::int64_t begin = std::min(block.end, std::max(block.begin, last.begin * row));
    return {begin, std::max(begin, std::min(block.end, first.end * row))};
  }

  // Every B panel meets every tile of A while it lies in L1.
  void multiply(const PackArguments& pack, std::int64_t rows, std::int64_t lanes,
                float* sums) noexcept {
    const bool pixels_in_lanes = b_.lanes == Lanes::pixels;
    const Depths block{pack.depth_begin, pack.depth_end};
    const std::int64_t following = block.end < depth_ ? block.end : block.begin;
    TileArguments tile;
    tile.a_row_stride = b_.form == PixelForm::rows ? b_.pitch : output_stride_.w;
    tile.a_run = pixels_in_lanes ? weight_nr_ : p_.ow;
    tile.a_run_gap =
        pixels_in_lanes ? (depth_ - 1) * weight_nr_ : output_stride_.h - p_.ow * output_stride_.w;
    tile.first = block.begin == 0;
    tile.last = block.end == depth_;
    tile.b_panel_stride = depth_ * tile_.nr;
    tile.sums_panel_stride = rows * tile_.nr;
    for (std::int64_t lane = 0; lane < lanes; lane += tile.lanes) {
      // A tile is all in place or all packed.
      const std::int64_t rest = (pixels_in_lanes && lane < in_place_ ? in_place_ : lanes) - lane;
      const std::int64_t most_lanes = !output_.may_be_wide() ? tile_.nr
                                      : b_.wide              ? 2 * tile_.nr
                                                             : tile_lanes(rows, rest, tile_);
      tile.lanes = static_cast<std::int32_t>(std::min(most_lanes, rest));
      const std::int64_t most_rows = tile_.rows(tile.lanes);
      const bool tiles_fill_panels = weight_nr_ % most_rows == 0;
      const bool tiles_fill_rows =
          rows_apart_ && b_.fetch_pixels == 0 && p_.ow % ceil_div(p_.ow, most_rows) == 0;
      Depths part = block;
      Pair at = place_of(pixels_in_lanes ? lane : 0);
      if (pixels_in_lanes) part = reach(at, tile.lanes, block);
      for (std::int64_t row = 0; row < rows;) {
        // Tiles up to where the rows' addresses are no longer evenly spaced. The first over pixels
        // in place fetch others than those that follow.
        const bool panels = tiles_fill_panels && (row > 0 || lane >= in_place_ || b_.copies);
        if (!pixels_in_lanes) at = place_of(row);
        const std::int64_t left = pixels_in_lanes
                                      ? std::min(rows - row, even_channels(row, rows, panels))
                                      : even_windows(at, rows - row, tiles_fill_rows);
        if (!pixels_in_lanes) part = reach(at, left, block);
        tile.depth = part.end - part.begin;
        if (tile.depth == 0 && !tile.first && !tile.last) {
          row += left;
          continue;
        }
        const bool whole_rows = tiles_fill_rows && left > p_.ow;
        const Cut& tiles = cut_as_before(whole_rows ? p_.ow : left, most_rows);
        const std::int64_t height = tiles.height;
        tile.tiles = whole_rows ? left / height : tiles.tiles;
        if (pixels_in_lanes) {
          const std::int64_t panel = row - in_panel(row);
          tile.a = weight_panel(panel, part.begin) + in_panel(row);
          tile.a_run_left = weight_nr_ - in_panel(row);
          tile.a_ahead = 0;
          if (b_.fetch_weights) {
            tile.a_ahead = next_panel(panel + weight_nr_, rows, part.begin,
                                      lane + tile.lanes < lanes ? part.begin : following) -
                           tile.a;
          }
          place_pixels(lane, part.begin, row, pack, tile);
        } else {
          tile.a = window(row, at);
          tile.a_ahead = lane < b_.fetch_pixels ? height * b_.pitch : 0;
          tile.a_run_left = b_.form == PixelForm::rows || tile.a_run_gap == 0 ? 0 : row_end(at);
          tile.b = weight_panel(lane, block.begin);
          tile.fetch = nullptr;
          if (b_.fetch_weights && (row == 0 || tile.a_ahead == 0)) {
            share_fetch(next_panel(lane + tile.lanes, lanes, block.begin, following),
                        block.end - block.begin, tile_.nr, row, height,
                        tile.a_ahead != 0 ? height : rows, tile);
          } else if (next_ != nullptr) {
            fetch_next_patch(lane, lanes, row, height, rows, tile);
          } else if (b_.fetch_rows && lane == 0) {
            fetch_rows_below(at, height, tile);
          }
          segments_.clip(part, at.w, left, tile);
        }
        tile.sums = sums + lane * rows + row * tile_.nr;
        const AForm form = pixels_in_lanes ? AForm::columns : AForm::rows;
        const MicroKernel kernel = g_.table.tile(form, height, tile.lanes);
        if (tile.last) {
          const std::int64_t channel = first_channel_ + (pixels_in_lanes ? row : lane);
          output_.store(kernel, tile, channel, at, static_cast<int>(height));
        } else {
          kernel(tile);
        }
        row += tile.tiles * height;
      }
      output_.flush();
    }
  }

  BlockOutput output_;
  const Operands& g_;
  const Problem& p_;
  const Blocking& b_;
  int weight_nr_;            // lanes of a panel of weights, a power of two
  bool skips_padding_;       // rows of taps
  bool skips_columns_;       // and columns of taps
  bool rows_apart_ = false;  // tiles end with rows, whose windows lie apart
  std::int64_t depth_;
  float* pixels_;
  const Tile& tile_;
  float* sums_;
  const float* x_;
  const float* weights_;
  const float* windows_ = nullptr;
  std::int64_t in_place_ = 0;      // pixels of a pack block, of whole panels
  Pair output_stride_;             // floats from a window to the next one's
  const float* next_ = nullptr;    // block's first pixel of x, to be fetched
  std::int64_t patch_pixels_ = 0;  // of x
  Pair tap_stride_;                // and within a window
  std::int64_t first_pixel_ = 0;
  Pair first_;                      // where it is in the output
  std::int64_t tap_rows_from_ = 0;  // the output row that tap_rows_ were asked for
  TapRange tap_rows_{0, 0, 0};
  std::int64_t first_channel_ = 0;
  Cut cuts_[2];
  std::int64_t column_cut_ = 0;
  WindowSegments segments_;
};

}  // namespace fastconv
