// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "../kernels/table.hpp"
#include "caches.hpp"
#include "costs.hpp"
#include "integers.hpp"

namespace fastconv {

// Which operand lies along the vectors; the other is broadcast.
enum class Lanes : std::int32_t { pixels, channels };

// The register tiles of a level, rows by lanes, for one operand along the vectors.
struct Tile {
  int width = 0;        // floats per vector
  int nr = 0;           // lanes of a panel
  int mr = 0;           // rows of a tile over one
  int narrow_mr = 0;    // rows of a tile over its first vector alone
  int joined_mr = 0;    // rows of a tile over one and the first vector of the next, or 0
  int wide_mr = 0;      // rows of a tile over two, or 0 if there is none
  int straddling = 0;   // rows up to which they may be pixels of several output rows
  bool halves = false;  // up to half a vector of lanes is summed as a half
  bool fuses = false;   // multiplies and adds in one operation
  // Of the core, in the cost model's cycles, in which two FMA are done: half of one where a long
  // vector takes both units. What waits or is set up takes as many of the core's whatever the
  // vectors: one tile of 64 channels, 4x4, by Winograd 9.2 -> 7.4 us where gemm was taken.
  double cycle = 1.0;
  // Of one vector FMA of a tile: 6 by 2 vectors reach 90 to 93 % of a Xeon's peak with AVX2, 98 %
  // of a Zen 4's.
  double fma = kFma;
  bool zen = false;  // its core is one of AMD's, whose prefetchers follow no large strides

  // Does its core two FMAs of long vectors a cycle?
  bool two_long_fma() const noexcept { return width > 8 && cycle >= 1.0; }
  // Does its core permute one vector a cycle, as Intel's do, rather than two?
  bool one_permutation() const noexcept { return two_long_fma() || fma > kFma; }
  // How many times longer a vector is on its way to and from L2 than one of eight floats is, in the
  // model's cycles. Winograd's transforms are bound by that: of 64 channels, 7x7, long vectors took
  // 2.3 times as long as thought where a core does two FMA of them a cycle (Xeon, AVX-512), but no
  // longer where they are halves.
  double stretch() const noexcept { return std::max(1.0, width * cycle / 8); }
  // Of four channels of a vector of pixels on their way to or from four rows.
  double quads() const noexcept { return kQuads * stretch(); }
  int rows(std::int64_t lanes) const noexcept {
    if (lanes > nr) return lanes > nr + width ? wide_mr : joined_mr;
    return lanes > width ? mr : narrow_mr;
  }
  bool straddles() const noexcept { return narrow_mr <= straddling; }
  // No more rows than straddle.
  void keep_straddling() noexcept;
  // No more than L1 holds of rows so many floats apart.
  void keep_rows_beside(std::int64_t pitch, const CacheSizes& caches) noexcept;
  // Of a tile, in registers: 12 where there are 16 of these, more where there are 32.
  int sums() const noexcept { return mr * (nr / width); }
  bool many_registers() const noexcept { return sums() > 12; }
};

struct Tiles {
  Tile channels, pixels;

  Tiles() = default;
  constexpr Tiles(const Tile& over_channels, const Tile& over_pixels) noexcept
      : channels(over_channels), pixels(over_pixels) {}
  explicit Tiles(const KernelTable& table) noexcept;
  const Tile& over(Lanes lanes) const noexcept {
    return lanes == Lanes::channels ? channels : pixels;
  }
};

// How rows are cut into tiles of at most `most`: `tiles` of `height` first, others of a row less.
struct Cut {
  std::int64_t rows = 0, most = 0, tiles = 0, height = 0;
};
inline Cut cut(std::int64_t rows, std::int64_t most) noexcept {
  const std::int64_t tiles = rows <= most ? 1 : ceil_div(rows, most);
  const std::int64_t height = tiles == 1 ? rows : ceil_div(rows, tiles);
  return {rows, most, tiles - (tiles * height - rows), height};
}

// Rows so many floats apart that L1 holds a line of each of, at the same offset, and one of
// weights: as many lines whose addresses differ by pages share a set as L1 has pages, 8 or 12. Of
// 1024 channels, pixels in place on tiles of 14 rows take 1.27 times as long as copied ones
// (AVX-512).
int rows_beside(std::int64_t pitch, int most, const CacheSizes& caches) noexcept;

// Lanes of the next of the tiles that cover `rows` x `rest`: of one panel, or of two where the
// vectors of one would wait for their own sums or for their loads, one for an FMA (NHWC, 3 to 40
// channels 3x3 by 2 at 224x224 256 -> 208 us, Xeon, AVX-512).
std::int64_t tile_lanes(std::int64_t rows, std::int64_t rest, const Tile& tile) noexcept;

// Cycles of all tiles of rows x lanes, where tiles end at multiples of `row_panel`; a tile's step
// of depth takes at least `least_step` of the core's, and its windows are so many stretches. The
// lanes come at so many bytes a cycle.
double tile_cycles(std::int64_t depth, std::int64_t rows, std::int64_t lanes,
                   std::int64_t row_panel, const Tile& tile, std::int64_t segments = 1,
                   double least_step = kFmaLatency, double from = kL2Bytes) noexcept;

// Of results whose lanes, `across`, are apart in y, by blocks of a vector by a vector, the last of
// which takes masks. Those of kMaxWidth take no time.
double scatter_cycles(std::int64_t along, std::int64_t across, int width) noexcept;

}  // namespace fastconv
