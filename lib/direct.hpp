// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/table.hpp"
#include "caches.hpp"
#include "operands.hpp"
#include "tiles.hpp"

namespace fastconv {

// How a direct convolution is cut: blocks of output rows and columns of one image and some groups,
// read from x in place or from planes (the padded image under the block, copied).
struct DirectBlocking {
  bool in_place = false;
  bool fetch = false;                  // x ahead of its loads
  std::int64_t groups = 1;             // of a block: one, or all
  std::int64_t rows = 0, columns = 0;  // of its output
  std::int64_t row_step = 1;           // image rows from one row of the planes to the next
  std::int64_t plane_rows = 0, plane_columns = 0;
  std::int64_t plane = 0;            // floats from one channel of a row to the next
  std::int64_t pitch = 0;            // and from one phase of a row, or row, to the next
  std::int64_t plane_elements = 0;   // of all channels
  std::int64_t output_elements = 0;  // of the staged result, if y's columns are apart
  double fma_cycles = 0, pack_cycles = 0, store_cycles = 0;

  double cycles() const noexcept { return fma_cycles + pack_cycles + store_cycles; }
};

// Lanes of the panels of weights for a group's output channels, of which direct reads a few at
// every step of the depth: of few channels, panels of nr would be mostly zeros in between, up to
// every step on a line of its own. 1156 to 1 channel 3x3 at 128x16, NCHW: 9.96 -> 2.33 ms
// (AVX-512).
inline std::int64_t direct_lanes(std::int64_t k_per_group, int nr) noexcept {
  return k_per_group <= nr / 2 ? k_per_group : nr;
}

// A pure function of its arguments.
DirectBlocking choose_direct(const Problem& problem, const Tile& tile,
                             const CacheSizes& caches) noexcept;

// Shrinks blocks until there are a few for every thread, if the problem has that many rows.
void split_for_threads(const Problem& problem, int threads, DirectBlocking& blocking) noexcept;

std::int64_t direct_workspace_bytes(const Problem& problem, const DirectBlocking& blocking,
                                    int nr) noexcept;
std::int64_t direct_blocks(const Problem& problem, const DirectBlocking& blocking) noexcept;

// Computes blocks [begin, end) with scratch memory aligned to 64 bytes.
void direct(const Operands& operands, const DirectBlocking& blocking, std::int64_t begin,
            std::int64_t end, void* workspace) noexcept;

}  // namespace fastconv
