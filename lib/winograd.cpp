// SPDX-License-Identifier: Apache-2.0
#include "winograd.hpp"

#include <algorithm>

#include "../kernels/weights.hpp"
#include "integers.hpp"

namespace fastconv {
namespace {

// Of one block.
class Block {
 public:
  Block(const Operands& operands, const WinogradBlocking& blocking, std::int64_t group,
        void* workspace) noexcept
      : t_(operands),
        p_(operands.problem),
        b_(blocking),
        nr_(operands.table.nr()),
        width_(operands.table.width),
        max_rows_(Tiles(operands.table).channels.mr),
        one_column_(blocking.columns.side == 1),
        group_(group),
        u_(static_cast<float*>(workspace)),
        v_(u_ + b_.u_elements),
        m_(v_ + b_.points() * b_.v_stride),
        patch_(m_ + b_.points() * b_.m_stride),
        staged_(patch_ + b_.patch_elements) {}

  void run(std::int64_t tile, std::int64_t tiles, std::int64_t panel,
           std::int64_t panels) noexcept {
    for_each_run(tile, tiles, [&](const Run& run) { transform_input(run); });
    for (std::int64_t i = 0; i < panels; ++i) {
      multiply(panel + i, tiles);
      for_each_run(tile, tiles, [&](const Run& run) { transform_output(run, panel + i); });
    }
  }

 private:
  // Tiles of a row: the same ones, following each other, of neighbouring grids.
  struct Run {
    std::int64_t n;
    std::int64_t row, column;   // of the first one's first output
    std::int64_t along, grids;  // how many
    std::int64_t at, pitch;     // the first one's place in the block, and to the next of its grid
  };

  // Evenly spaced tiles of a run.
  struct Line {
    std::int64_t column;     // of the first one's first output
    std::int64_t count;      // of tiles
    std::int64_t step;       // columns from one to the next
    std::int64_t at, pitch;  // the first one's place in the block, and to the next
  };

  template <class Body>
  void for_each_run(std::int64_t tile, std::int64_t tiles, Body body) noexcept {
    const WinogradAxis& columns = b_.columns;
    for (std::int64_t at = 0; at < tiles;) {
      const std::int64_t row = (tile + at) / columns.tiles;
      const std::int64_t column = (tile + at) % columns.tiles;
      const std::int64_t left = std::min(tiles - at, columns.tiles - column);
      const std::int64_t grid = column % columns.grids;
      Run run{row / b_.rows.tiles,
              b_.rows.first_output(row % b_.rows.tiles),
              columns.first_output(column),
              1,
              std::min({left, columns.grids - grid, b_.grids}),
              at,
              columns.grids};
      if (run.grids == columns.grids) run.along = left / columns.grids;
      body(run);
      at += run.along * run.grids;
    }
  }

  // As few as there are.
  template <class Body>
  void for_each_line(const Run& run, Body body) noexcept {
    const std::int64_t tile_step = b_.columns.m * b_.columns.step;
    if (run.along >= run.grids) {
      for (std::int64_t g = 0; g < run.grids; ++g) {
        body(Line{run.column + g, run.along, tile_step, run.at + g, run.pitch});
      }
    } else {
      for (std::int64_t i = 0; i < run.along; ++i) {
        body(Line{run.column + i * tile_step, run.grids, 1, run.at + i * run.pitch, 1});
      }
    }
  }

  // Some tiles of a line.
  Run part(const Run& run, const Line& line, std::int64_t begin, std::int64_t end) const noexcept {
    const std::int64_t along = line.step == 1 && b_.columns.m > 1 ? 1 : end - begin;
    return {run.n,
            run.row,
            line.column + begin * line.step,
            along,
            (end - begin) / along,
            line.at + begin * line.pitch,
            line.pitch};
  }

