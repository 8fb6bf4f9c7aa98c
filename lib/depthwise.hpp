// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/table.hpp"
#include "caches.hpp"
#include "operands.hpp"
#include "tiles.hpp"

namespace fastconv {

// Groups side by side in the lanes, of one channel (depthwise, with any multiplier) or a few, whose
// channels are adjacent in x and y or transposed; groups that fill vectors, whose channels are
// adjacent; or pixels, where columns are adjacent, and groups of one input channel one after the
// other. Blocks of a few output rows, limited pixels and limited channels.
struct DepthwiseBlocking {
  Lanes lanes = Lanes::channels;
  bool transposed = false;  // channels, to a patch and from staged outputs
  bool copied = false;      // x alone, to a patch
  bool repeated = false;    // there, an input channel for each of its output channels
  // Or else pixels of all rows of `images`, each with pointers of its own to all its taps.
  bool listed = false;
  bool interleaved = false;  // channels too few for vectors, which take parts of pixels in place
  bool paired = false;       // planes of two channels share vectors
  bool down = false;         // a vector's rows follow each other, not a row's vectors
  bool fetch = false;        // x and y lie beyond near caches
  bool reads_lines = false;  // of x, all that its groups find, before the first one does
  // Rows and columns of taps that no output finds in the image: the first ones, and all.
  Pair first_tap = 0, unfound = 0;
  std::int64_t images = 1;
  std::int64_t rows = 0;
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
  double fma_cycles = 0, pack_cycles = 0, store_cycles = 0;

  double cycles() const noexcept { return fma_cycles + pack_cycles + store_cycles; }
  bool in_place() const noexcept { return !transposed && !copied; }  // of x
};

// Is a group one channel, or up to half a vector of outputs, with no more inputs? Whole groups fill
// a vector, but one of kMaxWidth they may straddle.
bool is_depthwise(std::int64_t in_per_group, std::int64_t out_per_group, int width) noexcept;

// Or do a group's outputs fill vectors, under a dense 3x3 filter moved by one both ways, or
// two where vectors are long and no side has more than two columns of padding?
bool fills_vectors(const Window& window, std::int64_t in_per_group, std::int64_t out_per_group,
                   int width) noexcept;

// Pixels of their tile, and columns that such layers have at least.
std::int64_t broadcast_pixels(const Tile& tile) noexcept;

// One plane to one, or to some with adjacent columns, whose weights lie as a merged group's do.
inline bool is_plane(const Problem& p) noexcept {
  return p.c == 1 && (p.k == 1 || p.y_strides[3] == 1);
}

// False if the kernel does not serve the problem, with weights that are finite or not.
bool choose_depthwise(const Problem& problem, const Tile& tile, const CacheSizes& caches,
                      bool finite, DepthwiseBlocking& blocking) noexcept;

// Cuts channels, and then images, until there are a few blocks for every thread, if the problem has
// that many.
void split_for_threads(const Problem& problem, int threads, DepthwiseBlocking& blocking) noexcept;

std::int64_t depthwise_workspace_bytes(const Problem& problem,
                                       const DepthwiseBlocking& blocking) noexcept;
std::int64_t depthwise_blocks(const Problem& problem, const DepthwiseBlocking& blocking) noexcept;

// Computes blocks [begin, end) with scratch memory aligned to 64 bytes.
void depthwise(const Operands& operands, const DepthwiseBlocking& blocking, std::int64_t begin,
               std::int64_t end, void* workspace) noexcept;

}  // namespace fastconv
