// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/table.hpp"
#include "blocking.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "operands.hpp"

namespace fastconv {

// How Winograd's F(m x m, 3 x 3) is cut: blocks of tiles of m x m outputs, of all channels in and
// some panels of channels out. A block's tiles follow each other through rows, and images.
struct WinogradBlocking {
  int m = 0;
  // Of an image, or of each image in the grid of images that dilation makes of one.
  std::int64_t tile_rows = 0, tile_columns = 0;
  std::int64_t tiles = 0;           // of a block
  std::int64_t panels = 0;          // of a block
  std::int64_t pitch = 0;           // of a tile's channels
  std::int64_t patch_channels = 0;  // that are copied at a time
  std::int64_t depth = 0;           // of a panel's weights that are transformed at a time
  std::int64_t u_stride = 0, v_stride = 0, m_stride = 0;  // from one point to the next
  std::int64_t u_elements = 0;  // none if the layer's transformed weights are used
  std::int64_t patch_elements = 0, staged_elements = 0;
  double fma_cycles = 0, pack_cycles = 0, store_cycles = 0;
  double input_cycles = 0, weight_cycles = 0;  // of an image, and of a block of all panels

  int points() const noexcept { return (m + 2) * (m + 2); }
  double cycles() const noexcept { return fma_cycles + pack_cycles + store_cycles; }
};

// Channels of a group, in and out, from which on a layer may take it.
constexpr std::int64_t kWinogradChannels = 8;

// Channels of a group in times out, up to which a layer owns transformed weights.
constexpr std::int64_t kMostTransformed = 1 << 16;

// One size as a layer has it.
struct PackedWinograd {
  bool allowed = false;  // to the plan
  // Transformed, [panels][points][winograd_point_stride], or null.
  const float* weights = nullptr;
};

// The m of a winograd algorithm, else 0.
int winograd_size(Algorithm algorithm) noexcept;

// Does F(m x m, 3 x 3) compute such a layer?
bool is_winograd(const Conv2d& descriptor) noexcept;

// From one point's floats to the next one's: an odd number of cache lines, or points would share
// cache sets.
constexpr std::int64_t winograd_point_stride(std::int64_t floats) noexcept {
  constexpr std::int64_t kLine = 16;
  return round_up(floats + kLine, 2 * kLine) - kLine;
}

// Dilated, an image is a grid of images whose outputs share no inputs, with tiles of their own.
std::int64_t tiles_of_image(const Problem& problem, const WinogradBlocking& blocking) noexcept;

// A pure function of its arguments, for a problem of such a layer.
WinogradBlocking choose_winograd(const Problem& problem, int m, bool owned, const Tile& tile,
                                 const CacheSizes& caches) noexcept;

// Shrinks blocks until there are a few for every thread, if the problem has that many.
void split_for_threads(const Problem& problem, const Tile& tile, int threads,
                       WinogradBlocking& blocking) noexcept;

std::int64_t winograd_workspace_bytes(const WinogradBlocking& blocking) noexcept;
std::int64_t winograd_blocks(const Problem& problem, int nr,
                             const WinogradBlocking& blocking) noexcept;

// Computes blocks [begin, end) with scratch memory aligned to 64 bytes.
void winograd(const Operands& operands, const WinogradBlocking& blocking, std::int64_t begin,
              std::int64_t end, void* workspace) noexcept;

}  // namespace fastconv
