// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

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
      : g_(operands),
        p_(operands.problem),
        b_(blocking),
        weight_nr_(operands.table.nr()),
        skips_padding_(operands.skips_padding()),
        skips_columns_(skips_padding_ && blocking.cuts_columns),
        depth_(p_.c_per_group() * p_.taps()),
        pixels_(static_cast<float*>(workspace)),
        tile_(blocking.tile),
        sums_(pixels_ + blocking.buffer_elements()),
        segments_(p_, skips_padding_, skips_columns_) {
    x_ = g_.x + n * p_.x_strides[0] + group * p_.c_per_group() * p_.x_strides[1];
    y_ = g_.y + n * p_.y_strides[0] + group * p_.k_per_group() * p_.y_strides[1];
    if (g_.residual != nullptr) {
      residual_ = g_.residual + n * g_.residual_strides[0] +
                  group * p_.k_per_group() * g_.residual_strides[1];
    }
    weights_ = g_.weights_of(group * g_.lanes_per_group, depth_);
    bias_ = g_.bias != nullptr ? g_.bias + group * g_.lanes_per_group : nullptr;
    if (skips_columns_) column_cut_ = column_cut(p_, tile_.mr);
    const std::size_t lane_axis = b_.lanes == Lanes::pixels ? 3 : 1;
    lanes_adjacent_ = p_.y_strides[lane_axis] == 1 &&
                      (residual_ == nullptr || g_.residual_strides[lane_axis] == 1);
    // Tiles of channels end where y does not follow on.
    const auto dense = [&](const Dims<4>& strides) {
      return p_.oh == 1 || strides[2] == p_.ow * strides[3];
    };
    may_be_wide_ = lanes_adjacent_ &&
                   (b_.lanes == Lanes::channels ||
                    (dense(p_.y_strides) && (residual_ == nullptr || dense(g_.residual_strides))));
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
    // What is not evenly spaced in y would go by the stage.
    if (!lanes_adjacent_) return pixels;
    if (residual_ != nullptr) pixels = std::min(pixels, even_pixels(at, g_.residual_strides));
    return std::min(pixels, even_pixels(at, p_.y_strides));
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
      const std::int64_t most_lanes = !may_be_wide_ ? tile_.nr
                                      : b_.wide     ? 2 * tile_.nr
                                                    : tile_lanes(rows, rest, tile_);
      tile.lanes = static_cast<std::int32_t>(std::min(most_lanes, rest));
      const std::int64_t most_rows = tile_.rows(tile.lanes);
      const bool tiles_fill_panels = weight_nr_ % most_rows == 0;
      const bool tiles_fill_rows =
          rows_apart_ && b_.fetch_pixels == 0 && p_.ow % ceil_div(p_.ow, most_rows) == 0;
      Depths part = block;
      Pair at = place_of(pixels_in_lanes ? lane : 0);
      if (pixels_in_lanes) {
        part = reach(at, tile.lanes, block);
        if (tile.last) panel_in_y_ = place(at, tile.lanes, first_channel_, p_.y_strides);
        if (tile.last && residual_ != nullptr) {
          panel_in_residual_ = place(at, tile.lanes, first_channel_, g_.residual_strides);
        }
      }
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
          store(kernel, tile, row, at, static_cast<int>(height), lane);
        } else {
          kernel(tile);
        }
        row += tile.tiles * height;
      }
      scatter_staged(tile, lane);
    }
  }

  // Where tiles lie in a tensor of y's shape.
  struct Place {
    bool even;  // their pixels are evenly spaced
    std::int64_t offset, row_stride;
  };

  static std::int64_t pixel_offset(const Pair& at, const Dims<4>& strides) noexcept {
    return at.h * strides[2] + at.w * strides[3];
  }
  // Of the pixels from one on, those that are evenly spaced.
  std::int64_t even_pixels(const Pair& at, const Dims<4>& strides) const noexcept {
    if (strides[2] == p_.ow * strides[3]) return std::numeric_limits<std::int64_t>::max();
    return row_end(at);
  }

  Place place(const Pair& at, std::int64_t pixels, std::int64_t channel,
              const Dims<4>& strides) const noexcept {
    return {pixels <= even_pixels(at, strides), channel * strides[1] + pixel_offset(at, strides),
            b_.lanes == Lanes::pixels ? strides[1] : strides[3]};
  }

  // Runs the kernel on tiles of `rows` rows and stores them: in y, if lanes are adjacent and pixels
  // evenly spaced there and in the residual, else on the stage; fewer than asked if these differ.
  void store(MicroKernel kernel, TileArguments& tile, std::int64_t row, const Pair& at, int rows,
             std::int64_t lane) noexcept {
    const bool pixels_in_lanes = b_.lanes == Lanes::pixels;
    tile.bias = nullptr;
    if (bias_ != nullptr) tile.bias = bias_ + first_channel_ + (pixels_in_lanes ? row : lane);
    if (lanes_adjacent_) {
      const auto place_rows = [&](std::int64_t count, const Dims<4>& strides, const Place& panel) {
        if (!pixels_in_lanes) return place(at, count, first_channel_ + lane, strides);
        return Place{panel.even, panel.offset + row * strides[1], panel.row_stride};
      };
      for (const std::int64_t tiles : {tile.tiles, std::int64_t{1}}) {
        const Place to = place_rows(tiles * rows, p_.y_strides, panel_in_y_);
        Place from{true, 0, 0};
        if (residual_ != nullptr) {
          from = place_rows(tiles * rows, g_.residual_strides, panel_in_residual_);
        }
        if (!to.even || !from.even) continue;
        tile.tiles = tiles;
        tile.epilogue = &g_.epilogue;
        tile.residual = residual_ != nullptr ? residual_ + from.offset : nullptr;
        tile.residual_row_stride = from.row_stride;
        tile.c = y_ + to.offset;
        tile.c_row_stride = to.row_stride;
        if (b_.fetch_y) tile.fetch_c = tile.c + (pixels_in_lanes ? 0 : rows * to.row_stride);
        kernel(tile);
        return;
      }
      tile.tiles = 1;
    }
    if (staged_rows_ + rows > kStagedRows || row != staged_row_ + staged_rows_) {
      scatter_staged(tile, lane);
      staged_row_ = row;
    }
    tile.tiles = std::min<std::int64_t>(tile.tiles, (kStagedRows - staged_rows_) / rows);
    tile.epilogue = &kNoEpilogue;
    tile.residual = nullptr;
    tile.c = stage_ + staged_rows_ * tile_.nr;
    tile.c_row_stride = tile_.nr;
    tile.fetch_c = nullptr;
    kernel(tile);
    staged_rows_ += tile.tiles * rows;
  }

  // Empties the stage into y.
  void scatter_staged(const TileArguments& tile, std::int64_t lane) noexcept {
    const bool pixels_in_lanes = b_.lanes == Lanes::pixels;
    const std::int64_t pixel = pixels_in_lanes ? lane : staged_row_;
    const std::int64_t pixels = pixels_in_lanes ? tile.lanes : staged_rows_;
    const std::int64_t channel = first_channel_ + (pixels_in_lanes ? staged_row_ : lane);
    const auto along = [&](const Dims<4>& s) {
      return pixels_in_lanes ? Dims<3>{s[3], 0, s[1]} : Dims<3>{s[1], 0, s[3]};
    };
    ScatterArguments scatter;
    scatter.column_stride = tile_.nr;
    scatter.rows = 1;
    scatter.y_strides = along(p_.y_strides);
    scatter.residual_strides = along(g_.residual_strides);
    scatter.epilogue = &g_.epilogue;
    for (std::int64_t i = 0; staged_rows_ > 0 && i < pixels;) {
      const Pair at = place_of(pixel + i);
      std::int64_t count = std::min(pixels - i, even_pixels(at, p_.y_strides));
      scatter.y = y_ + channel * p_.y_strides[1] + pixel_offset(at, p_.y_strides);
      if (residual_ != nullptr) {
        count = std::min(count, even_pixels(at, g_.residual_strides));
        scatter.residual =
            residual_ + channel * g_.residual_strides[1] + pixel_offset(at, g_.residual_strides);
      }
      scatter.sums = stage_ + (pixels_in_lanes ? i : i * tile_.nr);
      scatter.lanes = pixels_in_lanes ? static_cast<int>(count) : tile.lanes;
      scatter.columns = pixels_in_lanes ? staged_rows_ : count;
      g_.table.scatter(scatter);
      i += count;
    }
    staged_rows_ = 0;
  }

  const Operands& g_;
  const Problem& p_;
  const Blocking& b_;
  int weight_nr_;        // lanes of a panel of weights, a power of two
  bool skips_padding_;   // rows of taps
  bool skips_columns_;   // and columns of taps
  bool may_be_wide_;     // tiles may span two panels
  bool lanes_adjacent_;  // in y and the residual
  std::int64_t depth_;
  float* pixels_;
  const Tile& tile_;
  float* sums_;
  const float* x_;
  const float* weights_;
  const float* bias_;
  const float* residual_ = nullptr;
  float* y_;
  const float* windows_ = nullptr;
  std::int64_t in_place_ = 0;             // pixels of a pack block, of whole panels
  Pair output_stride_;                    // floats from a window to the next one's
  bool rows_apart_ = false;               // tiles end with rows, whose windows lie apart
  const float* next_ = nullptr;           // block's first pixel of x, to be fetched
  std::int64_t patch_pixels_ = 0;         // of x
  Pair tap_stride_;                       // and within a window
  Place panel_in_y_, panel_in_residual_;  // of pixels along the vectors
  std::int64_t first_pixel_ = 0;
  Pair first_;                      // where it is in the output
  std::int64_t tap_rows_from_ = 0;  // the output row that tap_rows_ were asked for
  TapRange tap_rows_{0, 0, 0};
  std::int64_t first_channel_ = 0;
  Cut cuts_[2];
  std::int64_t column_cut_ = 0;
  WindowSegments segments_;
  // Rows of finished sums on their way to where lanes are apart, with the vector that scattering
  // may read behind them. Whole vectors of whole tiles.
  static constexpr std::int64_t kStagedRows = 112;
  std::int64_t staged_row_ = 0;
  std::int64_t staged_rows_ = 0;
  alignas(64) float stage_[(kStagedRows * kMaxVectors + 1) * kMaxWidth];
};

}  // namespace fastconv
