// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "blocking.hpp"
#include "integers.hpp"
#include "operands.hpp"
#include "taps.hpp"

namespace fastconv {

// A block of images times a block of channels of one group, tap by tap: each is multiplied with the
// outputs that find it in the image, and with no others, which wait in memory. What is padded is
// neither stored nor multiplied, so the weights have to be finite.
class TapProduct {
 public:
  TapProduct(const Operands& operands, const Blocking& blocking, const Range& images,
             const Range& rows, std::int64_t group, void* workspace) noexcept
      : g_(operands),
        p_(operands.problem),
        b_(blocking),
        nr_(blocking.tile.nr),
        depth_(p_.c_per_group() * p_.taps()),
        images_(images.end - images.begin),
        rows_(rows),
        outputs_(images_ * (rows.end - rows.begin) * p_.ow),
        first_lane_(group * operands.lanes_per_group),
        sums_(static_cast<float*>(workspace) + blocking.buffer_elements()),
        taps_sums_(sums_) {
    const std::int64_t n = images.begin;
    const auto place = [&](const Dims<4>& s) {
      return n * s[0] + group * p_.k_per_group() * s[1] + rows.begin * s[2];
    };
    y_ = g_.y + place(p_.y_strides);
    if (g_.residual != nullptr) residual_ = g_.residual + place(g_.residual_strides);
    x_ = g_.x + n * p_.x_strides[0] + group * p_.c_per_group() * p_.x_strides[1];
    x_strides_ = p_.x_strides;
    if (b_.pack_elements > 0) copy_images(static_cast<float*>(workspace));
    order_axes({0, rows_.end - rows_.begin});
  }

  void run(std::int64_t channel, std::int64_t channels) noexcept {
    const std::int64_t most = b_.wide ? 2 * nr_ : nr_;
    for (std::int64_t done = 0; done < channels; done += most) {
      const std::int64_t lanes = std::min(most, channels - done);
      std::fill_n(sums_, outputs_ * round_up(lanes, nr_), 0.0F);
      multiply(channel + done, lanes);
      for (std::int64_t lane = 0; lane < lanes; lane += nr_) {
        finish(channel + done + lane, std::min<std::int64_t>(nr_, lanes - lane),
               sums_ + lane * outputs_);
      }
    }
  }

 private:
  // Images whose channels lie apart are copied, without padding, as far as windows read them.
  void copy_images(float* copy) noexcept {
    const Range read = image_rows_read(p_, rows_);
    Problem image = p_;
    image.window = {1, 1, {}, 1, PaddingMode::zeros};
    image.oh = p_.h;
    image.ow = p_.w;
    RegionArguments region;
    region.problem = &image;
    region.channels = p_.c_per_group();
    region.first_row = read.begin;
    region.rows = read.end - read.begin;
    region.columns = p_.w;
    region.pitch = b_.pitch;
    const std::int64_t row = p_.w * b_.pitch;
    for (std::int64_t i = 0; i < images_; ++i) {
      region.x = x_ + i * p_.x_strides[0];
      region.out = copy + i * region.rows * row;
      g_.table.pack_patch(region);
    }
    x_ = copy - read.begin * row;
    x_strides_ = {region.rows * row, 1, row, b_.pitch};
  }

  // An axis of x and y, by number, and what lies between its outputs' windows and their sums.
  struct Axis {
    std::size_t number;
    std::int64_t count, x_stride, sums_stride;
  };
  // A tile's rows lie along the last one, and of an area along the last two. Columns come first
  // where all taps of a row that one finds are multiplied at once.
  void order_axes(const Range& rows) noexcept {
    const Pair stride = p_.window.stride;
    const Axis n{0, images_, x_strides_[0], 0};
    const Axis h{2, rows.end - rows.begin, stride.h * x_strides_[2], 0};
    const Axis w{3, p_.ow, stride.w * x_strides_[3], 0};
    const Axis ordered[4][3] = {{w, h, n}, {w, n, h}, {n, h, w}, {n, w, h}};
    std::int64_t sums_stride = nr_;
    for (std::size_t i = 3; i-- > 0;) {
      axes_[i] = ordered[static_cast<int>(b_.along)][i];
      axes_[i].sums_stride = sums_stride;
      sums_stride *= axes_[i].count;
    }
    panel_stride_ = sums_stride;
    first_row_ = rows.begin;
  }

  // The sums of some rows of an area to where they follow each other, or back.
  void move_rows(const Range& rows, std::int64_t lanes, bool out) noexcept {
    const std::int64_t all = rows_.end - rows_.begin;
    const std::int64_t floats = (rows.end - rows.begin) * nr_;
    taps_sums_ = sums_ + outputs_ * round_up(lanes, nr_);
    float* part = taps_sums_;
    float* whole = sums_ + rows.begin * nr_;
    for (std::int64_t run = ceil_div(lanes, nr_) * images_ * p_.ow; run > 0; --run) {
      if (out) {
        std::copy_n(whole, floats, part);
      } else {
        std::copy_n(part, floats, whole);
      }
      part += floats;
      whole += all * nr_;
    }
    if (!out) taps_sums_ = sums_;
    order_axes(out ? rows : Range{0, all});
  }