  void transform_input(const Run& run) noexcept {
    const std::int64_t channels = p_.c_per_group();
    const WinogradAxis& columns = b_.columns;
    const std::int64_t top = run.row - p_.window.padding.top;
    const float* x = t_.x + run.n * p_.x_strides[0] + group_ * channels * p_.x_strides[1];
    const std::int64_t whole = channels / width_ * width_;
    if (p_.x_strides[1] != 1 || whole == 0 || top < 0 ||
        top + (b_.rows.side - 1) * b_.rows.step >= p_.h) {
      copy_and_transform(run, x, 0);
      return;
    }
    // The tiles that lie in the image are read in place, in whole vectors of channels.
    const auto copy = [&](const Line& line, std::int64_t begin, std::int64_t end,
                          std::int64_t channel) {
      if (begin < end) copy_and_transform(part(run, line, begin, end), x, channel);
    };
    for_each_line(run, [&](const Line& line) {
      const std::int64_t left = line.column - p_.window.padding.left;
      const std::int64_t room = p_.w - 1 - (columns.side - 1) * columns.step - left;
      const std::int64_t begin = std::min(line.count, left < 0 ? ceil_div(-left, line.step) : 0);
      const std::int64_t end = std::clamp(room >= 0 ? room / line.step + 1 : 0, begin, line.count);
      if (begin < end) {
        WinogradInput in;
        in.x = x + top * p_.x_strides[2] + (left + begin * line.step) * p_.x_strides[3];
        in.row_stride = p_.x_strides[2] * b_.rows.step;
        in.column_stride = p_.x_strides[3] * columns.step;
        in.tile_stride = end - begin > 1 ? p_.x_strides[3] * line.step : 0;
        in.channels = whole;
        in.fetch = b_.fetch;
        in.tiles = end - begin;
        transform(line.at + begin * line.pitch, line.pitch, 0, in);
      }
      copy(line, 0, begin, 0);
      if (whole < channels) copy(line, begin, end, whole);
      copy(line, end, line.count, 0);
    });
  }

  void transform(std::int64_t at, std::int64_t pitch, std::int64_t channel,
                 WinogradInput& in) noexcept {
    if (one_column_) in.column_stride = in.row_stride;
    in.v = v_ + at * b_.pitch + channel;
    in.point_stride = b_.v_stride;
    in.pitch = pitch * b_.pitch;
    t_.table.winograd_input[b_.variant](in);
  }

  // The channels from `channel` on.
  void copy_and_transform(const Run& run, const float* x, std::int64_t channel) noexcept {
    RegionArguments region;
    region.problem = &p_;
    region.first_row = run.row;
    region.first_column = run.column;
    region.row_step = b_.rows.step;
    region.column_step = run.grids > 1 ? 1 : b_.columns.step;
    region.rows = b_.rows.side;
    region.columns = b_.columns.copied(run.along, run.grids);
    region.out = patch_;
    while (channel < p_.c_per_group()) {
      region.x = x + channel * p_.x_strides[1];
      region.channels = std::min(b_.patch_channels, p_.c_per_group() - channel);
      region.pitch = round_up(region.channels, width_);
      t_.table.pack_patch(region);
      for_each_line(run, [&](const Line& line) {
        WinogradInput in;
        in.x = patch_ + (line.column - run.column) / region.column_step * region.pitch;
        in.row_stride = region.columns * region.pitch;
        in.column_stride = b_.columns.step / region.column_step * region.pitch;
        in.tile_stride = line.step / region.column_step * region.pitch;
        in.tiles = line.count;
        in.channels = region.pitch;
        transform(line.at, line.pitch, channel, in);
      });
      channel += region.channels;
    }
  }

  // All points' products of a panel of channels out.
  void multiply(std::int64_t panel, std::int64_t tiles) noexcept {
    const std::int64_t panels = ceil_div(p_.k_per_group(), nr_);
    const std::int64_t depth = p_.c_per_group();
    const std::int64_t index = group_ * panels + panel;
    TileArguments tile;
    tile.a_row_stride = b_.pitch;
    tile.segment_count = 1;
    tile.last = false;
    const int vectors = p_.k_per_group() - panel * nr_ > width_ ? 2 : 1;
    for (std::int64_t begin = 0; begin < depth; begin += b_.depth) {
      const Segment segment{0, std::min(b_.depth, depth - begin), 0};
      tile.depth = segment.length;
      tile.segments = &segment;
      tile.first = begin == 0;
      const float* u = u_;
      if (b_.u_elements == 0) {
        u = t_.transformed + index * b_.points() * b_.u_stride;
      } else {
        transform_weights(t_.weights + (index * p_.taps() * depth + begin) * nr_, segment.length);
      }
      for (std::int64_t point = 0; point < b_.points(); ++point) {
        tile.b = u + point * b_.u_stride;
        for (std::int64_t row = 0; row < tiles;) {
          const Cut first = cut(tiles - row, max_rows_);
          const std::int64_t height = first.height;
          tile.tiles = first.tiles;
          tile.a = v_ + point * b_.v_stride + row * b_.pitch + begin;
          tile.sums = m_ + point * b_.m_stride + row * nr_;
          if (b_.u_elements == 0) {
            share_fetch(tile.b + b_.u_stride, tile.depth, nr_, row, height, tiles, tile);
          }
          t_.table.micro_gemm[static_cast<int>(AForm::rows)][height - 1][vectors - 1](tile);
          row += tile.tiles * height;
        }
      }
    }
  }

