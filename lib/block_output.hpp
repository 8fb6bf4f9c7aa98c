// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "blocking.hpp"
#include "operands.hpp"

namespace fastconv {

// Where the tiles of a block go: into y or, where lanes or pixels lie apart there, by a stage.
class BlockOutput {
 public:
  BlockOutput(const Operands& operands, const Blocking& blocking, std::int64_t n,
              std::int64_t group) noexcept
      : g_(operands),
        p_(operands.problem),
        pixels_in_lanes_(blocking.lanes == Lanes::pixels),
        fetches_(blocking.fetch_y),
        nr_(blocking.tile.nr) {
    const auto place = [&](const Dims<4>& strides) {
      return n * strides[0] + group * p_.k_per_group() * strides[1];
    };
    const std::size_t lane_axis = pixels_in_lanes_ ? 3 : 1;
    const auto follow_on = [&](const Dims<4>& strides) {
      return p_.oh == 1 || strides[2] == p_.ow * strides[3];
    };
    y_ = g_.y + place(p_.y_strides);
    lanes_adjacent_ = p_.y_strides[lane_axis] == 1;
    rows_follow_on_ = follow_on(p_.y_strides);
    if (g_.residual != nullptr) {
      residual_ = g_.residual + place(g_.residual_strides);
      lanes_adjacent_ = lanes_adjacent_ && g_.residual_strides[lane_axis] == 1;
      rows_follow_on_ = rows_follow_on_ && follow_on(g_.residual_strides);
    }
    if (g_.bias != nullptr) bias_ = g_.bias + group * g_.lanes_per_group;
  }

  // Are those of a tile in y and the residual?
  bool lanes_adjacent() const noexcept { return lanes_adjacent_; }

  // May tiles span two panels? Those of channels end where y does not follow on.
  bool may_be_wide() const noexcept {
    return lanes_adjacent_ && (!pixels_in_lanes_ || rows_follow_on_);
  }

  // Of the pixels from one on, those that are evenly spaced in y and the residual.
  std::int64_t even_pixels(const Pair& at) const noexcept {
    return rows_follow_on_ ? std::numeric_limits<std::int64_t>::max() : p_.ow - at.w;
  }

  // Runs the kernel on tiles of `rows` rows, of which the first begins with a channel and, `at` in
  // the output, a pixel, and stores them; fewer than asked if the stage is full. Pixels along the
  // rows are evenly spaced.
  void store(MicroKernel kernel, TileArguments& tile, std::int64_t channel, const Pair& at,
             int rows) noexcept {
    tile.bias = bias_ != nullptr ? bias_ + channel : nullptr;
    if (lanes_adjacent_ && (!pixels_in_lanes_ || tile.lanes <= even_pixels(at))) {
      const std::size_t row_axis = pixels_in_lanes_ ? 1 : 3;
      tile.epilogue = &g_.epilogue;
      tile.residual = nullptr;
      if (residual_ != nullptr) {
        tile.residual = residual_ + offset(channel, at, g_.residual_strides);
        tile.residual_row_stride = g_.residual_strides[row_axis];
      }
      tile.c = y_ + offset(channel, at, p_.y_strides);
      tile.c_row_stride = p_.y_strides[row_axis];
      if (fetches_) tile.fetch_c = tile.c + (pixels_in_lanes_ ? 0 : rows * tile.c_row_stride);
      kernel(tile);
      return;
    }
    if (staged_rows_ + rows > kStagedRows) flush();
    if (staged_rows_ == 0) {
      staged_channel_ = channel;
      staged_at_ = at;
      staged_lanes_ = tile.lanes;
    }
    tile.tiles = std::min<std::int64_t>(tile.tiles, (kStagedRows - staged_rows_) / rows);
    tile.epilogue = &kNoEpilogue;
    tile.residual = nullptr;
    tile.c = stage_ + staged_rows_ * nr_;
    tile.c_row_stride = nr_;
    tile.fetch_c = nullptr;
    kernel(tile);
    staged_rows_ += tile.tiles * rows;
  }

  // Empties the stage into y. Due after the last tile over some lanes.
  void flush() noexcept {
    const std::int64_t pixels = pixels_in_lanes_ ? staged_lanes_ : staged_rows_;
    const auto along = [&](const Dims<4>& s) {
      return pixels_in_lanes_ ? Dims<3>{s[3], 0, s[1]} : Dims<3>{s[1], 0, s[3]};
    };
    ScatterArguments scatter;
    scatter.column_stride = nr_;
    scatter.rows = 1;
    scatter.y_strides = along(p_.y_strides);
    scatter.residual_strides = along(g_.residual_strides);
    scatter.epilogue = &g_.epilogue;
    Pair at = staged_at_;
    for (std::int64_t i = 0; staged_rows_ > 0 && i < pixels; at = {at.h + 1, 0}) {
      const std::int64_t count = std::min(pixels - i, even_pixels(at));
      scatter.y = y_ + offset(staged_channel_, at, p_.y_strides);
      if (residual_ != nullptr) {
        scatter.residual = residual_ + offset(staged_channel_, at, g_.residual_strides);
      }
      scatter.sums = stage_ + (pixels_in_lanes_ ? i : i * nr_);
      scatter.lanes = pixels_in_lanes_ ? static_cast<int>(count) : staged_lanes_;
      scatter.columns = pixels_in_lanes_ ? staged_rows_ : count;
      g_.table.scatter(scatter);
      i += count;
    }
    staged_rows_ = 0;
  }

 private:
  // In a tensor of y's shape.
  static std::int64_t offset(std::int64_t channel, const Pair& at,
                             const Dims<4>& strides) noexcept {
    return channel * strides[1] + at.h * strides[2] + at.w * strides[3];
  }

  const Operands& g_;
  const Problem& p_;
  bool pixels_in_lanes_;
  bool fetches_;  // lines of y before a tile is computed
  int nr_;
  bool lanes_adjacent_;
  bool rows_follow_on_;  // in y and the residual
  float* y_;
  const float* residual_ = nullptr;
  const float* bias_ = nullptr;
  // Rows of finished sums, with the vector that scattering may read behind them. Whole vectors of
  // whole tiles.
  static constexpr std::int64_t kStagedRows = 112;
  std::int64_t staged_rows_ = 0;
  std::int64_t staged_channel_ = 0;  // of the first one
  Pair staged_at_;
  int staged_lanes_ = 0;
  alignas(64) float stage_[(kStagedRows * kMaxVectors + 1) * kMaxWidth];
};

}  // namespace fastconv
