// SPDX-License-Identifier: Apache-2.0
#include "direct.hpp"

#include <algorithm>
#include <cstring>

#include "direct_blocks.hpp"

namespace fastconv {
namespace {

// What all blocks have in common: where x is read, and what planes hold of it.
void set_up(const Operands& t, const DirectBlocking& b, float* workspace, RegionArguments& planes,
            DirectArguments& d) noexcept {
  const Problem& p = t.problem;
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const std::int64_t channels = p.c_per_group();
  d.depth = channels * p.taps();
  d.row_depth = channels * kernel.w;
  d.kernel_h = kernel.h;
  auto* offsets = reinterpret_cast<std::int64_t*>(workspace);
  std::int64_t* phases = offsets + d.depth;
  // Columns that a stride visits follow each other in a plane. Divisions are felt on tiny images,
  // most of which are not strided.
  const bool split = !b.in_place && stride.w > 1;
  const auto column_of = [&](std::int64_t s) {
    // C++17 lets no lambda capture a structured binding, hence the long names.
    const std::int64_t offset = s * p.window.dilation.w;
    if (!split) return offset;
    const std::int64_t step = p.window.stride.w;
    std::int64_t at = 0;
    while (at < planes.phase_count && phases[at] != offset % step) ++at;
    if (at == planes.phase_count) phases[planes.phase_count++] = offset % step;
    return at * b.pitch + offset / step;
  };
  if (!split) phases[planes.phase_count++] = 0;
  for (std::int64_t s = 0; s < kernel.w; ++s) offsets[s * channels] = column_of(s);
  planes.problem = &p;
  planes.channels = b.groups * channels;
  planes.row_step = b.row_step;
  planes.pitch = b.pitch;
  planes.plane = b.plane;
  planes.phases = phases;
  planes.out = workspace + table_elements(p);
  const std::int64_t channel_stride = b.in_place ? p.x_strides[1] : b.plane;
  d.row_stride = b.in_place ? p.x_strides[2] : planes.phase_count * b.pitch;
  const std::int64_t row_step = b.in_place ? 1 : b.row_step;
  d.row_step = divide(stride.h, row_step) * d.row_stride;
  const std::int64_t dilation_h = divide(dilation.h, row_step);
  d.dense_rows = d.row_step == d.row_stride && dilation_h == 1;
  for (std::int64_t s = 0; s < kernel.w; ++s) {
    std::int64_t* of_tap = offsets + s * channels;
    for (std::int64_t c = 1; c < channels; ++c) of_tap[c] = of_tap[c - 1] + channel_stride;
  }
  for (std::int64_t k = d.row_depth; k < d.depth; ++k) {
    offsets[k] = offsets[k - d.row_depth] + dilation_h * d.row_stride;
  }
  d.offsets = offsets;
  d.fetch = b.fetch;
  d.out_channels = p.k_per_group();
  // Of a group's few channels alone, if there are such panels.
  d.weights = t.narrow != nullptr ? t.narrow : t.weights;
  d.weight_step = t.narrow != nullptr ? d.out_channels : t.table.nr();
  d.epilogue = &t.epilogue;
}

// The image's rows under a block, of which the first ones may be the last ones of the block above.
void fill_planes(const Operands& t, const DirectBlocking& b, const RegionArguments& planes,
                 std::int64_t kept) noexcept {
  const std::int64_t floats = planes.phase_count * planes.pitch;  // of a row
  if (kept > 0) {
    std::memmove(planes.out, planes.out + b.rows * floats,
                 static_cast<std::size_t>(kept * floats * kFloat));
  }
  RegionArguments rest = planes;
  rest.out += kept * floats;
  rest.first_row += kept;
  rest.rows -= kept;
  t.table.pack_planes(rest);
}

void direct_block(const Operands& t, const DirectBlocking& b, RegionArguments& planes,
                  DirectArguments& d, std::int64_t n, std::int64_t first_group, std::int64_t row,
                  std::int64_t column, std::int64_t kept) noexcept {
  const Problem& p = t.problem;
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const float* x = t.x + n * p.x_strides[0] + first_group * p.c_per_group() * p.x_strides[1];
  const std::int64_t out_channels = p.k_per_group();
  const std::int64_t rows = std::min(b.rows, p.oh - row);
  const std::int64_t columns = std::min(b.columns, p.ow - column);
  if (b.in_place) {
    d.x = x + row * stride.h * p.x_strides[2] + column;
  } else {
    planes.x = x;
    planes.first_row = row;
    planes.first_column = column;
    planes.rows = divide((rows - 1) * stride.h + (kernel.h - 1) * dilation.h, b.row_step) + 1;
    planes.columns = (columns - 1) * stride.w + (kernel.w - 1) * dilation.w + 1;
    fill_planes(t, b, planes, kept);
    d.x = planes.out;
  }
  d.rows = rows;
  d.columns = columns;

  const std::int64_t panel_lanes = t.narrow != nullptr ? out_channels : t.lanes_per_group;
  const std::int64_t first_channel = first_group * out_channels;
  const auto at = [&](const Dims<4>& s) {
    return n * s[0] + first_channel * s[1] + row * s[2] + column * s[3];
  };
  const Dims<3> shape{b.groups * out_channels, rows, columns};
  const std::int64_t staged_row = round_up(columns, 16);
  const Dims<3> staged{staged_plane(rows, columns), staged_row, 1};
  float* staged_y = planes.out + round_up(b.plane_elements + t.table.nr(), 16);
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
  const auto follow = [&](std::int64_t step) { return step == columns; };
  if (b.in_place && p.taps() == 1 && follow(d.row_step) && follow(d.y_row_stride) &&
      (d.residual == nullptr || follow(d.residual_row_stride))) {
    d.columns = rows * columns;
    d.rows = 1;
  }
  for (std::int64_t group = 0; group < b.groups; ++group) {
    const std::int64_t lane = (first_group + group) * t.lanes_per_group;
    d.first_lane = (first_group + group) * panel_lanes;
    d.bias = t.bias != nullptr ? t.bias + lane : nullptr;
    t.table.direct(d);
    d.x += p.c_per_group() * (b.in_place ? p.x_strides[1] : b.plane);
    d.y += out_channels * d.y_channel_stride;
    if (d.residual != nullptr) d.residual += out_channels * d.residual_channel_stride;
  }
  if (!in_rows) t.table.copy_planes({shape, staged_y, staged, t.y + at(ys), y_block});
}

}  // namespace

void direct(const Operands& t, const DirectBlocking& b, std::int64_t begin, std::int64_t end,
            void* workspace) noexcept {
  const Problem& p = t.problem;
  const std::int64_t kept = rows_kept(p, b);
  // Down the rows if these are kept, else along them.
  const std::size_t inner = kept > 0 ? 0 : 1;
  const Dims<2> size{p.oh, p.ow}, step{b.rows, b.columns};
  Dims<2> at{0, 0};
  std::int64_t n = 0, group = 0;
  if (begin > 0) {
    const std::int64_t inner_blocks = ceil_div(size[inner], step[inner]);
    const std::int64_t outer_blocks = ceil_div(size[1 - inner], step[1 - inner]);
    at[inner] = begin % inner_blocks * step[inner];
    at[1 - inner] = begin / inner_blocks % outer_blocks * step[1 - inner];
    const std::int64_t part = begin / inner_blocks / outer_blocks;  // of some groups of an image
    const std::int64_t parts = p.groups / b.groups;
    n = part / parts;
    group = part % parts * b.groups;
  }
  RegionArguments planes;
  DirectArguments d;
  set_up(t, b, static_cast<float*>(workspace), planes, d);
  for (std::int64_t block = begin; block < end; ++block) {
    direct_block(t, b, planes, d, n, group, at[0], at[1], block > begin && at[0] > 0 ? kept : 0);
    if ((at[inner] += step[inner]) < size[inner]) continue;
    at[inner] = 0;
    if ((at[1 - inner] += step[1 - inner]) < size[1 - inner]) continue;
    at[1 - inner] = 0;
    if ((group += b.groups) < p.groups) continue;
    group = 0;
    ++n;
  }
}

}  // namespace fastconv