  void transform_weights(const float* panel, std::int64_t depth) noexcept {
    WinogradWeights weights;
    weights.g = panel;
    weights.tap_stride = p_.c_per_group() * nr_;
    weights.count = depth * nr_;
    weights.u = u_;
    weights.point_stride = b_.u_stride;
    t_.table.winograd_weights[b_.variant](weights);
  }

  void transform_output(const Run& run, std::int64_t panel) noexcept {
    const bool in_place =
        p_.y_strides[1] == 1 && (t_.residual == nullptr || t_.residual_strides[1] == 1);
    for_each_line(run, [&](const Line& line) {
      WinogradOutput out;
      out.m = m_ + line.at * nr_;
      out.point_stride = b_.m_stride;
      out.pitch = line.pitch * nr_;
      out.tiles = line.count;
      out.rows = rows_of(run);
      out.pixels = p_.ow - line.column;
      out.column_pixels = b_.columns.step;
      out.tile_pixels = line.step;
      if (t_.bias != nullptr) out.bias = t_.bias + group_ * t_.lanes_per_group + panel * nr_;
      if (in_place) {
        store_to_y(run, line, panel, out);
      } else {
        store_to_stage(run, line, panel, out);
      }
      if (one_column_) {
        out.pixels = out.rows;
        out.column_pixels = 1;
        out.tile_pixels = 0;
        out.rows = 1;
        out.y_column_stride = out.y_row_stride;
        out.residual_column_stride = out.residual_row_stride;
      }
      t_.table.winograd_output[b_.variant](out);
    });
    if (!in_place) scatter_staged(run, panel);
  }

  std::int64_t rows_of(const Run& run) const noexcept {
    return std::min(b_.rows.m, ceil_div(p_.oh - run.row, b_.rows.step));
  }
  int channels_of(std::int64_t panel) const noexcept {
    return static_cast<int>(std::min<std::int64_t>(nr_, p_.k_per_group() - panel * nr_));
  }
  // Where a column of a run's first row is in a tensor of y's shape.
  std::int64_t offset(const Run& run, std::int64_t panel, std::int64_t column,
                      const Dims<4>& strides) const noexcept {
    return run.n * strides[0] + (group_ * p_.k_per_group() + panel * nr_) * strides[1] +
           run.row * strides[2] + column * strides[3];
  }
  // What steps nowhere may have a step too large to form.
  static std::int64_t stride(std::int64_t count, std::int64_t between, std::int64_t unit) noexcept {
    return count > 1 ? between * unit : 0;
  }

  void store_to_y(const Run& run, const Line& line, std::int64_t panel,
                  WinogradOutput& out) const noexcept {
    const std::int64_t columns = ceil_div(out.pixels, out.column_pixels);
    const Dims<4>& ys = p_.y_strides;
    out.channels = channels_of(panel);
    out.y = t_.y + offset(run, panel, line.column, ys);
    out.y_row_stride = stride(out.rows, ys[2], b_.rows.step);
    out.y_column_stride = stride(columns, ys[3], out.column_pixels);
    out.y_tile_stride = stride(line.count, ys[3], line.step);
    if (t_.residual != nullptr) {
      const Dims<4>& rs = t_.residual_strides;
      out.residual = t_.residual + offset(run, panel, line.column, rs);
      out.residual_row_stride = stride(out.rows, rs[2], b_.rows.step);
      out.residual_column_stride = stride(columns, rs[3], out.column_pixels);
      out.residual_tile_stride = stride(line.count, rs[3], line.step);
    }
    out.epilogue = &t_.epilogue;
    out.fetch = b_.fetch;
  }

  // [rows][columns of a grid][grids][NR].
  void store_to_stage(const Run& run, const Line& line, std::int64_t panel,
                      WinogradOutput& out) const noexcept {
    const bool along = run.along >= run.grids;
    const std::int64_t first = along ? line.column - run.column
                                     : (line.at - run.at) / run.pitch * b_.columns.m * run.grids;
    out.channels = static_cast<int>(round_up(channels_of(panel), width_));
    out.y = staged_ + first * nr_;
    out.y_row_stride = staged_columns(run) * run.grids * nr_;
    out.y_column_stride = run.grids * nr_;
    out.y_tile_stride = (along ? b_.columns.m * run.grids : 1) * nr_;
    out.epilogue = &kNoEpilogue;
  }
  // Of a grid.
  std::int64_t staged_columns(const Run& run) const noexcept { return run.along * b_.columns.m; }

