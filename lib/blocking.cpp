// SPDX-License-Identifier: Apache-2.0
#include "blocking.hpp"

#include <unistd.h>

#include <algorithm>

namespace fastconv {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) noexcept { return ceil_div(a, b) * b; }

// Cuts `size` into equal blocks of at most `limit`, each a multiple of `unit` but the last.
std::int64_t even_block(std::int64_t size, std::int64_t limit, std::int64_t unit) noexcept {
  limit = std::max(unit, limit / unit * unit);
  return std::min(round_up(ceil_div(size, ceil_div(size, limit)), unit), round_up(size, unit));
}

// Cycles of a core with two vector FMA and two loads a cycle; only their ratios matter here.
constexpr double kFma = 0.5;          // one vector FMA
constexpr double kFmaLatency = 4.0;   // a tile's k-step takes at least this
constexpr double kCopyVector = 1.5;   // load and store while packing
constexpr double kCopyScalar = 1.2;   // one element of a gather
constexpr double kRun = 3.0;          // set-up of a run of neighbouring lanes
constexpr double kTap = 6.0;          // index arithmetic of one filter tap of one pixel
constexpr double kStoreVector = 2.0;  // epilogue and store
constexpr double kStoreScalar = 1.5;  // one element through a scratch tile

// k-steps of all tiles of rows x lanes, in cycles per unit of depth.
double tile_cycles(std::int64_t rows, std::int64_t lanes, std::int64_t row_panel,
                   const Tile& tile) noexcept {
  double cycles = 0;
  for (const std::int64_t part : {rows / row_panel * row_panel, rows % row_panel}) {
    if (part == 0) continue;
    const std::int64_t panel = std::min(part, row_panel);
    const std::int64_t tiles = part / panel * ceil_div(panel, tile.mr);
    const double height = static_cast<double>(part) / static_cast<double>(tiles);
    const auto cost = [&](std::int64_t vectors) {
      return std::max(height * static_cast<double>(vectors) * kFma, kFmaLatency) *
             static_cast<double>(tiles);
    };
    const std::int64_t full = lanes / tile.nr;
    const std::int64_t rest = ceil_div(lanes % tile.nr, tile.width);
    cycles += static_cast<double>(full) * cost(tile.nr / tile.width);
    if (rest > 0) cycles += cost(rest);
  }
  return cycles;
}

Blocking estimate(const Problem& p, const Tile& tile, Lanes lanes, AForm form) noexcept {
  Blocking b;
  b.lanes = lanes;
  b.form = form;
  const std::int64_t pixels = p.oh * p.ow;
  const std::int64_t channels = p.k_per_group();
  const auto depth = static_cast<double>(p.c_per_group() * p.taps());
  const auto outputs = static_cast<double>(pixels * channels);
  const double vector_share = 1.0 / tile.width;
  if (lanes == Lanes::pixels) {
    b.fma_cycles = depth * tile_cycles(channels, pixels, tile.nr, tile);
  } else {
    b.fma_cycles =
        depth * tile_cycles(pixels, channels, form == AForm::rows ? pixels : tile.nr, tile);
  }
  if (form == AForm::rows) {
    b.pack_cycles = static_cast<double>(pixels) *
                    (depth * vector_share * kCopyVector + static_cast<double>(p.taps()) * kTap);
  } else {
    const std::int64_t step = p.window.stride.w * p.x_strides[3];
    const double element = step == 1   ? kCopyVector * vector_share
                           : step == 2 ? 2 * kCopyVector * vector_share
                                       : kCopyScalar;
    const auto panels = static_cast<double>(ceil_div(pixels, tile.nr));
    const double runs = 1.0 + static_cast<double>(tile.nr) / static_cast<double>(p.ow);
    b.pack_cycles = panels * depth * (tile.nr * element + runs * kRun);
  }
  const std::int64_t unit = lanes == Lanes::pixels ? p.y_strides[3] : p.y_strides[1];
  b.store_cycles = outputs * (unit == 1 ? kStoreVector * vector_share : kStoreScalar);
  return b;
}

}  // namespace

CacheSizes detected_caches() noexcept {
  static const CacheSizes sizes = [] {
    CacheSizes found;
#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
    // Anything smaller than these is a hypervisor's fiction.
    if (const long l1 = sysconf(_SC_LEVEL1_DCACHE_SIZE); l1 >= (16 << 10)) found.l1 = l1;
    if (const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE); l2 >= (128 << 10)) found.l2 = l2;
#endif
    return found;
  }();
  return sizes;
}

Blocking choose_blocking(const Problem& p, const Tile& tile, const CacheSizes& caches) noexcept {
  Blocking best = estimate(p, tile, Lanes::pixels, AForm::columns);
  const auto consider = [&](Lanes lanes, AForm form) {
    const Blocking other = estimate(p, tile, lanes, form);
    if (other.fma_cycles + other.pack_cycles + other.store_cycles <
        best.fma_cycles + best.pack_cycles + best.store_cycles) {
      best = other;
    }
  };
  consider(Lanes::channels, AForm::columns);
  if (p.x_strides[1] == 1 || p.c_per_group() == 1) consider(Lanes::channels, AForm::rows);

  // The B panel of a k-block takes up to three quarters of L1 and leaves the rest to A and c.
  const auto float_bytes = static_cast<std::int64_t>(sizeof(float));
  const std::int64_t depth = p.c_per_group() * p.taps();
  const std::int64_t kc_limit =
      std::clamp<std::int64_t>(caches.l1 * 3 / 4 / (tile.nr * float_bytes), 64, 256);
  best.kc = even_block(depth, kc_limit, 1);

  const std::int64_t pixels = p.oh * p.ow;
  const std::int64_t channels = p.k_per_group();
  best.channel_block = even_block(channels, 512, tile.nr);

  // Pixels are packed just before they are used. One panel or tile at a time stays in L1; with more
  // channels packing weighs less, and several tiles share one pass of the weights through L1.
  const bool rows = best.form == AForm::rows;
  const std::int64_t unit = rows ? tile.mr : tile.nr;
  const std::int64_t tiles =
      best.lanes == Lanes::pixels ? 1 : std::clamp<std::int64_t>(best.channel_block / 64, 1, 8);
  best.pack_block = even_block(pixels, tiles * unit, unit);

  // Weights that fit half of L2 may be read anew for every packed block. Larger ones are read once
  // per pixel block, which is as large as its sums fit a quarter of L2.
  best.pixel_block = best.pack_block;
  if (depth > best.kc && depth * best.channel_block * float_bytes > caches.l2 / 2) {
    const std::int64_t limit = caches.l2 / 4 / (best.channel_block * float_bytes);
    best.pixel_block = std::max(
        best.pack_block, even_block(pixels, limit, unit) / best.pack_block * best.pack_block);
  }
  return best;
}

}  // namespace fastconv
