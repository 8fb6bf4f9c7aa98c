// SPDX-License-Identifier: Apache-2.0
// Depthwise on few interleaved channels.
#include <algorithm>

#include "costs.hpp"
#include "depthwise_blocks.hpp"
#include "depthwise_interleaved.hpp"
#include "geometry.hpp"

namespace fastconv {

bool interleaves(const Problem& p, const Tile& tile, bool finite) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const bool rows_of_zeros = mode == PaddingMode::zeros && (padding.top > 0 || padding.bottom > 0);
  // What is copied beside an image is bounded.
  const std::int64_t reach = (kernel.w - 1) * dilation.w;
  const bool near = kernel.h <= kMaxPlaneTaps && kernel.w <= kMaxPlaneTaps &&
                    std::max({reach, padding.left, padding.right}) <= kMaxPlaneReach;
  return near && tile.fuses && p.c == p.k && p.c_per_group() == 1 && p.c > 1 &&
         p.c % tile.width != 0 && p.c < kLine && stride.h == 1 && stride.w == 1 &&
         p.x_strides[1] == 1 && p.y_strides[1] == 1 && p.x_strides[3] == p.c &&
         p.y_strides[3] == p.c && (finite || !rows_of_zeros);
}

DepthwiseBlocking choose_interleaved(const Problem& p, const Tile& tile) noexcept {
  DepthwiseBlocking b;
  b.lanes = Lanes::channels;
  b.interleaved = true;
  b.channels = p.k;
  b.pixels = p.ow;
  b.rows = std::min(ceil_div(p.oh, row_phases(p, b)), kDepthwiseRows);
  const std::int64_t period = interleaved_period(p, tile.width);
  const InterleavedRow row(p, period, 0, p.ow);
  const double taps = real(p.taps()), blocks = real(row_blocks(p, b));
  const auto vectors = [&](std::int64_t pixels) { return ceil_div(pixels * p.c, tile.width); };
  // Tiles of six vectors, of three and of one, in two rows.
  const std::int64_t periods = row.inside / period;
  const double sixes = real(periods / 6), threes = real(periods % 6 / 3), ones = real(periods % 3);
  const double pairs = blocks * real(ceil_div(b.rows, 2) * vectors(period));
  const std::int64_t outside = vectors(row.left) + vectors(row.right);
  const double patches = blocks * real(outside * ceil_div(b.rows, kInterleavedRows));
  const double step = kTapInterleaved * tile.cycle;
  b.fma_cycles = pairs * taps * step * (12 * sixes + 6 * threes + 3 * ones) +
                 patches * taps * step * kInterleavedRows;
  b.store_cycles = (pairs * (sixes + threes + ones) + patches) * kTileInterleaved * tile.cycle +
                   real(p.oh * vectors(p.ow)) * kStoreVector;
  const auto columns = [&](std::int64_t pixels) { return pixels > 0 ? columns_of(p, pixels) : 0; };
  const std::int64_t copied = rows_of(p, b.rows) * vectors(columns(row.left) + columns(row.right));
  b.pack_cycles = blocks * (real(copied) * kCopyVector + real(rows_of(p, b.rows)) * kPatchRow) +
                  real(p.taps() * (p.c + tile.width)) * kCopyScalar + 2 * block_cycles(p, tile, b);
  return b;
}

}  // namespace fastconv
