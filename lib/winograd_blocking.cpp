// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "costs.hpp"
#include "integers.hpp"
#include "winograd.hpp"

namespace fastconv {
namespace {

constexpr std::int64_t kPartFloats = 2048;   // of a point of weights that are transformed at a time
constexpr double kNearWeights = 1 << 22;     // bytes
constexpr double kLastBlock = 0.05;          // share of a block for which threads wait
constexpr std::int64_t kFarBytes = 8 << 20;  // of V that L3 has room for
constexpr std::int64_t kLeastTiles = 28;     // that share a pass of the weights
constexpr std::int64_t kSparse = 3;          // columns copied for each that is read

// Tiles of the largest run, of each grid and in all.
struct RunSize {
  std::int64_t along, tiles;
};
RunSize largest_run(const WinogradBlocking& b) noexcept {
  const std::int64_t grids = b.columns.grids;
  const std::int64_t along =
      b.grids < grids ? 1 : std::max<std::int64_t>(1, std::min(b.tiles, b.columns.tiles) / grids);
  return {along, along * std::min(b.grids, b.tiles)};
}

// Sizes that follow from the tiles of a block.
void set_sizes(const Tile& tile, WinogradBlocking& b) noexcept {
  b.v_stride = winograd_point_stride(b.tiles * b.pitch);
  b.m_stride = winograd_point_stride(b.tiles * tile.nr);
  const RunSize run = largest_run(b);
  const std::int64_t columns = b.columns.copied(run.along, run.tiles / run.along);
  b.patch_elements = round_up(b.rows.side * columns * b.patch_channels + tile.nr, kLine);
  b.staged_elements = b.rows.m * run.tiles * b.columns.m * tile.nr;
}

// Of the products of some tiles and channels out. Half of what a tile of the micro-kernel takes
// beyond its steps is its epilogue, of which these have none; the other half is set-up.
double product_cycles(const Problem& p, const WinogradBlocking& b, std::int64_t tiles,
                      std::int64_t lanes, Tile tile) noexcept {
  tile.wide_mr = 0;
  const auto steps = [&](std::int64_t depth) {
    return tile_cycles(depth, tiles, lanes, tiles, tile);
  };
  return real(b.points()) * (steps(p.c_per_group()) - steps(0) / 2);
}

// What it takes more to store the transformed tiles of a group of an image where L2 does not hold
// those of a block.
double stored_cycles(const WinogradBlocking& b, std::int64_t tiles) noexcept {
  const double bytes = real(b.tiles_of_image() * b.points() * b.pitch * kFloat);
  return tiles > b.near_tiles ? bytes * kTileByteStored : 0.0;
}

}  // namespace

WinogradAxis::WinogradAxis(std::int64_t outputs, std::int64_t size, std::int64_t kernel,
                           std::int64_t dilation) noexcept
    : m(kernel == 1 ? 1 : size),
      side(m + kernel - 1),
      step(kernel == 1 ? 1 : dilation),
      grids(std::min(step, outputs)) {
  const std::int64_t most = ceil_div(outputs, step);                 // of a grid
  const std::int64_t full = outputs - (most - 1) * step;             // grids that have as many
  const std::int64_t in_all = most > 1 ? ceil_div(most - 1, m) : 0;  // tiles that all grids have
  tiles = in_all * grids + (ceil_div(most, m) - in_all) * full;
}

int winograd_size(Algorithm algorithm) noexcept {
  for (const WinogradVariant& v : kWinogradVariants) {
    if (v.algorithm == algorithm) return v.m;
  }
  return 0;
}

bool is_winograd(const WinogradVariant& v, const Window& window) noexcept {
  const auto is = [](const Pair& pair, std::int64_t h, std::int64_t w) {
    return pair.h == h && pair.w == w;
  };
  const Pair& kernel = window.kernel_size;
  const bool serves = v.square ? is(kernel, v.r, v.r) : is(kernel, 1, v.r) || is(kernel, v.r, 1);
  constexpr std::int64_t kMost = 1 << 30;  // so that some steps of it are 64-bit
  return serves && is(window.stride, 1, 1) && window.dilation.h < kMost &&
         window.dilation.w < kMost;
}

WinogradBlocking choose_winograd(const Problem& p, int variant, bool owned, const Tile& tile,
                                 const CacheSizes& caches) noexcept {
  WinogradBlocking b;
  const int m = kWinogradVariants[variant].m;
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  b.variant = variant;
  b.rows = WinogradAxis(p.oh, m, kernel.h, dilation.h);
  b.columns = WinogradAxis(p.ow, m, kernel.w, dilation.w);
  b.panels = ceil_div(p.k_per_group(), tile.nr);
  b.depth = owned ? p.c_per_group() : std::min(p.c_per_group(), kPartFloats / tile.nr);
  b.u_stride = winograd_point_stride(b.depth * tile.nr);
  b.u_elements = owned ? 0 : b.points() * b.u_stride;
  // An odd number of lines between tiles, as between the rows of any A.
  b.pitch = round_up(p.c_per_group(), 2 * kLine) + kLine;
  // V takes half of L2, where it is read once a panel; or more, if it takes more tiles to pay for
  // the weights, which are read, and transformed unless the layer has done so, once a block. From
  // L3 it comes as fast, as long as that is not full of it.
  const std::int64_t of_image = b.tiles_of_image();
  const std::int64_t tile_bytes = b.points() * b.pitch * kFloat;
  b.near_tiles = caches.l2 / tile_bytes;
  const std::int64_t least = owned ? kLeastTiles : 2 * kLeastTiles;
  std::int64_t limit = std::max<std::int64_t>(caches.l2 / 2 / tile_bytes, least);
  const std::int64_t near = caches.l2 * 2;
  const std::int64_t room = owned ? near : std::max(near, std::min(caches.l2 * 8, kFarBytes));
  limit = std::clamp<std::int64_t>(room / tile_bytes, 1, limit);
  limit = std::min(limit, std::max<std::int64_t>(p.n, 1) * of_image);
  // Whole rows of tiles, or equal parts of one, if it can be of whole grids.
  const auto fit = [limit](std::int64_t size, std::int64_t unit) {
    const std::int64_t most = limit / unit * unit;
    return round_up(ceil_div(size, ceil_div(size, most)), unit);
  };
  b.tiles = limit >= b.columns.tiles   ? limit / b.columns.tiles * b.columns.tiles
            : limit >= b.columns.grids ? fit(b.columns.tiles, b.columns.grids)
                                       : fit(b.columns.grids, 1);
  // Neighbouring grids are copied together, unless they are far more apart than they are many.
  b.grids = b.columns.grids;
  const RunSize run = largest_run(b);
  const std::int64_t copied_columns = b.columns.copied(run.along, run.tiles / run.along);
  if (copied_columns > kSparse * run.tiles * b.columns.side) b.grids = 1;
  b.patch_channels = tile.width;
  if (p.x_strides[1] == 1) {
    const std::int64_t most = caches.l2 / 4 / (b.rows.side * copied_columns * kFloat);
    b.patch_channels = std::clamp<std::int64_t>(most / tile.width * tile.width, tile.width, 64);
  }
  set_sizes(tile, b);
  // Pixels a row of channels apart are more streams than a CPU follows by itself: 256 to 8 channels
  // at 96x96, NHWC, F(4 x 4), 3656 -> 2787 us (AVX-512), 3351 -> 2432 (AVX2), 64 to 128 at 112x112
  // 6139 -> 5022, 6051 -> 5473. What is nearer gains nothing.
  b.fetch = p.image_elements() * kFloat > 4 * caches.l2;

  // Of one image: the choice must not depend on the batch.
  const std::int64_t in_vectors = ceil_div(p.c_per_group(), tile.width);
  const std::int64_t out_vectors = ceil_div(p.k_per_group(), tile.width);
  const double images = real(p.groups);
  const double cycle = core_cycle(tile.width);
  const double transform =
      real(b.points()) * (kWinogradVariants[variant].square ? kTransform : cycle * kTransformAlong);
  const std::int64_t height = std::min(of_image, limit);
  const double products =
      images * product_cycles(p, b, height, p.k_per_group(), tile) * real(of_image) / real(height);
  const double multiply_adds =
      images * real(of_image * b.points() * p.c_per_group() * out_vectors) * kFma;
  // Those of few tiles wait for their own sums, and weights come meanwhile.
  const double waits = std::max(0.0, products - multiply_adds);
  b.fma_cycles = products - (1 - kWait) * waits;
  // What touches the border, or has no adjacent channels, is copied first.
  const auto inside = [](const WinogradAxis& axis, std::int64_t size) {
    const std::int64_t places = size - (axis.side - 1) * axis.step;
    const double tiles = real(places) * real(axis.grids) / real(axis.m * axis.step);
    return std::clamp(tiles / real(axis.tiles), 0.0, 1.0);
  };
  const std::int64_t outputs = b.rows.m * b.columns.m;
  const double run_columns =
      real(b.grids == 1 ? b.columns.side : copied_columns) / real(b.grids == 1 ? 1 : run.tiles);
  // A vector of a pixel's channels, where those of neighbouring pixels are apart.
  const auto transposed = [&](std::int64_t apart, double element) {
    return apart == 1 || apart == 2 ? kCopyVector + kTranspose : tile.width * element * cycle;
  };
  const std::int64_t step = b.grids == 1 ? b.columns.step : 1;
  const double copied =
      p.x_strides[1] == 1
          ? (1 - inside(b.rows, p.h) * inside(b.columns, p.w)) * real(b.points()) * kCopyVector
          : real(b.rows.side) * run_columns * transposed(step * p.x_strides[3], kCopyScalar);
  // Tiles go in lines, some from place and some copied, or by vectors of channels, copied first.
  const std::int64_t grids = b.columns.grids;
  const std::int64_t lines_of_row =
      b.grids == 1 ? grids : std::clamp<std::int64_t>(b.columns.tiles / grids, 1, grids);
  const double lines = images * real(b.rows.tiles * lines_of_row);
  b.input_cycles = images * real(of_image) * real(in_vectors) * (transform + copied) +
                   lines * real(p.x_strides[1] == 1 ? 3 : 2 * in_vectors) * cycle * kTileLine;
  const double weight_vectors =
      images * real(p.c_per_group()) * real(b.panels * tile.nr / tile.width);
  const double blocks = real(ceil_div(of_image, height));
  double far_cycles = 0;  // for what comes from beyond the near caches, and gemm does not read
  double again = 0;       // for a block's weights, once others have read them
  if (owned) {
    const double bytes = weight_vectors * real(b.points() * tile.width * kFloat);
    b.weight_cycles = bytes < kNearWeights ? 0.0 : bytes * cycle * kWeightByteFar;
    // While the last ones are multiplied.
    again = std::max(0.0, b.weight_cycles - b.fma_cycles / blocks);
    const double added = b.weight_cycles * real(b.points() - p.taps()) / real(b.points());
    far_cycles = std::max(0.0, added - waits);
  } else {
    again = b.weight_cycles = weight_vectors * real(b.points() + p.taps()) * kTransformWeight;
    const std::int64_t bytes = height * tile_bytes;
    if (bytes > near) far_cycles = images * blocks * real(bytes * b.panels) * kTileByteFar;
  }
  b.pack_cycles = b.input_cycles + images * stored_cycles(b, std::min(of_image, b.tiles)) +
                  blocks * (again + images * cycle * kTileBlock) + far_cycles;
  b.store_cycles = images * real(of_image) * real(out_vectors) *
                       (transform + real(outputs) * kStoreVector / 2 +
                        (p.y_strides[1] == 1
                             ? 0.0
                             : real(outputs) * transposed(step * p.y_strides[3], kStoreScalar))) +
                   lines * real(b.panels * (p.y_strides[1] == 1 ? 1 : 2)) * cycle * kTileLine;
  return b;
}

void split_for_threads(const Problem& p, const Tile& tile, int threads,
                       WinogradBlocking& b) noexcept {
  const std::int64_t tiles = p.n * b.tiles_of_image();
  const std::int64_t panels = b.panels;
  // The least time of all blocks, and of a part of one for which others have to wait. More blocks
  // of tiles repeat what is done to the weights, more blocks of panels to the input.
  double least = std::numeric_limits<double>::infinity();
  const auto consider = [&](std::int64_t tile_parts, std::int64_t panel_parts) {
    const std::int64_t t = ceil_div(tiles, tile_parts), k = ceil_div(panels, panel_parts);
    const std::int64_t blocks = p.groups * ceil_div(tiles, t) * ceil_div(panels, k);
    const double of_tiles = real(t) / real(b.tiles_of_image()) / real(p.groups);
    const double of_panels = real(k) / real(panels);
    const double one = product_cycles(p, b, t, std::min(k * tile.nr, p.k_per_group()), tile) +
                       (b.input_cycles + real(p.groups) * stored_cycles(b, t)) * of_tiles +
                       b.weight_cycles / real(p.groups) * of_panels +
                       b.store_cycles * of_tiles * of_panels + core_cycle(tile.width) * kTileBlock;
    const double time = (real(ceil_div(blocks, threads)) + kLastBlock) * one;
    if (time >= least) return;
    least = time;
    b.tiles = t;
    b.panels = k;
  };
  const std::int64_t fewest = ceil_div(tiles, b.tiles);
  for (std::int64_t parts = 1;; parts = std::min(2 * parts, panels)) {
    const std::int64_t others = p.groups * parts;
    const std::int64_t rounds = ceil_div(fewest * others, threads);
    for (std::int64_t i = 0; i < 3; ++i) {
      const std::int64_t most = ceil_div((rounds + i) * threads, others);
      consider(std::clamp(most, fewest, tiles), parts);
    }
    if (parts == panels) break;
  }
  set_sizes(tile, b);
}

std::int64_t winograd_workspace_bytes(const WinogradBlocking& b) noexcept {
  return (b.u_elements + b.points() * (b.v_stride + b.m_stride) + b.patch_elements +
          b.staged_elements) *
         kFloat;
}

std::int64_t winograd_blocks(const Problem& p, int nr, const WinogradBlocking& b) noexcept {
  return p.groups * ceil_div(p.n * b.tiles_of_image(), b.tiles) *
         ceil_div(ceil_div(p.k_per_group(), nr), b.panels);
}

}  // namespace fastconv