  // The same column of all grids is a stretch of y, and all columns are, of all grids. Those of one
  // are steps apart.
  void scatter_staged(const Run& run, std::int64_t panel) const noexcept {
    const std::int64_t step = b_.columns.step;
    const std::int64_t columns = staged_columns(run);
    const bool joined = run.grids == 1 || run.grids == step;
    const std::int64_t length = joined ? columns * run.grids : run.grids;
    const std::int64_t spacing = run.grids == 1 ? step : 1;
    ScatterArguments scatter;
    scatter.row_stride = columns * run.grids * nr_;
    scatter.column_stride = nr_;
    scatter.rows = rows_of(run);
    scatter.lanes = channels_of(panel);
    scatter.epilogue = &t_.epilogue;
    scatter.fetch = b_.fetch && p_.y_strides[3] == 1 && step == 1;
    for (std::int64_t i = 0; i < (joined ? 1 : columns); ++i) {
      const std::int64_t column = run.column + i * step;
      if (column >= p_.ow) break;
      scatter.sums = staged_ + i * run.grids * nr_;
      scatter.columns = std::min(length, ceil_div(p_.ow - column, spacing));
      const auto strides = [&](const Dims<4>& s) {
        return Dims<3>{s[1], stride(scatter.rows, s[2], b_.rows.step),
                       stride(scatter.columns, s[3], spacing)};
      };
      scatter.y = t_.y + offset(run, panel, column, p_.y_strides);
      scatter.y_strides = strides(p_.y_strides);
      if (t_.residual != nullptr) {
        scatter.residual = t_.residual + offset(run, panel, column, t_.residual_strides);
      }
      scatter.residual_strides = strides(t_.residual_strides);
      t_.table.scatter(scatter);
    }
  }

  const Operands& t_;
  const Problem& p_;
  const WinogradBlocking& b_;
  int nr_;
  int width_;
  int max_rows_;     // of a tile
  bool one_column_;  // transformed along H alone
  std::int64_t group_;
  float* u_;       // a part of a panel's transformed weights, [points][depth][NR]
  float* v_;       // transformed input, [points][tiles][pitch]
  float* m_;       // products of a panel, [points][tiles][NR]
  float* patch_;   // the padded image under a run
  float* staged_;  // a run's results on their way to where channels are apart
};

}  // namespace

void transform_weights(const KernelTable& table, int variant, const float* panels,
                       std::int64_t count, std::int64_t tap, float* u) noexcept {
  constexpr std::int64_t kPart = 128;  // floats of a point, put together in L1 to be streamed
  const WinogradVariant& v = kWinogradVariants[variant];
  const std::int64_t points = winograd_points(v);
  const std::int64_t stride = winograd_point_stride(tap);
  const bool streamed = count * points * tap >= kStreamed;
  alignas(64) float scratch[kMostPoints * winograd_point_stride(kPart)];
  WinogradWeights part;
  part.tap_stride = tap;
  part.point_stride = streamed ? winograd_point_stride(kPart) : stride;
  for (std::int64_t i = 0; i < count; ++i) {
    const float* const panel = panels + i * tap * v.r * (v.square ? v.r : 1);
    float* const to = u + i * points * stride;
    for (std::int64_t at = 0; at < tap; at += part.count) {
      part.g = panel + at;
      part.count = streamed ? std::min(kPart, tap - at) : tap;
      part.u = streamed ? scratch : to;
      table.winograd_weights[variant](part);
      for (std::int64_t point = 0; point < points && streamed; ++point) {
        stream(scratch + point * part.point_stride, part.count, to + point * stride + at);
      }
    }
  }
  if (streamed) end_stream();
}

void winograd(const Operands& t, const WinogradBlocking& b, std::int64_t begin, std::int64_t end,
              void* workspace) noexcept {
  const Problem& p = t.problem;
  const std::int64_t tiles = p.n * b.tiles_of_image();
  const std::int64_t panels = ceil_div(p.k_per_group(), t.table.nr());
  const std::int64_t panel_blocks = ceil_div(panels, b.panels);
  const std::int64_t tile_blocks = ceil_div(tiles, b.tiles);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t panel = i % panel_blocks * b.panels;
    const std::int64_t rest = i / panel_blocks;
    const bool follow = groups_follow(p);
    const std::int64_t group = follow ? rest % p.groups : rest / tile_blocks;
    const std::int64_t tile = (follow ? rest / p.groups : rest % tile_blocks) * b.tiles;
    Block block(t, b, group, workspace);
    block.run(tile, std::min(b.tiles, tiles - tile), panel, std::min(b.panels, panels - panel));
  }
}

}  // namespace fastconv