  void multiply(std::int64_t channel, std::int64_t lanes) noexcept {
    const Pair kernel = p_.window.kernel_size;
    TileArguments tile;
    tile.lanes = static_cast<std::int32_t>(lanes);
    tile.b = g_.weights_of(first_lane_ + channel, depth_);
    tile.b_panel_stride = depth_ * nr_;
    tile.first = tile.last = false;
    tile.segments = segments_;
    const bool column_by_column = b_.along == Along::rows || b_.along == Along::images;
    if (b_.fetch_weights) ahead_ = (column_by_column ? kernel.w : 1) * p_.c_per_group() * nr_;
    for (std::int64_t r = 0; r < kernel.h; ++r) {
      Range rows = output_rows_inside(p_, r);
      rows = {std::max(rows.begin, rows_.begin) - rows_.begin,
              std::min(rows.end, rows_.end) - rows_.begin};
      if (rows.begin >= rows.end) continue;
      if (!column_by_column) {
        const bool part = b_.along == Along::area && rows.end - rows.begin < axes_[2].count;
        if (part) move_rows(rows, lanes, true);
        for (std::int64_t s = 0; s < kernel.w; ++s) {
          const Range columns = output_columns_inside(p_, s);
          if (columns.begin < columns.end) multiply_taps(r, {s, s + 1}, rows, columns, tile);
        }
        if (part) move_rows(rows, lanes, false);
        continue;
      }
      for (std::int64_t column = 0; column < p_.ow; ++column) {
        const TapRange taps = tap_columns_inside(p_, column);
        for (std::int64_t s = taps.begin; s < taps.end; s += kMaxSegments) {
          multiply_taps(r, {s, std::min<std::int64_t>(s + kMaxSegments, taps.end)}, rows,
                        {column, column + 1}, tile);
        }
      }
    }
  }

  // Some taps of a row, which all of the outputs find.
  void multiply_taps(std::int64_t r, const Range& taps, const Range& rows, const Range& columns,
                     TileArguments& tile) noexcept {
    list_segments(r, taps, tile);
    const auto& [kernel, stride, padding, dilation, mode] = p_.window;
    const float* first =
        x_ +
        ((rows_.begin + rows.begin) * stride.h + r * dilation.h - padding.top) * x_strides_[2] +
        (columns.begin * stride.w - padding.left) * x_strides_[3];
    const Range sums_rows{rows.begin - first_row_, rows.end - first_row_};
    const Range ranges[] = {{0, images_}, {0, 0}, sums_rows, columns};
    const auto& [outer, middle, inner] = axes_;
    const Range& i = ranges[outer.number];
    const Range& j = ranges[middle.number];
    const Range& k = ranges[inner.number];
    std::int64_t length = k.end - k.begin;
    std::int64_t runs = j.end - j.begin;
    // Runs follow each other if none of their outputs is missing.
    const bool even = middle.x_stride == inner.count * inner.x_stride;
    tile.sums_panel_stride = panel_stride_;
    tile.a_row_stride = inner.x_stride;
    tile.a_run = 0;
    if (length == inner.count && (even || b_.tile.straddles())) {
      if (!even) tile.a_run = length;
      length *= runs;
      runs = 1;
    }
    tile.a_run_gap = middle.x_stride - inner.count * inner.x_stride;
    for (std::int64_t o = i.begin; o < i.end; ++o) {
      for (std::int64_t run = 0; run < runs; ++run) {
        tile.a = first + (o - i.begin) * outer.x_stride + run * middle.x_stride;
        tile.sums = taps_sums_ + o * outer.sums_stride + (j.begin + run) * middle.sums_stride +
                    k.begin * inner.sums_stride;
        multiply_run(length, tile);
      }
    }
  }

  void list_segments(std::int64_t r, const Range& taps, TileArguments& tile) noexcept {
    const std::int64_t channels = p_.c_per_group();
    const std::int64_t step = p_.window.dilation.w * x_strides_[3];
    const std::int64_t row = r * p_.window.kernel_size.w;
    tile.depth = (taps.end - taps.begin) * channels;
    tile.segment_count = 0;
    if (step == channels) {  // they touch
      segments_[tile.segment_count++] = {taps.begin * step, tile.depth,
                                         (row + taps.begin) * channels};
      return;
    }
    for (std::int64_t s = taps.begin; s < taps.end; ++s) {
      segments_[tile.segment_count++] = {s * step, channels, (row + s) * channels};
    }
  }

