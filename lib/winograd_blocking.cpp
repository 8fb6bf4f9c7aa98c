// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "costs.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "winograd.hpp"

namespace fastconv {
namespace {

// A vector of results along one axis, for every L2 that an image of them fills, up to so many.
constexpr double kLineLate = 1.5, kMostLate = 8.0;

constexpr std::int64_t kPartFloats = 2048;   // of a point of weights that are transformed at a time
constexpr double kNearWeights = 1 << 22;     // bytes
constexpr double kLastBlock = 0.05;          // share of a block for which threads wait
constexpr std::int64_t kFarBytes = 8 << 20;  // of V that L3 has room for
// Of V. Where L2 has 2 MB, half of it takes longer: 64 channels 56x56 545 -> 520 us, groups of 48
// 812 -> 737 (Xeon, AVX-512).
constexpr std::int64_t kNearBlockBytes = 512 << 10;
constexpr std::int64_t kLeastTiles = 28;  // that share a pass of the weights
constexpr std::int64_t kSparse = 3;       // columns copied for each that is read

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

// Of x that are copied under a run of tiles.
std::int64_t copied_columns(const WinogradBlocking& b) noexcept {
  const RunSize run = largest_run(b);
  return b.columns.copied(run.along, run.tiles / run.along);
}

// Sizes that follow from the tiles of a block.
void set_sizes(const Tile& tile, WinogradBlocking& b) noexcept {
  b.v_stride = winograd_point_stride(b.tiles * b.pitch);
  b.m_stride = winograd_point_stride(b.tiles * tile.nr);
  b.patch_elements = round_up(b.rows.side * copied_columns(b) * b.patch_channels + tile.nr, kLine);
  b.staged_elements = b.rows.m * largest_run(b).tiles * b.columns.m * tile.nr;
}

// Of the products of some tiles and channels out. Half of what a tile of the micro-kernel takes
// beyond its steps is its epilogue, of which these have none; the other half is set-up.
double product_cycles(const Problem& p, const WinogradBlocking& b, std::int64_t tiles,
                      std::int64_t lanes, Tile tile) noexcept {
  // These have no narrow or wide tiles of their own.
  tile.wide_mr = 0;
  tile.narrow_mr = tile.mr;
  tile.halves = false;
  const auto steps = [&](std::int64_t depth) {
    return tile_cycles(depth, tiles, lanes, tiles, tile);
  };
  return real(b.points()) * (steps(p.c_per_group()) - steps(0) / 2);
}

// Tiles of a block at most. V takes half of L2, where it is read once a panel, and no more than
// kNearBlockBytes, and M two thirds of that; or more, if it takes more tiles to pay for the
// weights, which are read, and transformed unless the layer has done so, once a block. From L3 it
// comes as fast, as long as that is not full of it. Groups that follow each other find each other's
// pixels in half of L2.
std::int64_t most_tiles(const Problem& p, bool owned, const Tile& tile, const CacheSizes& caches,
                        const WinogradBlocking& b) noexcept {
  const std::int64_t least = owned ? kLeastTiles : 2 * kLeastTiles;
  const std::int64_t near = caches.l2 * 2;
  const std::int64_t room = owned ? near : std::max(near, std::min(caches.l2 * 8, kFarBytes));
  const std::int64_t of_m = b.points() * tile.nr * kFloat;
  const std::int64_t near_bytes = std::min(caches.l2 / 2, kNearBlockBytes);
  std::int64_t most = near_bytes / std::max(b.tile_bytes(), of_m * 3 / 2);
  if (groups_follow(p)) {
    most = std::min(most, caches.l2 / 2 / ((p.c + p.k) * b.rows.m * b.columns.m * kFloat));
  }
  most = std::max(most, least);
  return std::min(std::clamp<std::int64_t>(room / b.tile_bytes(), 1, most),
                  std::max<std::int64_t>(p.n, 1) * b.tiles_of_image());
}

// Whole rows of tiles, or equal parts of one, if it can be of whole grids.
std::int64_t even_tiles(std::int64_t most, const WinogradAxis& columns) noexcept {
  const auto fit = [most](std::int64_t size, std::int64_t unit) {
    return round_up(ceil_div(size, ceil_div(size, most / unit * unit)), unit);
  };
  return most >= columns.tiles   ? most / columns.tiles * columns.tiles
         : most >= columns.grids ? fit(columns.tiles, columns.grids)
                                 : fit(columns.grids, 1);
}

// What is copied at a time.
void cut_patches(const Problem& p, const Tile& tile, const CacheSizes& caches,
                 WinogradBlocking& b) noexcept {
  // Neighbouring grids together, unless they are far more apart than they are many.
  b.grids = b.columns.grids;
  const std::int64_t columns = copied_columns(b);
  if (columns > kSparse * largest_run(b).tiles * b.columns.side) b.grids = 1;
  b.patch_channels = tile.width;
  if (p.x_strides[1] == 1) {
    const std::int64_t most = caches.l2 / 4 / (b.rows.side * columns * kFloat);
    b.patch_channels = std::clamp<std::int64_t>(most / tile.width * tile.width, tile.width, 64);
  }
}

// How many times longer, less one, what fills L2 is on its way: one of 2 MB keeps short vectors
// waiting as it does long ones.
double late(const Tile& tile, const CacheSizes& caches) noexcept {
  return std::max(std::min(real(caches.l2) / (2.2 * kNearBlockBytes), 2.0), tile.stretch()) - 1;
}

// Vectors of a tile's channels in V or M, whose lines it has to itself.
std::int64_t line_vectors(std::int64_t channels, const Tile& tile) noexcept {
  return ceil_div(round_up(channels, std::max<std::int64_t>(kLine, tile.width)), tile.width);
}

// A vector of some points of a tile, into or out of Winograd's domain, where each of a square
// takes so many times longer.
double transform_cycles(double points, double longer, const Tile& tile,
                        const WinogradBlocking& b) noexcept {
  const bool square = kWinogradVariants[b.variant].square;
  return points * (square ? longer * kTransform : tile.cycle * kTransformAlong);
}

// A vector of a pixel's channels, where those of neighbouring pixels are `apart` in so many floats
// of a group. What L2 holds and L1 does not is bound by L2, too: 64 channels of 56x56 11 cycles on
// their way in, 13 out, of 14x14 4 (Xeon, AVX-512). All algorithms wait for what is far away.
double transposed_cycles(std::int64_t apart, double element, std::int64_t floats, const Tile& tile,
                         const CacheSizes& caches, const WinogradBlocking& b) noexcept {
  if (b.grids == 1) apart *= b.columns.step;
  const std::int64_t bytes = floats * kFloat;
  const bool late = bytes > caches.l2 / 8 && bytes <= 4 * caches.l2;
  const double longer = late ? tile.stretch() : 1.0;
  return apart == 1 || apart == 2 ? longer * (kCopyVector + kTranspose)
                                  : tile.width * element * tile.cycle;
}

// Lines of tiles of an image: some are read from place and some copied, or copied first, by vectors
// of channels.
double lines_of_image(const WinogradBlocking& b) noexcept {
  const std::int64_t grids = b.columns.grids;
  const std::int64_t of_row =
      b.grids == 1 ? grids : std::clamp<std::int64_t>(b.columns.tiles / grids, 1, grids);
  return real(b.rows.tiles * of_row);
}

// Tiles of an axis that lie in the image, a share of them.
double share_of_tiles_inside(const WinogradAxis& axis, std::int64_t size) noexcept {
  const std::int64_t places = size - (axis.side - 1) * axis.step;
  const double tiles = real(places) * real(axis.grids) / real(axis.m * axis.step);
  return std::clamp(tiles / real(axis.tiles), 0.0, 1.0);
}

// What it takes more to store the transformed tiles of a group of an image where L2 does not hold
// all of a block's, or where long vectors fill it faster than it empties.
double stored_cycles(const WinogradBlocking& b, std::int64_t tiles) noexcept {
  const double bytes = real(b.tiles_of_image()) * real(b.tile_bytes());
  const auto beyond = [&](std::int64_t near) {
    return std::max(0.0, 1.0 - real(near) / real(tiles)) * bytes;
  };
  return beyond(b.near_tiles) * kTileByteStored +
         beyond(kNearBlockBytes / b.tile_bytes()) * b.late * kTileByteLate;
}

// Of a group of an image, so many pixels of each tile with adjacent channels.
double alone_cycles(const Problem& p, std::int64_t pixels, const WinogradBlocking& b) noexcept {
  if (p.groups == 1) return 0;
  return real(b.tiles_of_image() * pixels) * b.late * kTilePixelAlone;
}

// Of a group of an image.
double input_cycles(const Problem& p, const Tile& tile, const CacheSizes& caches,
                    const WinogradBlocking& b) noexcept {
  const bool adjacent = p.x_strides[1] == 1;
  const double vectors = real(line_vectors(p.c_per_group(), tile));
  // What touches the border, or has no adjacent channels, is copied first.
  const double alone = adjacent ? alone_cycles(p, b.points(), b) : 0;
  double copied = 0;
  if (adjacent) {
    const double inside =
        share_of_tiles_inside(b.rows, p.h) * share_of_tiles_inside(b.columns, p.w);
    copied = (1 - inside) * real(b.points()) * kCopyVector;
  } else {
    const double columns =
        b.grids == 1 ? real(b.columns.side) : real(copied_columns(b)) / real(largest_run(b).tiles);
    copied = real(b.rows.side) * columns *
             transposed_cycles(p.x_strides[3], kCopyScalar, p.c_per_group() * p.h * p.w, tile,
                               caches, b);
  }
  const double transform = transform_cycles(real(b.points()), 1 + b.late, tile, b);
  return real(b.tiles_of_image()) * vectors * (transform + copied) + alone +
         lines_of_image(b) * (adjacent ? 3 : 2 * vectors) * tile.cycle * kTileLine;
}

double store_cycles(const Problem& p, const Tile& tile, const CacheSizes& caches,
                    const WinogradBlocking& b) noexcept {
  const bool adjacent = p.y_strides[1] == 1;
  const std::int64_t pixels = b.rows.m * b.columns.m;
  const double outputs = real(pixels);
  const double alone = adjacent ? alone_cycles(p, pixels, b) : 0;
  // 64 channels by F(4 x 4, 3 x 3) 160 cycles, by F(2 x 2, 5 x 5) 90 (Xeon, AVX2).
  const double points = real(b.points()) / 2 + outputs;
  double vector = transform_cycles(points, tile.stretch(), tile, b) + outputs * kStoreVector / 2;
  if (!adjacent) {
    vector += outputs * transposed_cycles(p.y_strides[3], kStoreScalar,
                                          p.k_per_group() * p.oh * p.ow, tile, caches, b);
  }
  // Two long FMAs a cycle wait for lines of y from beyond L2, in gemm's sweeps less. 18 to 448
  // channels 5x1 at 112x112, NHWC, 8200 -> 5100 us (Xeon, AVX-512).
  const double image = real(p.k * p.oh * p.ow * kFloat) / real(caches.l2);
  if (adjacent && !kWinogradVariants[b.variant].square && tile.two_long_fma() && image > 1) {
    vector += outputs * std::min(image, kMostLate) * kLineLate;
  }
  return real(b.tiles_of_image() * line_vectors(p.k_per_group(), tile)) * vector + alone +
         lines_of_image(b) * real(b.panels * (adjacent ? 1 : 2)) * tile.cycle * kTileLine;
}

// Of one image: the choice must not depend on the batch. Blocks have `most` tiles.
void count_cycles(const Problem& p, bool owned, const Tile& tile, const CacheSizes& caches,
                  std::int64_t most, WinogradBlocking& b) noexcept {
  const double groups = real(p.groups);
  const double cycle = tile.cycle;
  const std::int64_t of_image = b.tiles_of_image();
  const std::int64_t tiles = std::min(of_image, most);
  const double blocks = real(ceil_div(of_image, tiles));
  const double products =
      groups * product_cycles(p, b, tiles, p.k_per_group(), tile) * real(of_image) / real(tiles);
  const double multiply_adds =
      groups * kFma *
      real(of_image * b.points() * p.c_per_group() * ceil_div(p.k_per_group(), tile.width));
  // Those of few tiles wait for their own sums, and weights come meanwhile.
  const double waits = std::max(0.0, products - multiply_adds);
  b.fma_cycles = products - (1 - kWait) * waits;

  b.input_cycles = groups * input_cycles(p, tile, caches, b);
  const double weight_vectors =
      groups * real(p.c_per_group()) * real(b.panels * tile.nr / tile.width);
  double far_cycles = 0;  // for what comes from beyond the near caches, and gemm does not read
  double again = 0;       // for a block's weights, once others have read them
  if (owned) {
    const double bytes = weight_vectors * real(b.points() * tile.width * kFloat);
    b.weight_cycles = bytes < kNearWeights ? 0.0 : bytes * cycle * kWeightByteFar;
    if (bytes > real(caches.l2)) {
      b.weight_cycles += bytes * cycle * b.late * kWeightByteLate;
    }
    // While the last ones are multiplied.
    again = std::max(0.0, b.weight_cycles - b.fma_cycles / blocks);
    const double added = b.weight_cycles * real(b.points() - p.taps()) / real(b.points());
    far_cycles = std::max(0.0, added - waits);
  } else {
    const double bytes = weight_vectors * real(p.taps() * tile.width * kFloat);
    again = b.weight_cycles = weight_vectors * real(b.points() + p.taps()) *
                                  (kTransformWeight + b.late * kTransformWeightLate) +
                              bytes * cycle * b.late * kWeightByte;
    const double v_bytes = real(tiles * b.tile_bytes());
    if (v_bytes > real(caches.l2 * 2)) {
      far_cycles = groups * blocks * v_bytes * real(b.panels) * kTileByteFar;
    }
  }
  b.pack_cycles = b.input_cycles + groups * stored_cycles(b, std::min(of_image, b.tiles)) +
                  blocks * (again + groups * cycle * kTileBlock) + far_cycles;
  b.store_cycles = groups * store_cycles(p, tile, caches, b);
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
  // What strides leave out is left out of the image, see axes.hpp.
  const Pair steps = window_steps(window);
  return serves && steps.h == window.stride.h && steps.w == window.stride.w &&
         window.dilation.h < kMost && window.dilation.w < kMost;
}

WinogradBlocking choose_winograd(const Problem& p, int variant, bool owned, const Tile& tile,
                                 const CacheSizes& caches) noexcept {
  WinogradBlocking b;
  const int m = kWinogradVariants[variant].m;
  const Window& window = p.window;
  b.variant = variant;
  b.rows = WinogradAxis(p.oh, m, window.kernel_size.h, window.dilation.h);
  b.columns = WinogradAxis(p.ow, m, window.kernel_size.w, window.dilation.w);
  b.panels = ceil_div(p.k_per_group(), tile.nr);
  b.depth = owned ? p.c_per_group() : std::min(p.c_per_group(), kPartFloats / tile.nr);
  b.u_stride = winograd_point_stride(b.depth * tile.nr);
  b.u_elements = owned ? 0 : b.points() * b.u_stride;
  // An odd number of lines between tiles, as between the rows of any A.
  b.pitch = winograd_point_stride(p.c_per_group());
  b.near_tiles = caches.l2 / b.tile_bytes();
  b.late = late(tile, caches);
  const std::int64_t most = most_tiles(p, owned, tile, caches, b);
  b.tiles = even_tiles(most, b.columns);
  cut_patches(p, tile, caches, b);
  set_sizes(tile, b);
  // Pixels a row of channels apart are more streams than a CPU follows by itself: 256 to 8 channels
  // at 96x96, NHWC, F(4 x 4), 3656 -> 2787 us (AVX-512), 3351 -> 2432 (AVX2); batches of 8 images
  // and 16 groups of 16 at 56x56 31 -> 20 ms (AVX2), 32 of 32 at 14x14 8.6 -> 6.3 (AVX-512). So are
  // planes that scatter stores to, 16 to 16 at 570x570, NCHW, 13.6 -> 12.0 ms; near ones lose.
  const std::int64_t near = p.y_strides[1] == 1 ? caches.l2 : 4 * caches.l2;
  b.fetch = real(p.n) * real(p.image_elements()) * kFloat > real(near);
  count_cycles(p, owned, tile, caches, most, b);
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
                       b.store_cycles * of_tiles * of_panels + tile.cycle * kTileBlock;
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
