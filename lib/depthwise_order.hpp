// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "caches.hpp"
#include "depthwise.hpp"
#include "tiles.hpp"

// In which order the tiles of depthwise's pixels go through a block, by what caches keep of it.

namespace fastconv {

// Are x and y of so many images more than so many times L2?
bool is_far(const Problem& p, std::int64_t images, std::int64_t times,
            const CacheSizes& caches) noexcept;

// Are short vectors of x and y more than a core of AMD's has of L3, so that it waits for each line
// that is far from the last?
bool comes_from_memory(const Problem& p, const Tile& tile, const CacheSizes& caches) noexcept;

// Bytes of a row that the next one finds in L1.
std::int64_t kept_in_l1(const CacheSizes& caches) noexcept;

// Do a vector's rows follow each other, or a row's vectors? The former loads less, under a 3x3
// filter every image row once, but one line of a pixel at a time: of pixels that share sets of L1
// the next line is evicted again where it is fetched with it, and what is far away comes slowly but
// in the order of its addresses. Where FMAs of long vectors are halves they take as long as that.
bool goes_down(const Problem& p, const Tile& tile, const CacheSizes& caches,
               const DepthwiseBlocking& b) noexcept;

// Down the rows of dense 3x3 filters, whose image rows are loaded once (groups are bound by their
// permutations: 8 of 8 at 32x32 95 us, in blocks of seven rows 108).
bool rolls(const Problem& p, const Tile& tile, const DepthwiseBlocking& b) noexcept;

// Do L1 and its TLB keep, for the next vector, the lines under a tile of all of a block's rows, and
// of its outputs? A vector that ends within a line has two. 58 channels of 28x28 11.9 -> 11.1 us,
// 128 20.1 -> 17.9, 1000 of 14x14 87 -> 56, 104 of 56x56 by 2 38 -> 34 (Xeon, AVX-512).
bool stays_down(const Problem& p, const CacheSizes& caches, const DepthwiseBlocking& b) noexcept;

}  // namespace fastconv