  // Rows that follow each other in the sums.
  void multiply_run(std::int64_t length, TileArguments& tile) noexcept {
    const std::int64_t most = b_.tile.rows(tile.lanes);
    const float* const a = tile.a;
    for (std::int64_t row = 0; row < length;) {
      const Cut first = cut(length - row, most);
      const std::int64_t height = first.height;
      tile.tiles = first.tiles;
      tile.a_run_left = tile.a_run > 0 ? tile.a_run - row % tile.a_run : 0;
      tile.a = a + row * tile.a_row_stride;
      if (tile.a_run > 0) tile.a += row / tile.a_run * tile.a_run_gap;
      if (ahead_ != 0) {
        share_fetch(tile.b + segments_[0].depth * nr_ + ahead_, tile.depth, nr_, row, height,
                    length, tile);
      }
      call(height, tile);
      tile.sums += tile.tiles * height * nr_;
      row += tile.tiles * height;
    }
  }

  void call(std::int64_t height, const TileArguments& tile) const noexcept {
    g_.table.tile(AForm::rows, height, tile.lanes)(tile);
  }

  // The sums of a panel to y.
  void finish(std::int64_t channel, std::int64_t lanes, float* sums) noexcept {
    TileArguments tile;
    tile.lanes = static_cast<std::int32_t>(lanes);
    tile.first = false;
    if (g_.bias != nullptr) tile.bias = g_.bias + first_lane_ + channel;
    float* const y = y_ + channel * p_.y_strides[1];
    const float* const residual =
        residual_ != nullptr ? residual_ + channel * g_.residual_strides[1] : nullptr;
    const Axis& outer = axes_[0];
    const Axis& middle = axes_[1];
    const Axis& inner = axes_[2];
    if (p_.y_strides[1] == 1 && (residual == nullptr || g_.residual_strides[1] == 1)) {
      tile.epilogue = &g_.epilogue;
      tile.c_row_stride = p_.y_strides[inner.number];
      tile.residual_row_stride = g_.residual_strides[inner.number];
      for (std::int64_t i = 0; i < outer.count; ++i) {
        for (std::int64_t j = 0; j < middle.count; ++j) {
          const auto at = [&](const Dims<4>& strides) {
            return i * strides[outer.number] + j * strides[middle.number];
          };
          tile.c = y + at(p_.y_strides);
          if (residual != nullptr) tile.residual = residual + at(g_.residual_strides);
          tile.sums = sums + i * outer.sums_stride + j * middle.sums_stride;
          finish_run(inner.count, tile);
        }
      }
      return;
    }
    if (tile.bias != nullptr) {
      tile.epilogue = &kNoEpilogue;
      tile.c = tile.sums = sums;
      tile.c_row_stride = nr_;
      finish_run(outputs_, tile);
    }
    ScatterArguments scatter;
    scatter.lanes = tile.lanes;
    scatter.rows = rows_.end - rows_.begin;
    scatter.columns = p_.ow;
    Dims<4> strides{};
    for (const Axis& axis : axes_) strides[axis.number] = axis.sums_stride;
    scatter.row_stride = strides[2];
    scatter.column_stride = strides[3];
    const auto along = [](const Dims<4>& s) { return Dims<3>{s[1], s[2], s[3]}; };
    scatter.y_strides = along(p_.y_strides);
    scatter.residual_strides = along(g_.residual_strides);
    scatter.epilogue = &g_.epilogue;
    for (std::int64_t n = 0; n < images_; ++n) {
      scatter.sums = sums + n * strides[0];
      scatter.y = y + n * p_.y_strides[0];
      if (residual != nullptr) scatter.residual = residual + n * g_.residual_strides[0];
      g_.table.scatter(scatter);
    }
  }

  // Evenly spaced rows of finished sums.
  void finish_run(std::int64_t length, TileArguments& tile) noexcept {
    for (std::int64_t row = 0; row < length;) {
      const std::int64_t height = std::min<std::int64_t>(length - row, b_.tile.rows(tile.lanes));
      tile.tiles = (length - row) / height;
      call(height, tile);
      const std::int64_t done = tile.tiles * height;
      tile.sums += done * nr_;
      tile.c += done * tile.c_row_stride;
      if (tile.residual != nullptr) tile.residual += done * tile.residual_row_stride;
      row += done;
    }
  }

  const Operands& g_;
  const Problem& p_;
  const Blocking& b_;
  int nr_;
  std::int64_t depth_;
  std::int64_t images_;
  Range rows_;            // of the output; from here on they are counted from the first of them
  std::int64_t outputs_;  // of all images
  std::int64_t first_lane_;
  std::int64_t ahead_ = 0;  // floats to the taps that are fetched
  float* sums_;             // [panel][outer][middle][inner][nr]
  float* taps_sums_;        // those of a row of taps, from an output row on
  std::int64_t first_row_ = 0, panel_stride_ = 0;
  const float* x_;
  Dims<4> x_strides_;  // of x or its copy
  const float* residual_ = nullptr;
  float* y_;
  Axis axes_[3];
  Segment segments_[kMaxSegments];
};

}  // namespace fastconv
