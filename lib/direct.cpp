// SPDX-License-Identifier: Apache-2.0
#include "direct.hpp"

#include <algorithm>

#include "costs.hpp"
#include "integers.hpp"

namespace fastconv {
namespace {

constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));
constexpr std::int64_t kTileRows = 4;  // of kernels/direct.hpp's tallest tile

// Sizes of the planes under a block of output rows and columns.
void set_planes(const Problem& p, int width, DirectBlocking& b) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  b.row_step = b.rows == 1 ? dilation.h : 1;
  b.plane_rows = b.rows == 1 ? kernel.h : (b.rows - 1) * stride.h + (kernel.h - 1) * dilation.h + 1;
  b.plane_columns = (b.columns - 1) * stride.w + (kernel.w - 1) * dilation.w + 1;
  // Whole vectors of outputs may be read at the last tap.
  b.pitch = round_up(round_up(b.columns, width) + (kernel.w - 1) * dilation.w / stride.w + 1, 16);
  b.plane_elements = p.c_per_group() * b.plane_rows * std::min(stride.w, kernel.w) * b.pitch;
}

// Floats that the columns and phases of the taps take at the start of the workspace.
std::int64_t tap_elements(const Problem& p) noexcept {
  return round_up(4 * p.window.kernel_size.w, 16);
}

bool inside(const Problem& p) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return padding.top == 0 && padding.left == 0 &&
         (p.oh - 1) * stride.h + (kernel.h - 1) * dilation.h < p.h &&
         (p.ow - 1) * stride.w + (kernel.w - 1) * dilation.w < p.w;
}

}  // namespace

DirectBlocking choose_direct(const Problem& p, const Tile& tile,
                             const CacheSizes& caches) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  DirectBlocking b;
  b.in_place = stride.w == 1 && p.x_strides[3] == 1 && inside(p);
  b.columns = p.ow;

  // Planes of a few tiles' rows in L1, or else what a quarter of L2 holds.
  const auto fits = [&](std::int64_t rows, std::int64_t bytes) {
    b.rows = rows;
    set_planes(p, tile.width, b);
    const std::int64_t output = p.y_strides[3] == 1 ? 0 : p.k_per_group() * b.rows * b.columns;
    return (b.plane_elements + output) * kFloat <= bytes;
  };
  const auto tallest = [&](std::int64_t bytes) {
    std::int64_t rows = std::min(p.oh, kTileRows);
    if (!fits(rows, bytes)) return std::int64_t{0};
    while (rows < p.oh && fits(std::min(p.oh, rows + kTileRows), bytes)) {
      rows = std::min(p.oh, rows + kTileRows);
    }
    return rows;
  };
  std::int64_t rows = tallest(caches.l1 * 3 / 4);
  if (rows < std::min(p.oh, 2 * kTileRows)) rows = std::max(rows, tallest(caches.l2 / 4));
  while (rows == 0 && b.columns > kTileRows * tile.width) {
    b.columns = round_up(ceil_div(b.columns, 2), tile.width);
    rows = tallest(caches.l2 / 4);
  }
  b.rows = std::max<std::int64_t>(rows, 1);  // one row takes only the rows under its taps
  set_planes(p, tile.width, b);
  if (b.in_place) b.plane_elements = 0;
  b.output_elements = p.y_strides[3] == 1 ? 0 : p.k_per_group() * b.rows * round_up(b.columns, 16);

  const double depth = real(p.c_per_group() * p.taps());
  const double images = real(p.groups);
  const double vectors = real(p.oh * ceil_div(p.ow, tile.width));
  const bool shared = stride.h == 1 && dilation.h == 1 && kernel.h >= kTileRows - 1;
  for (std::int64_t k = 0; k < p.k_per_group(); k += 4) {
    const double channels = real(std::min<std::int64_t>(4, p.k_per_group() - k));
    const double tile_rows = channels > 2 ? 2 : 4;
    const double loads = shared && channels < 4
                             ? (tile_rows + real(kernel.h) - 1) / (tile_rows * real(kernel.h))
                             : 1.0;
    const double step =
        std::max(channels * kFma, loads * kLoadUnaligned + channels * kLoadScalar / 3);
    b.fma_cycles += images * vectors * depth * (step + (p.c_per_group() > 32 ? kStepFar : kStep));
  }
  const double blocks = images * real(ceil_div(p.oh, b.rows) * ceil_div(p.ow, b.columns));
  // Of one element of a channel, where those of `channels` are copied between rows and pixels.
  const auto quads = [](std::int64_t channels) {
    return real(ceil_div(channels, 4)) / real(channels) * kQuad;
  };
  if (!b.in_place) {
    const std::int64_t element_step = stride.w * p.x_strides[3];
    const double element = element_step == 1   ? kCopyVector / tile.width
                           : element_step == 2 ? 2 * kCopyVector / tile.width
                           : p.x_strides[1] == 1 && p.c_per_group() > 2 && p.ow >= tile.width
                               ? quads(p.c_per_group())
                               : kCopyScalar;
    const double plane_rows = real(p.c_per_group() * b.plane_rows);
    b.pack_cycles = blocks * plane_rows * (real(b.plane_columns) * element + 4 * kRun);
  }
  const double outputs = images * real(p.k_per_group()) * vectors;
  const double element = p.y_strides[3] == 1 ? 0.0
                         : p.y_strides[1] == 1 && p.k_per_group() > 1 && p.ow >= tile.width
                             ? quads(p.k_per_group())
                             : kStoreScalar;
  b.store_cycles = outputs * (kStoreVector + element * tile.width);
  return b;
}

