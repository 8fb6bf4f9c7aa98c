// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/table.hpp"
#include "caches.hpp"
#include "integers.hpp"
#include "operands.hpp"
#include "tiles.hpp"

namespace fastconv {

// An axis of outputs in tiles of `m`. Dilated, it is a grid of axes whose outputs share no inputs:
// its first tiles come first, then all second ones, and some axes lack the last.
struct WinogradAxis {
  std::int64_t m = 1;      // of a tile
  std::int64_t side = 1;   // of its inputs
  std::int64_t step = 1;   // between outputs, and between inputs
  std::int64_t grids = 1;  // of which there is an output
  std::int64_t tiles = 0;

  WinogradAxis() = default;
  WinogradAxis(std::int64_t outputs, std::int64_t size, std::int64_t kernel,
               std::int64_t dilation) noexcept;
  std::int64_t first_output(std::int64_t tile) const noexcept {
    return tile / grids * m * step + tile % grids;
  }
  // Inputs under so many tiles of each of so many grids, those between them included. Those of one
  // grid are steps apart.
  std::int64_t copied(std::int64_t along, std::int64_t of_grids) const noexcept {
    return of_grids + ((along - 1) * m + side - 1) * (of_grids > 1 ? step : 1);
  }
};

// How Winograd's F(m x m, r x r) is cut: blocks of tiles of m x m outputs, of all channels in and
// some panels of channels out. A block's tiles follow each other through rows, and images.
struct WinogradBlocking {
  int variant = -1;  // in kWinogradVariants
  WinogradAxis rows, columns;
  std::int64_t tiles = 0;           // of a block
  std::int64_t near_tiles = 0;      // that L2 holds, transformed
  double late = 0;                  // how many times longer, less one, what fills L2 takes
  std::int64_t grids = 0;           // of columns that are copied at a time
  std::int64_t panels = 0;          // of a block
  std::int64_t pitch = 0;           // of a tile's channels
  std::int64_t patch_channels = 0;  // that are copied at a time
  std::int64_t depth = 0;           // of a panel's weights that are transformed at a time
  std::int64_t u_stride = 0, v_stride = 0, m_stride = 0;  // from one point to the next
  std::int64_t u_elements = 0;  // none if the layer's transformed weights are used
  std::int64_t patch_elements = 0, staged_elements = 0;
  bool fetch = false;  // pixels in place a tile ahead, and planes of y that scatter stores to
  double fma_cycles = 0, pack_cycles = 0, store_cycles = 0;
  double input_cycles = 0, weight_cycles = 0;  // of an image, and of a block of all panels

  std::int64_t points() const noexcept { return rows.side * columns.side; }
  std::int64_t tiles_of_image() const noexcept { return rows.tiles * columns.tiles; }
  std::int64_t tile_bytes() const noexcept { return points() * pitch * kFloat; }
  double cycles() const noexcept { return fma_cycles + pack_cycles + store_cycles; }
};

// Do blocks of other groups follow a block before those of other tiles? Pixels of groups that lie
// side by side share pages of x and y, which are far in a batch: 8 images of 32 groups of 32 on
// 14x14, NHWC, 8.6 -> 7.8 ms (Xeon, AVX-512). Else tiles that share weights follow.
inline bool groups_follow(const Problem& p) noexcept { return p.groups > 1 && p.x_strides[1] == 1; }

// Channels of a group, in and out, from which on a layer may take it. Of 100 layers of 64 to 1024
// channels to 3 to 8, 3x3 at 16x16 to 96x96, those with 4 and 6 run up to 2.6 times as fast; with
// fewer, `direct` has as few FMAs.
constexpr std::int64_t kWinogradChannels = 8;
constexpr std::int64_t kWinogradOutputs = 4;

// Transformed weights of a group up to which a layer owns them.
constexpr std::int64_t kMostTransformed = 36 << 16;

// One variant as a layer has it.
struct PackedWinograd {
  bool allowed = false;  // to the plan
  // Transformed, [panels][points][winograd_point_stride], or null.
  const float* weights = nullptr;
};

// The m of a winograd algorithm, else 0.
int winograd_size(Algorithm algorithm) noexcept;

constexpr std::int64_t winograd_points(const WinogradVariant& v) noexcept {
  const std::int64_t side = v.m + v.r - 1;
  return v.square ? side * side : side;
}

constexpr std::int64_t kMostPoints = 64;

// Does the variant compute such a window?
bool is_winograd(const WinogradVariant& variant, const Window& window) noexcept;

// From one point's floats to the next one's: an odd number of cache lines, or points would share
// cache sets.
constexpr std::int64_t winograd_point_stride(std::int64_t floats) noexcept {
  return round_up(floats + kLine, 2 * kLine) - kLine;
}

// The points of panels of `tap` floats of each tap, as PackedWinograd has them.
void transform_weights(const KernelTable& table, int variant, const float* panels,
                       std::int64_t count, std::int64_t tap, float* u) noexcept;

// A pure function of its arguments, for a problem of a layer that the variant computes, with the
// layer's transformed weights (`owned`) or with those that every block transforms.
WinogradBlocking choose_winograd(const Problem& problem, int variant, bool owned, const Tile& tile,
                                 const CacheSizes& caches) noexcept;

// Shrinks blocks so that all threads end soonest.
void split_for_threads(const Problem& problem, const Tile& tile, int threads,
                       WinogradBlocking& blocking) noexcept;

std::int64_t winograd_workspace_bytes(const WinogradBlocking& blocking) noexcept;
std::int64_t winograd_blocks(const Problem& problem, int nr,
                             const WinogradBlocking& blocking) noexcept;

// Computes blocks [begin, end) with scratch memory aligned to 64 bytes.
void winograd(const Operands& operands, const WinogradBlocking& blocking, std::int64_t begin,
              std::int64_t end, void* workspace) noexcept;

}  // namespace fastconv