void split_for_threads(const Problem& p, int width, int threads, DirectBlocking& b) noexcept {
  while (direct_blocks(p, b) < 3 * std::int64_t{threads} && b.rows > kTileRows) {
    b.rows = round_up(ceil_div(b.rows, 2), kTileRows);
    set_planes(p, width, b);
    if (b.in_place) b.plane_elements = 0;
    if (b.output_elements > 0)
      b.output_elements = p.k_per_group() * b.rows * round_up(b.columns, 16);
  }
}

std::int64_t direct_workspace_bytes(const Problem& p, const DirectBlocking& b, int nr) noexcept {
  return (tap_elements(p) + round_up(b.plane_elements + nr, 16) + round_up(b.output_elements, 16)) *
         kFloat;
}

std::int64_t direct_blocks(const Problem& p, const DirectBlocking& b) noexcept {
  return p.n * p.groups * ceil_div(p.oh, b.rows) * ceil_div(p.ow, b.columns);
}

namespace {

void direct_block(const Operands& t, const DirectBlocking& b, std::int64_t n, std::int64_t group,
                  std::int64_t row, std::int64_t column, float* workspace) noexcept {
  const Problem& p = t.problem;
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  auto* tap_column = reinterpret_cast<std::int64_t*>(workspace);
  std::int64_t* phases = tap_column + kernel.w;
  workspace += tap_elements(p);
  const std::int64_t channels = p.c_per_group();
  const float* x = t.x + n * p.x_strides[0] + group * channels * p.x_strides[1];
  const std::int64_t out_channels = p.k_per_group();
  const std::int64_t rows = std::min(b.rows, p.oh - row);
  const std::int64_t columns = std::min(b.columns, p.ow - column);

  DirectArguments d;
  d.channels = channels;
  d.kernel_h = kernel.h;
  d.kernel_w = kernel.w;
  d.stride_h = stride.h;
  d.dilation_h = b.in_place || b.row_step == 1 ? dilation.h : 1;
  if (b.in_place) {
    d.x = x + row * stride.h * p.x_strides[2] + column;
    d.channel_stride = p.x_strides[1];
    d.row_stride = p.x_strides[2];
    for (std::int64_t s = 0; s < kernel.w; ++s) tap_column[s] = s * dilation.w;
  } else {
    RegionArguments planes;
    planes.problem = &p;
    planes.x = x;
    planes.channels = d.channels;
    planes.first_row = row;
    planes.first_column = column;
    planes.row_step = b.row_step;
    planes.rows = b.rows == 1 ? kernel.h : (rows - 1) * stride.h + (kernel.h - 1) * dilation.h + 1;
    planes.columns = (columns - 1) * stride.w + (kernel.w - 1) * dilation.w + 1;
    planes.pitch = b.pitch;
    planes.out = workspace;
    planes.phases = phases;
    for (std::int64_t s = 0; s < kernel.w; ++s) {
      // Divisions are felt on tiny images, most of which are not strided.
      const std::int64_t offset = s * dilation.w;
      const std::int64_t phase = stride.w == 1 ? 0 : offset % stride.w;
      std::int64_t at = 0;
      while (at < planes.phase_count && phases[at] != phase) ++at;
      if (at == planes.phase_count) phases[planes.phase_count++] = phase;
      tap_column[s] = at * b.pitch + (stride.w == 1 ? offset : offset / stride.w);
    }
    t.table.pack_planes(planes);
    d.x = workspace;
    d.padded = true;
    d.row_stride = planes.phase_count * b.pitch;
    d.channel_stride = planes.rows * d.row_stride;
  }
  if (d.channels == 1 && stride.w == 1) {
    // Taps of a row are as evenly spaced as channels are, and one loop over them is shorter.
    d.channels = kernel.w;
    d.channel_stride = dilation.w;
    d.kernel_w = 1;
  }
  d.tap_column = tap_column;
  d.weights = t.weights;
  d.weight_step = t.table.nr();
  d.depth = channels * p.taps();
  d.first_lane = group * t.lanes_per_group;
  d.out_channels = static_cast<int>(out_channels);
  d.rows = rows;
  d.columns = columns;
  d.epilogue = &t.epilogue;
  d.bias = t.bias != nullptr ? t.bias + d.first_lane : nullptr;

  const std::int64_t first_channel = group * out_channels;
  const auto at = [&](const Dims<4>& s) {
    return n * s[0] + first_channel * s[1] + row * s[2] + column * s[3];
  };
  const Dims<3> shape{out_channels, rows, columns};
  const std::int64_t staged_row = round_up(columns, 16);
  const Dims<3> staged{rows * staged_row, staged_row, 1};
  float* staged_y = workspace + round_up(b.plane_elements + d.weight_step, 16);
  const Dims<4>& ys = p.y_strides;
  const Dims<3> y_block{ys[1], ys[2], ys[3]};
  const bool in_rows = ys[3] == 1;
  d.y = in_rows ? t.y + at(ys) : staged_y;
  d.y_channel_stride = in_rows ? ys[1] : staged[0];
  d.y_row_stride = in_rows ? ys[2] : staged[1];
  if (t.residual != nullptr) {
    const Dims<4>& rs = t.residual_strides;
    d.residual = t.residual + at(rs);
    d.residual_channel_stride = rs[1];
    d.residual_row_stride = rs[2];
    if (rs[3] != 1) {
      // Taken to where the result will be, and added to from there.
      t.table.copy_planes(
          {shape, d.residual, {rs[1], rs[2], rs[3]}, d.y, in_rows ? y_block : staged});
      d.residual = d.y;
      d.residual_channel_stride = d.y_channel_stride;
      d.residual_row_stride = d.y_row_stride;
    }
  }
  t.table.direct(d);
  if (!in_rows) t.table.copy_planes({shape, staged_y, staged, t.y + at(ys), y_block});
}

}  // namespace

void direct(const Operands& t, const DirectBlocking& b, std::int64_t begin, std::int64_t end,
            void* workspace) noexcept {
  const Problem& p = t.problem;
  const std::int64_t column_blocks = ceil_div(p.ow, b.columns);
  std::int64_t column = begin % column_blocks * b.columns;
  const std::int64_t row_blocks = ceil_div(p.oh, b.rows);
  std::int64_t row = begin / column_blocks % row_blocks * b.rows;
  std::int64_t image = begin / column_blocks / row_blocks;
  for (std::int64_t block = begin; block < end; ++block) {
    direct_block(t, b, image / p.groups, image % p.groups, row, column,
                 static_cast<float*>(workspace));
    if ((column += b.columns) < p.ow) continue;
    column = 0;
    if ((row += b.rows) < p.oh) continue;
    row = 0;
    ++image;
  }
}

}  // namespace fastconv
